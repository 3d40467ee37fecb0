#include "core/decode/wavefront.h"

#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::open_golden_model;
using test::records;

WavefrontRequest request_of_diffusion(const Json& record) {
  const Json& args = record["args"];
  WavefrontRequest request;
  request.prompt = records()["cases"]["huginn_a"]["prompt"].get<std::vector<int32_t>>();
  request.max_new_tokens = record["max_new_tokens"];
  request.num_steps = args["num_steps"];
  request.inner_steps = args["inner_recurrence"];
  request.freeze = *parse_freeze_rule(args["freeze_strategy"].get<std::string>());
  request.threshold = args.value("exit_t", request.threshold);
  request.headway = args.value("headway", 1);
  request.max_wave = args.value("max_wavefront", request.max_wave);
  request.ema_embeds = args.value("ema_embeds", request.ema_embeds);
  request.state_noise = args.value("state_noise_mixing", request.state_noise);
  request.dampened_noise = args.value("dampened_state_mixer", true);
  request.sqrt_mixer = args.value("sqrt_mixer", false);
  request.continuous_compute = args.value("continuous_compute", false);
  request.max_rounds = args["max_diffusion_steps"];
  request.cache = args.value("cache_lookup_strategy", "latest-m4-compress-s4");
  request.cache_index = CacheIndex::kUpstream;
  request.state.kind = test::tape("huginn_a.constant");
  request.guess = 7;
  return request;
}

TEST(Wavefront, FreezesTheReferencesTokensWithItsCounts) {
  const auto opened = open_golden_model("raven/huginn_a");
  int compared = 0;
  for (const auto& [name, record] : records()["cases"]["huginn_a"]["diffusion"].items()) {
    SCOPED_TRACE(name);
    const auto result = generate_wavefront(*opened, *opened.team, request_of_diffusion(record));
    ASSERT_TRUE(result.ok()) << result.error().message;
    const WavefrontResult& got = result.value();
    const Json& want = record["scores"];
    EXPECT_EQ(got.tokens, record["tokens"].get<std::vector<int32_t>>());
    EXPECT_EQ(got.stats.core_passes, want["num_core_forward_passes"]);
    EXPECT_EQ(got.stats.token_forwards, want["num_tokens_forward"]);
    EXPECT_EQ(got.stats.cache_clears, want["num_cache_clears"]);
    EXPECT_EQ(got.stats.standing_waves, want["num_standing_waves"]);
    EXPECT_EQ(got.stats.rounds, want["diffusion_steps"]);
    EXPECT_EQ(got.stats.sequence_length, want["gen_seq_length"]);
    EXPECT_EQ(got.stats.steps_by_position,
              want["recurrence_per_position"][0].get<std::vector<int>>());
    EXPECT_EQ(got.stats.stable_rounds_by_position,
              want["token_stable_per_position"][0].get<std::vector<int>>());
    ++compared;
  }
  EXPECT_EQ(compared, 13);
}

TEST(Wavefront, IsAFunctionOfItsSeed) {
  const auto opened = open_golden_model("raven/huginn_b");
  WavefrontRequest request;
  request.prompt = {4, 8, 15};
  request.max_new_tokens = 8;
  request.num_steps = 8;
  request.headway = 2;
  request.threshold = 0.3;
  request.max_rounds = 40;
  const auto run = [&] {
    auto result = generate_wavefront(*opened, *opened.team, request);
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    return std::move(result).value();
  };
  const auto first = run(), again = run();
  EXPECT_EQ(first.tokens, again.tokens);
  EXPECT_EQ(first.stats.steps_by_position, again.stats.steps_by_position);
}

TEST(Wavefront, RunsEveryFreezeRuleInANarrowWaveWithoutPrefill) {
  const auto opened = open_golden_model("raven/huginn_b");
  for (const char* rule : {"latent-diff", "latent-acceleration-1", "latent-acceleration-2",
                           "token-stability", "fixed"})
    for (const int headway : {1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} headway {}", rule, headway));
      WavefrontRequest request;
      request.prompt = {4, 8, 15};
      request.max_new_tokens = 6;
      request.num_steps = 4;
      request.freeze = *parse_freeze_rule(rule);
      request.headway = headway;
      request.max_wave = 4;
      request.threshold = 0.2;
      request.full_prefill = false;
      request.max_rounds = 60;
      const auto result = generate_wavefront(*opened, *opened.team, request);
      ASSERT_TRUE(result.ok()) << result.error().message;
      EXPECT_TRUE(
          std::equal(request.prompt.begin(), request.prompt.end(), result.value().tokens.begin()));
    }
}

TEST(Wavefront, RefusesWhatCannotBe) {
  const auto opened = open_golden_model("raven/huginn_b");
  const auto message = [&](void (*spoil)(WavefrontRequest&)) {
    WavefrontRequest request;
    request.prompt = {1, 2};
    spoil(request);
    const auto result = generate_wavefront(*opened, *opened.team, request);
    EXPECT_FALSE(result.ok());
    return result.ok() ? std::string() : result.error().message;
  };
  EXPECT_NE(message([](WavefrontRequest& r) {
              r.max_wave = 2;
              r.headway = 3;
            }).find("--max-wave"),
            std::string::npos);
  EXPECT_NE(message([](WavefrontRequest& r) {
              r.full_prefill = false;
              r.max_wave = 1;
            }).find("prompt"),
            std::string::npos);
  EXPECT_NE(message([](WavefrontRequest& r) { r.ema_embeds = 1; }).find("--ema-embeds"),
            std::string::npos);
  const auto llama = open_golden_model("llama/retrofit_a_base");
  WavefrontRequest request;
  request.prompt = {1};
  EXPECT_FALSE(generate_wavefront(*llama, *llama.team, request).ok());
}

}  // namespace
}  // namespace plumb
