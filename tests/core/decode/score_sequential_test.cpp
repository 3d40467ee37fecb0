#include "core/decode/score_sequential.h"

#include "core/decode/score.h"
#include "core/kernels/distribution.h"
#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::golden;
using test::GoldenModel;
using test::must_parse;
using test::open_golden_model;
using test::records;

const std::vector<int32_t> kText = {5, 9,   77, 12, 3,  1, 4, 1,  5,  9, 2,
                                    6, 100, 7,  66, 12, 3, 9, 90, 41, 2};

StateSource like_init(const GoldenModel& opened, const StateOptions& options = {}) {
  return StateSource::make(options, opened.model->info(), StateSource::FileRows::kPositions)
      .value();
}

std::vector<SequentialScore> must_score(const GoldenModel& opened,
                                        const std::vector<SequentialWindow>& windows,
                                        const SequentialRequest& request,
                                        const StateOptions& state = {}) {
  auto result = score_sequential(*opened, *opened.team, like_init(opened, state), windows, request);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? std::move(result).value() : std::vector<SequentialScore>(windows.size());
}

SequentialWindow window_of(size_t first, size_t n, size_t first_scored) {
  return {{first, n, first_scored}, std::span(kText).subspan(first, n + 1)};
}

TEST(ScoreSequential, AtFixedDepthWithAFullCacheIsScoringTheWholeWindow) {
  for (const char* name : {"raven/huginn_a", "raven/huginn_b", "llama/retrofit_a_base"}) {
    SCOPED_TRACE(name);
    const auto opened = open_golden_model(name);
    const SequentialWindow window = window_of(2, 14, 3);
    DepthPass pass(*opened, *opened.team);
    ScoreRequest parallel;
    parallel.depths = {4};
    const auto want =
        score_window(pass, like_init(opened), *opened.team, window.tokens, window.window, parallel);
    ASSERT_TRUE(want.ok()) << want.error().message;
    const auto got = must_score(opened, {window}, {.num_steps = 4});
    EXPECT_EQ(got[0].nll, want.value().nll[0]);
    EXPECT_EQ(got[0].exit_steps, std::vector<int>(11, 4));
    EXPECT_EQ(got[0].core_passes, 14 * 4);
  }
}

// Logits are compared through the loss of the next token.
TEST(ScoreSequential, EqualsTheReferencesTokenByTokenExitsAndLogits) {
  int compared = 0;
  for (const std::string name : {"huginn_a", "huginn_b"}) {
    const auto opened = open_golden_model("raven/" + name);
    const auto ids = golden("raven/generation.safetensors", name + ".prefill.ids");
    for (const auto& [label, record] : records()["cases"][name]["prefill_adaptive"].items()) {
      SCOPED_TRACE(name + " " + label);
      const auto logits =
          golden(fmt::format("raven/{}.prefill_adaptive.safetensors", name),
                 fmt::format("prefill/{}/logits", label));
      std::vector<int32_t> tokens(ids.data.begin(), ids.data.end());
      const size_t n = tokens.size(), v = static_cast<size_t>(logits.shape.back());
      tokens.push_back(17);
      const Rule rule = must_parse(fmt::format("{}<{}", record["criterion"].get<std::string>(),
                                               record["threshold"].get<double>()));
      SequentialRequest request{.num_steps = record["max_steps"],
                                .rule = &rule,
                                .cache = record["strategy"],
                                .cache_index = CacheIndex::kUpstream};
      StateOptions state;
      state.kind = test::tape(name + ".tape");
      const auto got = must_score(opened, {{{0, n, 0}, tokens}}, request, state)[0];
      EXPECT_EQ(got.exit_steps, record["steps"].get<std::vector<int>>());
      for (size_t t = 0; t < n; ++t) {
        std::vector<float> row(logits.data.begin() + static_cast<std::ptrdiff_t>(t * v),
                               logits.data.begin() + static_cast<std::ptrdiff_t>((t + 1) * v));
        const double target = row[static_cast<size_t>(tokens[t + 1])];
        const Distribution p = read_distribution(row, row);
        EXPECT_NEAR(got.nll[t], p.log_z + p.max_logit - target, 2e-4) << t;
      }
      ++compared;
    }
  }
  EXPECT_EQ(compared, 6);
}

