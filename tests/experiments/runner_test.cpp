#include "experiments/runner.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "core/store/run_reader.h"

namespace plumb {
namespace {

const std::string kModel = PLUMB_SOURCE_DIR "/experiments/models/pocket-raven";
const std::string kText = PLUMB_SOURCE_DIR "/experiments/texts/prose.txt";

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("plumb_runner_{}", getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  SweepSpec spec(const std::string& db) const {
    SweepSpec spec;
    spec.models = {kModel};
    spec.texts = {kText};
    spec.num_steps = {1, 2, 4};
    spec.window = 64;
    spec.max_tokens = 500;
    spec.threads = 2;
    spec.db = (folder_ / db).string();
    return spec;
  }

  static SweepOutcome run(SweepSpec spec, std::optional<int64_t> existing = {}) {
    EXPECT_TRUE(spec.resolve().ok());
    const SweepObserver observer{[](const std::string&) {}, nullptr};
    auto outcome = run_sweep(spec, {"test", {"test"}}, observer, existing);
    EXPECT_TRUE(outcome.ok()) << (outcome.ok() ? "" : outcome.error().message);
    return outcome.ok() ? outcome.value() : SweepOutcome{};
  }

  static std::vector<DepthPerplexityRow> rows(const SweepSpec& spec) {
    auto reader = RunReader::open(spec.db);
    EXPECT_TRUE(reader.ok());
    auto rows = reader.value().depth_perplexity();
    EXPECT_TRUE(rows.ok());
    return rows.value();
  }

  static std::string failure(SweepSpec spec) {
    if (const Status status = spec.resolve(); !status.ok()) return status.error().message;
    const SweepObserver observer{[](const std::string&) {}, nullptr};
    const auto outcome = run_sweep(spec, {"test", {}}, observer);
    return outcome.ok() ? "" : outcome.error().message;
  }

  std::filesystem::path folder_;
};

TEST_F(RunnerTest, OnePassGivesTheNumbersOfSeparateRuns) {
  const SweepSpec together = spec("together.db");
  run(together);
  const auto sweep = rows(together);
  ASSERT_EQ(sweep.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    SweepSpec alone = spec(fmt::format("alone{}.db", i));
    alone.num_steps = {together.num_steps[i]};
    alone.threads = 1;
    run(alone);
    const auto single = rows(alone);
    ASSERT_EQ(single.size(), 1u);
    EXPECT_EQ(single[0].nats_per_token, sweep[i].nats_per_token);
    EXPECT_EQ(single[0].ci_low, sweep[i].ci_low);
    EXPECT_EQ(single[0].tokens, 499);
  }
}

TEST_F(RunnerTest, AFinishedSweepIsFoundNotComputed) {
  const SweepSpec wanted = spec("again.db");
  EXPECT_EQ(run(wanted).points_computed, 3);
  const SweepOutcome second = run(wanted);
  EXPECT_EQ(second.points_computed, 0);
  EXPECT_EQ(second.points_found, 3);
  SweepSpec more = wanted;
  more.num_steps = {2, 8};
  const SweepOutcome third = run(more);
  EXPECT_EQ(third.points_computed, 1);
  EXPECT_EQ(third.points_found, 1);
}

// The whole promise of the results file: a process killed at any moment loses the chunk in flight.
TEST_F(RunnerTest, AKilledSweepResumesToTheSameNumbers) {
  SweepSpec calm = spec("calm.db"), killed = spec("killed.db");
  calm.record = killed.record = "steps";
  calm.max_tokens = killed.max_tokens = 1500;
  run(calm);
  for (int round = 0; round < 4; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      SweepSpec in_child = killed;
      (void)in_child.resolve().ok();
      const SweepObserver observer{[](const std::string&) {}, nullptr};
      (void)run_sweep(in_child, {"test", {}}, observer).ok();
      _exit(0);
    }
    usleep(60000 + 90000 * round);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
  }
  run(killed);
  const auto want = rows(calm), got = rows(killed);
  ASSERT_EQ(want.size(), got.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(want[i].nats_per_token, got[i].nats_per_token);
    EXPECT_EQ(want[i].tokens, got[i].tokens);
    EXPECT_EQ(want[i].ci_high, got[i].ci_high);
  }
}

TEST_F(RunnerTest, RecordsStepsLagsAndLatents) {
  SweepSpec recorded = spec("steps.db");
  recorded.record = "latents:0..3,2+4,f16";
  recorded.lags = {2};
  run(recorded);
  auto reader = RunReader::open(recorded.db);
  ASSERT_TRUE(reader.ok());
  const auto trajectories = reader.value().trajectories();
  ASSERT_TRUE(trajectories.ok());
  ASSERT_EQ(trajectories.value().size(), 1u);
  EXPECT_TRUE(trajectories.value()[0].complete());
  EXPECT_EQ(trajectories.value()[0].step_rows, 499 * 4);
  const auto latents = reader.value().read_latents(trajectories.value()[0].id, {});
  ASSERT_TRUE(latents.ok());
  ASSERT_EQ(latents.value().size(), 8u);  // four positions, two steps
  EXPECT_EQ(latents.value()[0].data.size(), 512u);
}

TEST_F(RunnerTest, SentencesForWhatCannotBeSwept) {
  SweepSpec bad = spec("bad.db");
  bad.texts = {(folder_ / "empty.txt").string()};
  std::ofstream(bad.texts[0]).flush();
  EXPECT_NE(failure(bad).find("the text is empty"), std::string::npos);
  bad = spec("bad.db");
  bad.texts = {"/nonexistent.txt"};
  EXPECT_NE(failure(bad).find("no such file"), std::string::npos);
  bad = spec("bad.db");
  bad.window = 100000;
  EXPECT_NE(failure(bad).find("exceeds the 2048 positions"), std::string::npos);
  bad = spec("bad.db");
  bad.dtypes = {"f17"};
  EXPECT_NE(failure(bad).find("f17"), std::string::npos);
  bad = spec("bad.db");
  bad.states = {"nonsense"};
  EXPECT_NE(failure(bad).find("nonsense"), std::string::npos);
  bad = spec("bad.db");
  bad.db = "/nonexistent/folder/x.db";
  EXPECT_NE(failure(bad).find("/nonexistent/folder"), std::string::npos);
  bad = spec("bad.db");
  bad.stride = 65;
  EXPECT_NE(failure(bad).find("--stride"), std::string::npos);
}

TEST_F(RunnerTest, TextThatIsNotUtf8IsRefusedWhereTheTokenizerWouldRepairIt) {
  SweepSpec odd = spec("odd.db");
  odd.texts = {(folder_ / "odd.txt").string()};
  std::ofstream(odd.texts[0], std::ios::binary) << "abc\xff\xfe\x80 def \xc3( ghi";
  EXPECT_NE(failure(odd).find("odd.txt: byte 0xFF at offset 3 is not UTF-8"), std::string::npos);
}

}  // namespace
}  // namespace plumb
