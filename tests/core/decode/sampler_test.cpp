#include "core/decode/sampler.h"

#include <map>

#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::golden;
using test::records;

TEST(Sampler, ProbabilitiesAreTheReferences) {
  const auto logits = golden("raven/generation.safetensors", "sampler.logits");
  const auto history = golden("raven/generation.safetensors", "sampler.history");
  const auto v = static_cast<size_t>(logits.shape[1]), h = static_cast<size_t>(history.shape[1]);
  int compared = 0;
  for (const auto& [name, setting] : records()["sampler"].items()) {
    SCOPED_TRACE(name);
    SamplerOptions options{.sample = true, .rules = SamplerRules::kRaven};
    options.temperature = setting.value("temperature", 1.0);
    if (options.temperature == 0) options.temperature = 1;  // the reference takes 0 for 1
    options.top_k = setting.value("top_k", 0);
    options.top_p = setting.value("top_p", 1.0);
    options.min_p = setting.value("min_p", 0.0);
    options.repetition_penalty = setting.value("repetition_penalty", 1.0);
    ASSERT_TRUE(check_sampler(options).ok());
    Sampler sampler(options);
    const auto want = golden("raven/generation.safetensors", "sampler." + name);
    for (size_t row = 0; row < 3; ++row) {
      const std::vector<int32_t> ids(
          history.data.begin() + static_cast<std::ptrdiff_t>(row * h),
          history.data.begin() + static_cast<std::ptrdiff_t>((row + 1) * h));
      const auto raw = std::span<const float>(logits.data).subspan(row * v, v);
      for (size_t i = 0; i < v; ++i) {
        const double got = name.starts_with("probs") ? sampler.probabilities(raw, ids)[i]
                                                     : sampler.penalised(raw, ids)[i];
        EXPECT_NEAR(got, want.data[row * v + i], 1e-6) << "row " << row << " id " << i;
      }
      ++compared;
    }
  }
  EXPECT_EQ(compared, 42);
}

TEST(Sampler, CrowfeatherProbabilitiesAndPenaltiesAreItsGoldens) {
  const Json cases = read_json_file(test::golden_path("crowfeather/sampling.json")).value();
  for (const Json& one : cases["sampling"]) {
    SCOPED_TRACE(one["name"].get<std::string>());
    Sampler sampler({.sample = true,
                     .temperature = one["temperature"],
                     .top_p = one["top_p"],
                     .repetition_penalty = one["penalty"]});
    const auto logits = one["logits"].get<std::vector<float>>();
    const auto probs = sampler.probabilities(logits, one["history"].get<std::vector<int32_t>>());
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(probs[i], one["probs"][i].get<double>(), 1e-6) << i;
  }
  for (const Json& one : cases["rep_penalty"]) {
    SCOPED_TRACE(one["name"].get<std::string>());
    Sampler sampler({.repetition_penalty = one["penalty"]});
    const auto after = sampler.penalised(one["logits"].get<std::vector<float>>(),
                                         one["ids"].get<std::vector<int32_t>>());
    for (size_t i = 0; i < after.size(); ++i)
      EXPECT_NEAR(after[i], one["sign_rule"][i].get<double>(), 1e-5) << i;
  }
  EXPECT_GE(cases["sampling"].size() + cases["rep_penalty"].size(), 8u);
}

TEST(Sampler, TopPKeepsOrDropsTheTokenThatCrosses) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  SamplerOptions options{.sample = true, .top_p = 0.6};
  const auto usual = Sampler(options);
  const auto kept = [&](SamplerRules rules) {
    options.rules = rules;
    Sampler sampler(options);
    const auto p = sampler.probabilities(logits, {});
    return std::vector<bool>{p[0] > 0, p[1] > 0, p[2] > 0};
  };
  EXPECT_EQ(kept(SamplerRules::kUsual), (std::vector<bool>{true, true, false}));
  EXPECT_EQ(kept(SamplerRules::kRaven), (std::vector<bool>{true, false, false}));
}

TEST(Sampler, TemperatureZeroIsTheFirstMaximum) {
  Sampler sampler({.sample = true, .temperature = 0});
  const std::vector<float> logits = {1, 3, 2, 3};
  EXPECT_EQ(sampler.pick(logits, {}, 0, 0), 1);
}

TEST(Sampler, PenaltyActsOnArgmaxOncePerId) {
  Sampler sampler({.repetition_penalty = 2});
  const std::vector<float> logits = {4, 3, -1, -3};
  const std::vector<int32_t> history = {0, 0, 0, 2};
  EXPECT_EQ(sampler.pick(logits, history, 0, 0), 1);
  const auto after = sampler.penalised(logits, history);
  EXPECT_EQ(after[0], 2);
  EXPECT_EQ(after[2], -2);
}

// Matches run forwards from a position and backwards from the end.
TEST(Sampler, NgramPenaltyFollowsTheReference) {
  Sampler sampler({.sample = true,
                   .dry_multiplier = 1,
                   .dry_base = 2,
                   .dry_allowed_length = 2,
                   .rules = SamplerRules::kRaven});
  const std::vector<float> logits(10, 0.0F);
  // From position 0: 5 matches the last 5, then 6 against 4 ends it: 6 is a candidate of length 2.
  const auto after = sampler.penalised(logits, std::vector<int32_t>{5, 6, 4, 5});
  EXPECT_EQ(after[6], -1);
  EXPECT_EQ(after[4], 0);
  // A palindrome matches itself from position 0 to its end, so no token follows; 6, 8, 6 differ
  // from 5.
  const auto mirrored = sampler.penalised(logits, std::vector<int32_t>{5, 6, 8, 6, 5});
  for (const float logit : mirrored) EXPECT_EQ(logit, 0);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  Sampler sampler({.sample = true, .seed = 9});
  const std::vector<float> logits = {std::log(0.6F), std::log(0.3F), std::log(0.1F)};
  std::map<int32_t, int> counts;
  constexpr int kDraws = 20000;
  for (uint32_t i = 0; i < kDraws; ++i) ++counts[sampler.pick(logits, {}, 0, i)];
  // Five standard deviations of a binomial share.
  EXPECT_NEAR(counts[0] / double{kDraws}, 0.6, 5 * std::sqrt(0.6 * 0.4 / kDraws));
  EXPECT_NEAR(counts[2] / double{kDraws}, 0.1, 5 * std::sqrt(0.1 * 0.9 / kDraws));
}

TEST(Sampler, RefusesSettingsOutOfRangeByTheirFlag) {
  const auto message = [](SamplerOptions options) {
    const auto status = check_sampler(options);
    return status.ok() ? std::string() : status.error().message;
  };
  EXPECT_NE(message({.temperature = -1}).find("--temperature"), std::string::npos);
  EXPECT_NE(message({.temperature = std::nan("")}).find("--temperature"), std::string::npos);
  EXPECT_NE(message({.top_p = 1.5}).find("--top-p"), std::string::npos);
  EXPECT_NE(message({.min_p = 2}).find("--min-p"), std::string::npos);
  EXPECT_NE(message({.repetition_penalty = 0}).find("--repetition-penalty"), std::string::npos);
  EXPECT_NE(message({.dry_multiplier = 1}).find("--dry-multiplier"), std::string::npos);
  EXPECT_EQ(message({}), "");
}

}  // namespace
}  // namespace plumb
