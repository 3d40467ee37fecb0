#include "core/decode/score.h"

#include <gtest/gtest.h>

#include "core/model/families.h"
#include "tests/support/golden.h"

namespace plumb {
namespace {

TEST(PlanWindows, EveryTargetIsScoredOnceWithTheMostContext) {
  for (size_t n : {2, 3, 10, 11, 97})
    for (size_t window : {1, 4, 10, 200})
      for (size_t stride : {size_t{1}, (window + 1) / 2, window}) {
        std::vector<int> scored(n - 1, 0);
        for (const ScoreWindow& w : plan_windows(n, window, stride)) {
          ASSERT_LE(w.first_token + w.n_inputs, n - 1);
          ASSERT_LE(w.n_inputs, window);
          ASSERT_LT(w.first_scored, w.n_inputs);
          for (size_t i = w.first_scored; i < w.n_inputs; ++i) ++scored[w.first_token + i];
          // All but the first window reach back as far as the stride allows.
          if (w.first_token > 0 && w.n_inputs == window) {
            EXPECT_GE(w.first_scored + stride, window);
          }
        }
        for (int count : scored) EXPECT_EQ(count, 1);
      }
}

class ScoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = Checkpoint::open(test::golden_path("raven/huginn_b"));
    ASSERT_TRUE(opened.ok());
    checkpoint_ = std::make_unique<Checkpoint>(std::move(opened).value());
    auto model = load_model(*checkpoint_, Precision::kF32, team_);
    ASSERT_TRUE(model.ok());
    model_ = std::move(model).value();
    for (int i = 0; i < 40; ++i) tokens_.push_back((i * 37 + 11) % 131);
  }

  WindowScore score(const ScoreRequest& request, ScoreWindow window) {
    auto states = StateSource::make({}, model_->info(), StateSource::FileRows::kPositions);
    EXPECT_TRUE(states.ok());
    DepthPass pass(*model_, team_);
    auto result = score_window(pass, states.value(), team_, tokens_, window, request);
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    return std::move(result).value();
  }

  Team team_{2};
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<RecurrentModel> model_;
  std::vector<int32_t> tokens_;
  ScoreWindow window_{0, 39, 10};
};

TEST_F(ScoreTest, RecordingStepsChangesNoLoss) {
  ScoreRequest plain{.depths = {0, 1, 5, 8}}, recorded = plain;
  recorded.record_steps = true;
  recorded.lags = {0, 2};
  const WindowScore a = score(plain, window_), b = score(recorded, window_);
  ASSERT_EQ(a.nll.size(), 4u);
  for (size_t d = 0; d < 4; ++d)
    for (size_t i = 0; i < 29; ++i) EXPECT_NEAR(a.nll[d][i], b.nll[d][i], 1e-9);
  ASSERT_EQ(b.steps.size(), 29u);
  ASSERT_EQ(b.steps[0].size(), 8u);
  for (const auto& rows : b.steps) {
    EXPECT_EQ(rows.back().kl_final, 0);  // the last step is the final distribution
    EXPECT_EQ(rows.front().step, 1);
    EXPECT_GT(rows.front().kl_final, 0);
  }
}

TEST_F(ScoreTest, TheLossIsThatOfTheTargetAfterTheInput) {
  const WindowScore result = score({.depths = {3}}, {0, 39, 0});
  auto states = StateSource::make({}, model_->info(), StateSource::FileRows::kPositions);
  DepthPass pass(*model_, team_);
  Batch batch;
  batch.ids = std::span<const int32_t>(tokens_).first(39);
  batch.groups.push_back({.first_row = 0, .n_rows = 39});
  ASSERT_TRUE(pass.begin(batch, states.value()).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(pass.advance().ok());
  Mat<float> logits(39, 131);
  ASSERT_TRUE(pass.read(Readout::kKeep, logits).ok());
  for (size_t t = 0; t < 39; ++t) {
    double sum = 0;
    for (size_t c = 0; c < 131; ++c) sum += std::exp(static_cast<double>(logits(t, c)));
    EXPECT_NEAR(result.nll[0][t], std::log(sum) - logits(t, static_cast<size_t>(tokens_[t + 1])), 1e-5);
  }
}

TEST_F(ScoreTest, LatentsAreTheChosenOnes) {
  ScoreRequest request{.depths = {4}};
  request.latents = {.wanted = true, .positions = {12, 15, 3}, .steps = {0, 4}};
  const WindowScore result = score(request, window_);
  ASSERT_EQ(result.latents.size(), 4u);  // position 3 lies before the scored part
  for (const LatentSample& sample : result.latents) EXPECT_EQ(sample.state.size(), 48u);
}

}  // namespace
}  // namespace plumb
