// Sweeps of a model that halts by itself and remembers segments.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "core/store/run_reader.h"
#include "experiments/runner.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;

class ActSweep : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy(golden_file("act/rope"), dir_ / "act");
    Json vocab = Json::object();
    for (int byte = 0; byte < 128; ++byte) vocab[std::string(1, static_cast<char>(byte))] = byte;
    dir_.write("act/tokenizer.json", Json{{"algorithm", "length-max"}, {"vocab", vocab}}.dump());
    std::string text;
    for (int i = 0; text.size() < 150; ++i) text += fmt::format("{} sheep, ", i * i);
    dir_.write("text.txt", text.substr(0, 150));
  }

  SweepSpec spec(const std::string& db) const {
    SweepSpec spec;
    spec.models = {(dir_ / "act").string()};
    spec.texts = {(dir_ / "text.txt").string()};
    spec.window = 48;
    spec.threads = 2;
    spec.segment_lens = {12};
    spec.db = (dir_ / db).string();
    return spec;
  }

  std::vector<std::string> notes_;

  RunReader run(SweepSpec spec) {
    EXPECT_TRUE(spec.resolve().ok());
    const SweepObserver observer{[this](const std::string& note) { notes_.push_back(note); },
                                 nullptr};
    auto outcome = run_sweep(spec, {"test", {"test"}}, observer);
    EXPECT_TRUE(outcome.ok()) << (outcome.ok() ? "" : outcome.error().message);
    auto reader = RunReader::open(spec.db);
    EXPECT_TRUE(reader.ok());
    return std::move(reader).value();
  }

  const TempDir dir_;
};

TEST_F(ActSweep, HaltingIsRecordedOfEveryTokenAndStep) {
  for (const char* scoring : {"parallel", "sequential"}) {
    SweepSpec recorded = spec(fmt::format("{}.db", scoring));
    recorded.record = "steps";
    recorded.scoring = scoring;
    RunReader reader = run(recorded);
    const auto trajectories = reader.trajectories();
    ASSERT_TRUE(trajectories.ok());
    ASSERT_EQ(trajectories.value().size(), 1U);
    const int64_t id = trajectories.value()[0].id;
    const auto halting = reader.read_halting(id);
    const auto ponder = reader.read_ponder(id);
    ASSERT_TRUE(halting.ok() && ponder.ok());
    ASSERT_EQ(ponder.value().size(), 149U);
    size_t row = 0;
    for (const PonderRow& token : ponder.value()) {
      EXPECT_EQ(token.ponder, static_cast<float>(token.n_steps) + token.remainder);
      float weights = 0, spent = 0;
      int executed = 0;
      for (; row < halting.value().size() && halting.value()[row].pos == token.pos; ++row) {
        const HaltingRow& step = halting.value()[row];
        weights += step.w;
        if (std::isnan(step.p)) {
          EXPECT_EQ(step.w, 0);
          EXPECT_GT(step.step, token.n_steps);
          continue;
        }
        ++executed;
        EXPECT_TRUE(step.p > 0 && step.p < 1);
        EXPECT_GE(step.cum, spent);
        spent = step.cum;
      }
      EXPECT_EQ(executed, token.n_steps) << scoring << " " << token.pos;
      EXPECT_NEAR(weights, 1, 1e-5);
      EXPECT_NEAR(token.remainder, 1 - spent, 1e-6);
    }
    EXPECT_EQ(row, halting.value().size());
  }
}

TEST_F(ActSweep, SegmentAndMemoryLengthsAreAxesAndRecordedAsNumbers) {
  SweepSpec grid = spec("grid.db");
  grid.segment_lens = {6, 12};
  grid.mem_lens = {0, 4};
  grid.num_steps = {2, 6};
  RunReader reader = run(grid);
  const auto points = reader.points();
  ASSERT_TRUE(points.ok());
  ASSERT_EQ(points.value().size(), 8U);
  std::set<std::pair<int64_t, int64_t>> lengths;
  for (const auto& point : points.value())
    lengths.insert(
        {point.record.setting.segment_len.value_or(-1), point.record.setting.mem_len.value_or(-1)});
  EXPECT_EQ(lengths, (std::set<std::pair<int64_t, int64_t>>{{6, 0}, {6, 4}, {12, 0}, {12, 4}}));
  // Left out: the config's own, as a number.
  RunReader plain = run(spec("plain.db"));
  const auto own = plain.points();
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(own.value()[0].record.setting.mem_len, 16);
}

// A memory longer than the stream holds what there is, and is told of.
TEST_F(ActSweep, AMemoryLongerThanTheStreamIsTheStream) {
  SweepSpec longer = spec("long.db");
  longer.mem_lens = {48, 100000};
  RunReader reader = run(longer);
  const auto rows = reader.depth_perplexity();
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows.value().size(), 2U);
  EXPECT_EQ(rows.value()[0].nats_per_token, rows.value()[1].nats_per_token);
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_NE(notes_[0].find("--mem-len 100000"), std::string::npos) << notes_[0];
}

}  // namespace
}  // namespace plumb
