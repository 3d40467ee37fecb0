// What the reference generated, token for token and step for step.
#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::expect_close;
using test::golden;
using test::must_generate;
using test::open_golden_model;
using test::records;
using test::request_of;

class GenerateGolden : public testing::TestWithParam<std::string> {
 protected:
  // Every record of a kind; returns how many were compared.
  int run(const char* kind) {
    const std::string name = GetParam();
    const auto opened = open_golden_model("raven/" + name);
    int compared = 0;
    for (const auto& [label, record] : records()["cases"][name][kind].items()) {
      SCOPED_TRACE(name + " " + kind + " " + label);
      GenerateRequest request = request_of(name, record);
      if (!test::rename_strategy(request, opened.model->info().layers.n_core)) continue;
      ++compared;
      if (record.contains("error_type")) {
        const auto refused = generate(*opened, *opened.team, request);
        EXPECT_FALSE(refused.ok());
        if (!refused.ok()) {
          EXPECT_GT(refused.error().message.size(), 20u);
        }
        continue;
      }
      const Generated got = must_generate(opened, request)[0];
      // The reference overshoots in its last speculative round.
      auto want = record["tokens"].get<std::vector<int32_t>>();
      want.resize(std::min(
          want.size(), request.prompts[0].size() + static_cast<size_t>(request.max_new_tokens)));
      EXPECT_EQ(got.tokens, want);
      if (record.contains("steps")) {
        EXPECT_EQ(got.steps, record["steps"].get<std::vector<int>>());
      }
      if (record.contains("exit_values")) compare_values(got, record["exit_values"]);
    }
    return compared;
  }

  static void compare_values(const Generated& got, const Json& want) {
    ASSERT_EQ(got.exit_values.size(), want.size());
    for (size_t f = 0; f < want.size(); ++f) {
      ASSERT_EQ(got.exit_values[f].size(), want[f].size()) << "forward " << f;
      for (size_t k = 0; k < want[f].size(); ++k)
        EXPECT_NEAR(got.exit_values[f][k], want[f][k].get<double>(),
                    2e-5 + 1e-5 * want[f][k].get<double>())
            << f << " " << k;
    }
  }
};

TEST_P(GenerateGolden, FixedDepthUnderEveryCacheStrategy) { EXPECT_GT(run("generation"), 15); }
TEST_P(GenerateGolden, AdaptiveDepthOfEveryCriterion) { EXPECT_GT(run("adaptive"), 10); }
TEST_P(GenerateGolden, ForcedDepthPatterns) { EXPECT_GT(run("pattern"), 5); }
TEST_P(GenerateGolden, SpeculativeDecoding) { EXPECT_GT(run("speculative"), 3); }

INSTANTIATE_TEST_SUITE_P(Huginn, GenerateGolden, testing::Values("huginn_a", "huginn_b"),
                         [](const auto& test) { return test.param; });

TEST(Generate, KeepsTheLogitsTheTokensWerePickedFrom) {
  const auto opened = open_golden_model("raven/huginn_a");
  GenerateRequest request =
      request_of("huginn_a", records()["cases"]["huginn_a"]["generation"]["full@8"]);
  request.keep_logits = true;
  const Generated got = must_generate(opened, request)[0];
  const auto want = golden("raven/generation.safetensors", "huginn_a.logits.full@8");
  ASSERT_EQ(got.logits.size(), static_cast<size_t>(want.shape[0]));
  const auto v = static_cast<size_t>(want.shape[1]);
  for (size_t i = 0; i < got.logits.size(); ++i)
    expect_close({got.logits[i].data(), v}, std::span<const float>(want.data).subspan(i * v, v),
                 1e-4, 1e-4);
}

TEST(Generate, TakesThePromptATokenAtATimeEachWithItsOwnExit) {
  const auto opened = open_golden_model("raven/huginn_a");
  const auto ids = golden("raven/generation.safetensors", "huginn_a.prefill.ids");
  for (const auto& [label, record] : records()["cases"]["huginn_a"]["prefill_adaptive"].items()) {
    SCOPED_TRACE(label);
    Json full = record;
    full["max_new_tokens"] = 1;
    full["num_steps"] = record["max_steps"];
    GenerateRequest request = request_of("huginn_a", full);
    request.prompts = {{ids.data.begin(), ids.data.end()}};
    request.token_prefill = true;
    const Generated got = must_generate(opened, request)[0];
    EXPECT_EQ(got.steps, record["steps"].get<std::vector<int>>());
  }
}

}  // namespace
}  // namespace plumb
