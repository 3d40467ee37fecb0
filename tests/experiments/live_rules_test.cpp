// What a recording says against what a live run does.
#include "experiments/live_rules.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>

#include "core/cache/kv_policies.h"
#include "experiments/runner.h"

namespace plumb {
namespace {

const std::string kModel = PLUMB_SOURCE_DIR "/experiments/models/pocket-raven";
const std::string kText = PLUMB_SOURCE_DIR "/experiments/texts/prose.txt";
constexpr int kSteps = 8;

class LiveRulesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("plumb_live_{}", getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  SweepSpec spec() const {
    SweepSpec spec;
    spec.models = {kModel};
    spec.texts = {kText};
    spec.num_steps = {kSteps};
    spec.window = 32;
    spec.stride = 16;
    spec.max_tokens = 120;
    spec.threads = 1;
    spec.db = (folder_ / "out.db").string();
    return spec;
  }
  RunReader sweep(SweepSpec spec) {
    EXPECT_TRUE(spec.resolve().ok());
    const SweepObserver observer{[](const std::string&) {}, nullptr};
    const auto outcome = run_sweep(spec, {"test", {"test"}}, observer);
    EXPECT_TRUE(outcome.ok()) << (outcome.ok() ? "" : outcome.error().message);
    return std::move(RunReader::open(spec.db)).value();
  }
  static std::vector<LiveToken> must_run(LiveRules& live, const LiveText& text, const Rule* rule) {
    auto tokens = live.run(text, rule);
    EXPECT_TRUE(tokens.ok()) << (tokens.ok() ? "" : tokens.error().message);
    return tokens.ok() ? std::move(tokens).value() : std::vector<LiveToken>();
  }

  std::filesystem::path folder_;
};

struct RecordedStep {
  float nll, kl;
};

TEST_F(LiveRulesTest, FullDepthIsTheRecordingAndAFirstTokenLeavesWhereReplaySays) {
  SweepSpec recorded = spec();
  recorded.record = "steps";
  recorded.readouts = {"f32", "bf16"};
  RunReader reader = sweep(recorded);
  const auto trajectories = reader.trajectories().value();
  ASSERT_EQ(trajectories.size(), 2u);
  std::vector<double> losses[2];
  for (size_t t = 0; t < 2; ++t) {
    const TrajectoryInfo& trajectory = trajectories[t];
    auto opened = LiveRules::open(reader, trajectory, {.threads = 1});
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    LiveRules live = std::move(opened).value();
    const LiveText text = recorded_text(reader, trajectory, 0).value();
    EXPECT_EQ(text.ids.size(), 120u);
    ASSERT_EQ(text.windows.size(), 7u);  // 119 targets: 32, then 16 each
    std::map<std::pair<int64_t, int>, RecordedStep> steps;
    const StepTable table =
        reader.read_steps(trajectory.id, {.columns = {StepColumn::kNll, StepColumn::kKlPrev}})
            .value();
    for (size_t i = 0; i < table.n_rows(); ++i)
      steps[{table.pos[i], table.step[i]}] = {table.values[0][i], table.values[1][i]};

    const auto full = must_run(live, text, nullptr);
    ASSERT_EQ(full.size(), 119u);
    for (const LiveToken& token : full) {
      EXPECT_EQ(token.exit_step, kSteps);
      EXPECT_NEAR(token.nll, (steps[{token.pos, kSteps}].nll), 1e-5) << token.pos;
      losses[t].push_back(token.nll);
    }
    // Before the first token of a window nothing has left early.
    Rule rule = Rule::parse("kl<0.001").value();
    rule.resolve_max(kSteps);
    const auto adaptive = must_run(live, text, &rule);
    ASSERT_EQ(adaptive.front().pos, 0);
    int expected = 1;
    while (expected < kSteps && !(steps[{0, expected}].kl < 0.001F)) ++expected;
    EXPECT_EQ(adaptive.front().exit_step, expected);
    EXPECT_NEAR(adaptive.front().nll, (steps[{0, expected}].nll), 1e-5);
    double mean = 0;
    for (const LiveToken& token : adaptive) mean += token.exit_step;
    EXPECT_LT(mean / 119, kSteps - 1);
  }
  // Rounded logits are other logits, and the recording says which it holds.
  EXPECT_NE(losses[0], losses[1]);
}

TEST_F(LiveRulesTest, FewTokensAreWindowsSpreadOverTheText) {
  SweepSpec recorded = spec();
  recorded.record = "steps";
  RunReader reader = sweep(recorded);
  const LiveText text = recorded_text(reader, reader.trajectories().value()[0], 40).value();
  ASSERT_EQ(text.windows.size(), 3u);
  EXPECT_EQ(text.windows[0].first_token, 0u);
  EXPECT_GT(text.windows[2].first_token, 50u);
}

TEST_F(LiveRulesTest, AnotherModelIsRefusedByItsContent) {
  SweepSpec recorded = spec();
  recorded.record = "steps";
  RunReader reader = sweep(recorded);
  const auto trajectory = reader.trajectories().value()[0];
  const auto other =
      LiveRules::open(reader, trajectory,
                      {.model = PLUMB_SOURCE_DIR "/tests/goldens/raven/huginn_a", .threads = 1});
  ASSERT_FALSE(other.ok());
  const auto missing = LiveRules::open(reader, trajectory, {.model = "/nonexistent", .threads = 1});
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("/nonexistent"), std::string::npos);
}

TEST_F(LiveRulesTest, AStrategysKeysAndValuesAreInTheFileAndEqualTheFormula) {
  SweepSpec scored = spec();
  scored.stride = 32;
  scored.max_tokens = 33;
  scored.caches = {"full", "compress-s2", "latest-compress-first1", "decode-last"};
  RunReader reader = sweep(scored);
  const auto rows = reader.strategies().value();
  ASSERT_EQ(rows.size(), 4u);
  const LayerCounts pocket{1, 2, 1};
  for (const StrategyRow& row : rows) {
    const auto entries =
        kv_entries_per_token(row.cache, CacheIndex::kRecurrence, pocket, kSteps).value();
    // A key and a value of 256 f32 each.
    EXPECT_EQ(row.kv_bytes_per_token, static_cast<double>(entries * 2 * 256 * 4)) << row.cache;
    EXPECT_GT(row.tokens_per_second.value_or(0), 0) << row.cache;
    EXPECT_EQ(row.tokens, 32);
  }
}

TEST_F(LiveRulesTest, AWarmStartIsAnAxisOfASweep) {
  SweepSpec scored = spec();
  scored.num_steps = {2};
  scored.continuous_compute = {"off", "on"};
  EXPECT_TRUE(scored.resolve().ok());
  EXPECT_EQ(scored.scoring, "sequential");
  RunReader reader = sweep(scored);
  const auto points = reader.points().value();
  ASSERT_EQ(points.size(), 2u);
  EXPECT_NE(points[0].nll_sum_nats, points[1].nll_sum_nats);
  EXPECT_NE(points[1].record.setting.extra_json.find("\"continuous_compute\":true"),
            std::string::npos);
}

TEST_F(LiveRulesTest, TheFileSaysWhatATokenCosts) {
  RunReader reader = sweep(spec());
  const auto point = reader.points().value()[0];
  const auto cost = reader.model_cost(point.record.setting.model_sha256).value();
  ASSERT_TRUE(cost.has_value());
  EXPECT_GT(cost->step_flops, 0);
  EXPECT_GT(cost->readout_flops, 2.0 * 4096 * 256);
  EXPECT_EQ(cost->step_key_flops, 2 * 4.0 * 256);  // two core blocks
  EXPECT_FALSE(reader.model_cost("another").value().has_value());
}

}  // namespace
}  // namespace plumb