TEST(ScoreSequential, WindowsSideBySideGetWhatTheyGetAlone) {
  const auto opened = open_golden_model("raven/huginn_a");
  const Rule rule = must_parse("kl<0.02 @min=1");
  const std::vector<int> lags = {0, 2};
  SequentialRequest request{.num_steps = 12,
                            .rule = &rule,
                            .cache = "latest-compress-s2",
                            .record_steps = true,
                            .lags = lags};
  const std::vector<SequentialWindow> windows = {window_of(0, 6, 0), window_of(3, 9, 2),
                                                 window_of(5, 12, 6), window_of(1, 2, 0)};
  for (const size_t in_flight : {0, 1, 2}) {
    request.max_in_flight = in_flight;
    const auto together = must_score(opened, windows, request);
    for (size_t w = 0; w < windows.size(); ++w) {
      const auto alone = must_score(opened, {windows[w]}, request)[0];
      EXPECT_EQ(together[w].nll, alone.nll);
      EXPECT_EQ(together[w].exit_steps, alone.exit_steps);
      EXPECT_EQ(together[w].kv_bytes, alone.kv_bytes);
      EXPECT_EQ(together[w].nll.size(),
                windows[w].window.n_inputs - windows[w].window.first_scored);
    }
  }
}

TEST(ScoreSequential, RecordingChangesNoBitAndShowsTheRuleItsRows) {
  const auto opened = open_golden_model("raven/huginn_a");
  const Rule rule = must_parse("latent-diff<0.2");
  SequentialRequest request{.num_steps = 12, .rule = &rule};
  const auto plain = must_score(opened, {window_of(0, 15, 0)}, request)[0];
  request.record_steps = true;
  const auto recorded = must_score(opened, {window_of(0, 15, 0)}, request)[0];
  EXPECT_EQ(plain.nll, recorded.nll);
  EXPECT_EQ(plain.exit_steps, recorded.exit_steps);
  ASSERT_EQ(recorded.steps.size(), recorded.nll.size());
  for (size_t t = 0; t < recorded.steps.size(); ++t) {
    const auto& rows = recorded.steps[t];
    ASSERT_EQ(rows.size(), static_cast<size_t>(recorded.exit_steps[t]));
    EXPECT_NEAR(rows.back().nll, recorded.nll[t], 1e-12);
    EXPECT_EQ(rows.back().kl_final, 0);
    // Replaying the rule on the rows finds the exit it took.
    RuleState state;
    for (size_t k = 0; k < rows.size(); ++k) {
      const bool exit = rule.check(rows[k], state);
      EXPECT_EQ(exit, k + 1 == rows.size() && recorded.reasons[t] == DepthReason::kRule);
    }
  }
}

TEST(ScoreSequential, AWarmStartNeedsADrawnState) {
  const auto opened = open_golden_model("raven/huginn_a");
  SequentialRequest request{.num_steps = 3, .continuous_compute = true};
  const auto warm = must_score(opened, {window_of(0, 8, 0)}, request)[0];
  request.continuous_compute = false;
  const auto cold = must_score(opened, {window_of(0, 8, 0)}, request)[0];
  EXPECT_EQ(warm.nll[0], cold.nll[0]);
  EXPECT_NE(warm.nll[1], cold.nll[1]);
  const auto llama = open_golden_model("llama/retrofit_a_base");
  request.continuous_compute = true;
  const std::vector<SequentialWindow> windows = {window_of(0, 3, 0)};
  EXPECT_FALSE(score_sequential(*llama, *llama.team, like_init(llama), windows, request).ok());
}

}  // namespace
}  // namespace plumb
