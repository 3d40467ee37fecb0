#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::must_generate;
using test::open_golden_model;

GenerateRequest plain_request() {
  GenerateRequest request;
  request.prompts = {{5, 9, 77}, {12}};
  request.max_new_tokens = 17;
  request.num_steps = 8;
  return request;
}

TEST(Speculative, GreedyOutputIsThatOfPlainDecoding) {
  for (const char* name : {"raven/huginn_a", "raven/huginn_b", "llama/retrofit_b_converted"}) {
    const auto opened = open_golden_model(name);
    const auto plain = must_generate(opened, plain_request());
    for (const int draft_steps : {1, 3, 8})
      for (const int lookahead : {1, 4, 7}) {
        SCOPED_TRACE(fmt::format("{} draft {} lookahead {}", name, draft_steps, lookahead));
        GenerateRequest request = plain_request();
        request.speculative = {draft_steps, lookahead, 1};
        const auto drafted = must_generate(opened, request);
        for (size_t i = 0; i < plain.size(); ++i) {
          EXPECT_EQ(plain[i].tokens, drafted[i].tokens);
          EXPECT_EQ(plain[i].nll, drafted[i].nll);
          EXPECT_EQ(plain[i].stats.kv_bytes, drafted[i].stats.kv_bytes);
        }
      }
  }
}

TEST(Speculative, WithARepetitionPenaltyToo) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request = plain_request();
  request.sampler.repetition_penalty = 1.5;
  const auto plain = must_generate(opened, request);
  request.speculative = {3, 4, 1};
  EXPECT_EQ(plain[0].tokens, must_generate(opened, request)[0].tokens);
}

TEST(Speculative, DraftsAtFullDepthAreAllAccepted) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request = plain_request();
  request.speculative = {8, 4, 1};
  const Generated got = must_generate(opened, request)[0];
  EXPECT_EQ(got.stats.accepted, 16);
  EXPECT_EQ(got.stats.drafted, 16);
  EXPECT_EQ(got.stats.rounds, 4);
}

TEST(Speculative, NeverMoreThanAskedFor) {
  const auto opened = open_golden_model("raven/huginn_a");
  for (const int n : {0, 1, 2, 5, 6}) {
    GenerateRequest request = plain_request();
    request.max_new_tokens = n;
    request.speculative = {2, 4, 0.3};
    const Generated got = must_generate(opened, request)[0];
    EXPECT_EQ(got.new_tokens().size(), static_cast<size_t>(n));
    EXPECT_EQ(got.steps.size(), static_cast<size_t>(n));
  }
}

TEST(Speculative, CountsWhatItDidInCorePasses) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request = plain_request();
  request.speculative = {2, 4, 1};
  const Generated got = must_generate(opened, request)[0];
  // The prompt, then drafts of 2 steps each and one check of 8 a round.
  EXPECT_EQ(got.stats.core_passes, 8 + 2 * got.stats.drafted + 8 * got.stats.rounds);
}

TEST(Speculative, BlocksOfAPlainModelCanDraftToo) {
  const auto opened = open_golden_model("llama/retrofit_a_base");
  GenerateRequest request = plain_request();
  request.num_steps = -1;
  const auto plain = must_generate(opened, request);
  request.speculative = {3, 4, 1};
  EXPECT_EQ(plain[1].tokens, must_generate(opened, request)[1].tokens);
}

}  // namespace
}  // namespace plumb
