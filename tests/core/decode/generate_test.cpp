// Promises of generation that need no reference.
#include "core/decode/generate.h"

#include <cstring>

#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::GoldenModel;
using test::must_generate;
using test::must_parse;
using test::open_golden_model;

// Different lengths, so that prompts and later tokens are never at the same step.
const std::vector<std::vector<int32_t>> kPrompts = {
    {5, 9, 77}, {12}, {3, 1, 4, 1, 5, 9, 2, 6}, {100, 7}};

void expect_same(const Generated& a, const Generated& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.steps, b.steps);
  EXPECT_EQ(a.exit_values, b.exit_values);
  EXPECT_EQ(a.nll, b.nll);
  EXPECT_EQ(a.stats.kv_bytes, b.stats.kv_bytes);
  EXPECT_EQ(a.stats.core_passes, b.stats.core_passes);
  ASSERT_EQ(a.logits.size(), b.logits.size());
  for (size_t i = 0; i < a.logits.size(); ++i)
    EXPECT_EQ(
        std::memcmp(a.logits[i].data(), b.logits[i].data(), a.logits[i].size() * sizeof(float)), 0)
        << "token " << i;
}

struct Setting {
  const char* name;
  const char* model;
  void (*set)(GenerateRequest&);
};

const Setting kSettings[] = {
    {"fixed", "raven/huginn_b", [](GenerateRequest& r) { r.num_steps = 6; }},
    {"kl", "raven/huginn_b",
     [](GenerateRequest& r) {
       r.num_steps = 16;
       r.rule = must_parse("kl<0.02");
     }},
    {"latent", "raven/huginn_a",
     [](GenerateRequest& r) {
       r.num_steps = 16;
       r.rule = must_parse("latent-diff<0.2 @every=2");
     }},
    {"mixed", "raven/huginn_a",
     [](GenerateRequest& r) {
       r.num_steps = 12;
       r.rule = must_parse("(accel-rel<0.2 & margin>=0.01) | argmax-stability>=3 @patience=2");
     }},
    {"pattern", "raven/huginn_a",
     [](GenerateRequest& r) {
       r.num_steps = 7;
       r.rule = must_parse("fixed=3/1/7");
     }},
    {"compressed", "raven/huginn_b",
     [](GenerateRequest& r) {
       r.num_steps = 12;
       r.cache = "latest-compress-s2";
       r.rule = must_parse("kl<0.05 @min=1");
     }},
    {"warm", "raven/huginn_a",
     [](GenerateRequest& r) {
       r.num_steps = 5;
       r.continuous_compute = true;
     }},
    {"speculative", "raven/huginn_b",
     [](GenerateRequest& r) {
       r.num_steps = 8;
       r.speculative = {3, 4, 1};
     }},
    {"sampled", "llama/retrofit_a_converted",
     [](GenerateRequest& r) {
       r.num_steps = 3;
       r.sampler = {.sample = true, .temperature = 1.5, .top_k = 20, .seed = 5};
     }},
    {"blocks", "llama/retrofit_a_base",
     [](GenerateRequest& r) { r.rule = must_parse("latent-diff<0.9"); }},
    {"tokens", "raven/huginn_a",
     [](GenerateRequest& r) {
       r.num_steps = 9;
       r.rule = must_parse("kl<0.05");
       r.token_prefill = true;
     }},
};

class BatchOfSequences : public testing::TestWithParam<Setting> {};

