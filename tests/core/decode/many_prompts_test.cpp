// Two promises over two hundred prompts: drafting by depth changes no token, and computing
// sequences together changes none of tokens, exit steps and losses, whatever the exit rule.
#include <set>

#include "core/base/rng.h"
#include "core/exit/scalars.h"
#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::must_generate;
using test::must_parse;
using test::open_golden_model;

constexpr size_t kPrompts = 200;

// Of 1 to 7 tokens.
std::vector<std::vector<int32_t>> many_prompts(int vocab_size) {
  std::vector<std::vector<int32_t>> prompts(kPrompts);
  for (uint32_t i = 0; i < kPrompts; ++i) {
    const DrawKey key{.seed = 11, .stream = RngStream::kSubsample, .position = i};
    const uint64_t n = 1 + uniform_below(key, 0, 7);
    for (uint64_t t = 0; t < n; ++t)
      prompts[i].push_back(
          static_cast<int32_t>(uniform_below(key, 1 + t, static_cast<uint64_t>(vocab_size))));
  }
  return prompts;
}

GenerateRequest request_for(const RecurrentModel& model) {
  GenerateRequest request;
  request.prompts = many_prompts(model.info().vocab_size);
  request.max_new_tokens = 6;
  request.num_steps = 8;
  return request;
}

TEST(ManyPrompts, SpeculativeDecodingGivesWhatPlainGreedyGives) {
  for (const char* name : {"raven/huginn_a", "raven/huginn_b", "llama/retrofit_b_converted"}) {
    SCOPED_TRACE(name);
    const auto opened = open_golden_model(name);
    GenerateRequest request = request_for(*opened);
    const auto plain = must_generate(opened, request);
    request.speculative = {2, 4, 1};
    const auto drafted = must_generate(opened, request);
    int64_t accepted = 0, proposed = 0;
    for (size_t i = 0; i < kPrompts; ++i) {
      EXPECT_EQ(plain[i].tokens, drafted[i].tokens) << i;
      accepted += drafted[i].stats.accepted;
      proposed += drafted[i].stats.drafted;
    }
    EXPECT_GT(accepted, 0);
    // The retrofit's adapter ignores the state, so that no depth differs and every draft is right.
    if (std::string_view(name).starts_with("raven")) {
      EXPECT_LT(accepted, proposed);
    }
  }
}

// A rule of every scalar that can act live, at a threshold that some tokens pass and some do not.
const char* const kRules[] = {
    "kl<0.05",           "minp-kl<0.02",
    "entropy-diff<0.05", "latent-diff<0.3",
    "cosine<0.05",       "step-norm<2",
    "accel<3",           "accel-rel<0.4",
    "contraction<0.5",   "saturation>=0.95",
    "deq-abs<2",         "deq-rel<0.3",
    "entropy<3",         "top1>=0.1",
    "margin>=0.02",      "argmax-stability>=2",
    "fixed=3/1/6",       "kl<0.1 & margin>=0.01 | fixed=7 @min=1,patience=2,every=2",
};

TEST(ManyPrompts, EveryScalarHasARuleHere) {
  for (const Scalar& scalar : all_scalars()) {
    if (scalar.analysis_only() || scalar.name == "gate") continue;
    const bool found = std::any_of(std::begin(kRules), std::end(kRules), [&](const char* rule) {
      return std::string_view(rule).starts_with(scalar.name);
    });
    EXPECT_TRUE(found) << scalar.name;
  }
}

class EveryRule : public testing::TestWithParam<const char*> {};

TEST_P(EveryRule, SequencesTogetherGetWhatTheyGetOneAtATime) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request = request_for(*opened);
  request.num_steps = 9;
  request.rule = must_parse(GetParam());
  const auto together = must_generate(opened, request);
  request.max_in_flight = 1;
  const auto alone = must_generate(opened, request);
  std::set<int> depths;
  for (size_t i = 0; i < kPrompts; ++i) {
    EXPECT_EQ(together[i].tokens, alone[i].tokens) << i;
    EXPECT_EQ(together[i].steps, alone[i].steps) << i;
    EXPECT_EQ(together[i].exit_values, alone[i].exit_values) << i;
    EXPECT_EQ(together[i].nll, alone[i].nll) << i;
    depths.insert(together[i].steps.begin(), together[i].steps.end());
  }
  EXPECT_GT(depths.size(), 1u) << "the rule stops everybody at the same step: it tests nothing";
}

INSTANTIATE_TEST_SUITE_P(Live, EveryRule, testing::ValuesIn(kRules), [](const auto& test) {
  std::string name = test.param;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
});

}  // namespace
}  // namespace plumb