TEST_P(BatchOfSequences, GivesEachTheBitsItGetsAlone) {
  const auto opened = open_golden_model(GetParam().model);
  GenerateRequest request;
  request.prompts = kPrompts;
  request.max_new_tokens = 9;
  request.keep_logits = true;
  GetParam().set(request);
  const auto together = must_generate(opened, request);
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    SCOPED_TRACE(i);
    GenerateRequest alone = request;
    alone.prompts = {kPrompts[i]};
    alone.sequence_ids = {static_cast<uint32_t>(i)};
    expect_same(together[i], must_generate(opened, alone)[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Every, BatchOfSequences, testing::ValuesIn(kSettings),
                         [](const auto& test) { return test.param.name; });

TEST(Generate, DoesNotDependOnThreads) {
  GenerateRequest request;
  request.prompts = kPrompts;
  request.max_new_tokens = 8;
  request.num_steps = 12;
  request.keep_logits = true;
  request.rule = must_parse("kl<0.02");
  const auto one = must_generate(open_golden_model("raven/huginn_a", 1), request);
  const auto three = must_generate(open_golden_model("raven/huginn_a", 3), request);
  for (size_t i = 0; i < one.size(); ++i) expect_same(one[i], three[i]);
}

TEST(Generate, LookingAtEveryStepChangesNoBit) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request;
  request.prompts = kPrompts;
  request.max_new_tokens = 8;
  request.num_steps = 7;
  request.cache = "latest";
  request.keep_logits = true;
  const auto plain = must_generate(opened, request);
  request.rule =
      must_parse("kl<0 | latent-diff<0");  // reads the coda at every step and never fires
  const auto watched = must_generate(opened, request);
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(watched[i].exit_values[0].size(), 7u);
    EXPECT_EQ(plain[i].tokens, watched[i].tokens);
    for (size_t t = 0; t < plain[i].logits.size(); ++t)
      EXPECT_EQ(std::memcmp(plain[i].logits[t].data(), watched[i].logits[t].data(),
                            plain[i].logits[t].size() * sizeof(float)),
                0);
  }
}

TEST(Generate, AFullCacheGivesTheLogitsOfTheWholeText) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request;
  request.prompts = {kPrompts[2]};
  request.max_new_tokens = 6;
  request.num_steps = 5;
  request.keep_logits = true;
  const Generated cached = must_generate(opened, request)[0];
  for (size_t i = 0; i < cached.logits.size(); ++i) {
    GenerateRequest whole = request;
    whole.prompts = {{cached.tokens.begin(),
                      cached.tokens.begin() + static_cast<std::ptrdiff_t>(cached.n_prompt + i)}};
    whole.max_new_tokens = 1;
    const Generated uncached = must_generate(opened, whole)[0];
    EXPECT_EQ(std::memcmp(cached.logits[i].data(), uncached.logits[0].data(),
                          cached.logits[i].size() * sizeof(float)),
              0)
        << i;
  }
}

TEST(Generate, StopsAtAStopIdAndKeepsIt) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request;
  request.prompts = {kPrompts[0]};
  request.max_new_tokens = 12;
  request.num_steps = 4;
  const Generated free = must_generate(opened, request)[0];
  request.stop_ids = {free.new_tokens()[3]};
  const Generated stopped = must_generate(opened, request)[0];
  EXPECT_EQ(stopped.stop, StopReason::kStopId);
  EXPECT_EQ(stopped.tokens.back(), request.stop_ids[0]);
  EXPECT_LE(stopped.new_tokens().size(), 4u);
  EXPECT_TRUE(std::equal(stopped.tokens.begin(), stopped.tokens.end(), free.tokens.begin()));
}

TEST(Generate, StopsWhereTheCallerSays) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request;
  request.prompts = {kPrompts[0], kPrompts[1]};
  request.max_new_tokens = 12;
  request.num_steps = 2;
  request.after_token = [](size_t prompt, std::span<const int32_t> tokens) {
    return tokens.size() == 3 + prompt;
  };
  const auto got = must_generate(opened, request);
  EXPECT_EQ(got[0].new_tokens().size(), 3u);
  EXPECT_EQ(got[1].new_tokens().size(), 4u);
  EXPECT_EQ(got[1].stop, StopReason::kCallback);
}

TEST(Generate, EndsAtTheModelsLastPosition) {
  const auto opened = open_golden_model("raven/huginn_b");  // 64 positions
  ASSERT_EQ(opened.model->info().max_positions, 64);
  GenerateRequest request;
  request.prompts = {kPrompts[0]};
  request.max_new_tokens = 100;
  request.num_steps = 1;
  const Generated got = must_generate(opened, request)[0];
  EXPECT_EQ(got.stop, StopReason::kLastPosition);
  EXPECT_EQ(got.tokens.size(), 65u);  // the last pick is not fed any more
  request.prompts = {std::vector<int32_t>(65, 1)};
  const auto refused = generate(*opened, *opened.team, request);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("64"), std::string::npos);
}

TEST(Generate, ATapeThatEndsTooEarlyNamesThePosition) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request;
  request.prompts = {std::vector<int32_t>(90, 3)};
  request.max_new_tokens = 10;
  request.num_steps = 1;
  request.state.kind = test::tape("huginn_a.tape");  // 96 rows
  const auto refused = generate(*opened, *opened.team, request);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("96"), std::string::npos) << refused.error().message;
}

TEST(Generate, RefusesWhatCannotBe) {
  const auto opened = open_golden_model("raven/huginn_b");
  const auto message = [&](void (*spoil)(GenerateRequest&)) {
    GenerateRequest request;
    request.prompts = {{1, 2}};
    request.num_steps = 2;
    spoil(request);
    const auto result = generate(*opened, *opened.team, request);
    EXPECT_FALSE(result.ok());
    return result.ok() ? std::string() : result.error().message;
  };
  EXPECT_NE(message([](GenerateRequest& r) {
              r.prompts = {{1, 131}};
            }).find("131"),
            std::string::npos);
  EXPECT_NE(
      message([](GenerateRequest& r) { r.rule = must_parse("oracle-ce<=0"); }).find("oracle-ce"),
      std::string::npos);
  EXPECT_NE(message([](GenerateRequest& r) { r.rule = must_parse("gate>=0.9"); }).find("gate"),
            std::string::npos);
  EXPECT_NE(message([](GenerateRequest& r) { r.cache = "bogus"; }).find("bogus"),
            std::string::npos);
  EXPECT_NE(
      message([](GenerateRequest& r) { r.sampler = {.sample = true, .top_p = 0}; }).find("--top-p"),
      std::string::npos);
  EXPECT_NE(message([](GenerateRequest& r) {
              r.speculative = {1, 4, 1};
              r.continuous_compute = true;
            }).find("--continuous-compute"),
            std::string::npos);
  EXPECT_NE(message([](GenerateRequest& r) { r.segment_len = 8; }).find("segment"),
            std::string::npos);
}

TEST(Generate, NonFiniteNumbersAreNamedByDepthAndPosition) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request;
  request.prompts = {{1, 2, 3}};
  request.num_steps = 3;
  request.state.init_scale = 1e6;
  request.state.kind = "normal";
  // The sandwich norms keep any finite state finite, so break the model itself.
  ASSERT_TRUE(opened.model->set_noise({.kind = StateNoise::Kind::kFixed, .amount = 1e38}).ok());
  const auto result = generate(*opened, *opened.team, request);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("not finite"), std::string::npos);
}

TEST(Generate, ContinuousComputeChangesWhatComesAfterTheFirstToken) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request;
  request.prompts = {kPrompts[0]};
  request.max_new_tokens = 3;
  request.num_steps = 2;
  request.keep_logits = true;
  const Generated cold = must_generate(opened, request)[0];
  request.continuous_compute = true;
  const Generated warm = must_generate(opened, request)[0];
  const size_t bytes = cold.logits[0].size() * sizeof(float);
  EXPECT_EQ(std::memcmp(cold.logits[0].data(), warm.logits[0].data(), bytes), 0);
  EXPECT_NE(std::memcmp(cold.logits[1].data(), warm.logits[1].data(), bytes), 0);
}

TEST(Generate, BestOfKeepsTheLikeliestOfItsSeeds) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request;
  request.prompts = {kPrompts[0]};
  request.max_new_tokens = 6;
  request.num_steps = 1;
  request.state.init_scale = 10;
  request.state.seed = 40;
  const auto result = generate_best_of(*opened, *opened.team, request, 5);
  ASSERT_TRUE(result.ok()) << result.error().message;
  const BestOf& best = result.value();
  ASSERT_EQ(best.all.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_GE(best.all[i].mean_nll(), best.all[best.best].mean_nll());
    GenerateRequest one = request;
    one.state.seed = 40 + i;
    expect_same(must_generate(opened, one)[0], best.all[i]);
  }
  EXPECT_NE(best.all[0].nll, best.all[1].nll);
}

TEST(Generate, SamplesAreFunctionsOfSeedSequenceAndPosition) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request;
  request.prompts = {kPrompts[0], kPrompts[0]};
  request.max_new_tokens = 12;
  request.num_steps = 2;
  request.sampler = {.sample = true, .temperature = 2, .rules = SamplerRules::kRaven, .seed = 1};
  const auto first = must_generate(opened, request);
  const auto again = must_generate(opened, request);
  EXPECT_EQ(first[0].tokens, again[0].tokens);
  EXPECT_NE(first[0].tokens, first[1].tokens);
  request.sampler.seed = 2;
  EXPECT_NE(must_generate(opened, request)[0].tokens, first[0].tokens);
}

}  // namespace
}  // namespace plumb
