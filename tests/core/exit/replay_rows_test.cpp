#include "core/exit/replay_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/core/exit/trajectories.h"

namespace plumb {
namespace {

Rule rule(std::string_view text) { return std::move(Rule::parse(text)).value(); }

struct Recording {
  std::vector<int> lags;
  std::vector<StepRow> rows;
  std::vector<Comparison> lagged;
  Trajectory view() const { return {rows, lags, lagged}; }
};

Recording record(const Walk& walk, std::vector<int> lags) {
  Recording out{lags, {}, {}};
  RowHistory history(std::move(lags), walk.state(0));
  StepScratch scratch;
  for (int k = 1; k <= walk.steps(); ++k) {
    std::vector<Comparison> lagged(out.lags.size());
    out.rows.push_back(history.next(walk.input(k), scratch, lagged));
    out.lagged.insert(out.lagged.end(), lagged.begin(), lagged.end());
  }
  return out;
}

// The live loop: the memory sees the rule's check steps only.
std::vector<StepRow> live_rows(const Rule& tested, const Walk& walk) {
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  std::vector<StepRow> out;
  for (int k = 1; k <= tested.depth_limit(walk.steps()); ++k) {
    if (tested.is_check_step(k, false)) out.push_back(next_row(walk.input(k), memory, scratch));
  }
  return out;
}

TEST(RowHistory, TheRowIsWhatALiveExitSees) {
  const Walk walk(1, 16, 40, 9);
  const Recording with_lags = record(walk, {kStartLag, 2, 4});
  const auto live = walk.rows();
  for (size_t i = 0; i < live.size(); ++i) expect_same(with_lags.rows[i], live[i]);
  EXPECT_EQ(record(walk, {}).rows.size(), 9U);
}

TEST(RowHistory, LaggedComparisonsFollowTheirDefinition) {
  const Walk walk(2, 16, 40, 12);
  const Recording recording = record(walk, {kStartLag, 2, 5});
  for (int k = 1; k <= 12; ++k) {
    for (size_t i = 0; i < 3; ++i) {
      const Comparison& found = recording.lagged[static_cast<size_t>(k - 1) * 3 + i];
      const int lag = i == 0 ? k : recording.lags[i];
      if (k < lag) {
        EXPECT_EQ(found.lag, 0);
        EXPECT_TRUE(std::isnan(found.kl) && std::isnan(found.delta_norm));
        continue;
      }
      EXPECT_EQ(found.lag, lag);
      EXPECT_NEAR(found.kl, walk.kl(k - lag, k), 1e-6);
      EXPECT_NEAR(found.delta_norm, walk.distance(k, k - lag), 1e-9);
      EXPECT_NEAR(found.latent_diff, walk.distance(k, k - lag) / walk.norm(k), 1e-9);
      if (i > 0 && k >= 2 * lag) {
        EXPECT_NEAR(found.accel_norm, walk.acceleration(k, lag), 1e-9);
      } else {
        EXPECT_EQ(found.accel_norm, std::numeric_limits<double>::infinity());
      }
    }
  }
}

// Every schedule on every lag: the rebuilt rows are the live ones, bit for bit.
TEST(ReplayRows, RebuildWhatTheLiveRunSaw) {
  for (size_t seed = 0; seed < 4; ++seed) {
    const Walk walk(30 + seed, 16, 40, 14);
    const Recording recording = record(walk, {kStartLag, 2, 3, 4});
    for (int min = 0; min <= 5; ++min) {
      for (int every = 1; every <= 4; ++every) {
        const Rule tested =
            rule(fmt::format("kl<1e-9 | accel<1e-9 @min={},every={},max=13", min, every));
        ASSERT_TRUE(replayable(tested, recording.lags).ok());
        const auto live = live_rows(tested, walk);
        const auto replayed = rows_at_checks(tested, recording.view());
        ASSERT_EQ(live.size(), replayed.size());
        SCOPED_TRACE(tested.canonical());
        for (size_t i = 0; i < live.size(); ++i) expect_same(replayed[i], live[i]);
      }
    }
  }
}

TEST(ReplayRows, ExitsWhereTheLiveRunExits) {
  std::mt19937 generator(3);
  const char* const kExpressions[] = {"kl<{}",
                                      "latent-diff<{}",
                                      "accel<{} & cosine<{}",
                                      "contraction<{} | argmax-stability>=3",
                                      "entropy-diff<{}",
                                      "fixed=5/2/7 | minp-kl<{}",
                                      "accel-rel<{} | deq-rel<{}"};
  int fired = 0;
  for (int i = 0; i < 400; ++i) {
    const Walk walk(generator(), 16, 40, 12);
    const Recording recording = record(walk, {kStartLag, 2, 3});
    const double threshold = std::pow(10.0, -static_cast<double>(generator() % 40) / 10.0);
    const Rule tested = rule(
        fmt::format("{} @min={},every={},patience={}",
                    fmt::format(fmt::runtime(kExpressions[generator() % std::size(kExpressions)]),
                                threshold, threshold),
                    generator() % 4, 1 + generator() % 3, 1 + generator() % 2));
    const int forward = static_cast<int>(generator() % 5);
    RuleState state{.forward = forward};
    Exit expected{12, ExitReason::kLimit};
    for (const StepRow& row : live_rows(tested, walk)) {
      if (!tested.check(row, state)) continue;
      expected = {row.step, ExitReason::kRule};
      break;
    }
    const Exit found = find_exit(tested, recording.view(), forward);
    ASSERT_EQ(found.step, expected.step) << tested.canonical();
    ASSERT_EQ(found.reason, expected.reason) << tested.canonical();
    fired += found.reason == ExitReason::kRule;
  }
  EXPECT_GT(fired, 100);
  EXPECT_LT(fired, 400);
}

TEST(ReplayRows, DerivedFieldsComeBackFromThePrimaryOnes) {
  const auto rows = Walk(5, 16, 40, 9).rows();
  std::vector<StepRow> stored(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    StepRow& row = stored[i];
    row = {.step = rows[i].step,
           .state_norm = rows[i].state_norm,
           .entropy = rows[i].entropy,
           .top1 = rows[i].top1,
           .p1 = rows[i].p1,
           .p2 = rows[i].p2,
           .nll = rows[i].nll,
           .target_rank = rows[i].target_rank};
    row.prev = {.delta_norm = rows[i].prev.delta_norm,
                .accel_norm = rows[i].prev.accel_norm,
                .cos = rows[i].prev.cos,
                .kl = rows[i].prev.kl,
                .minp_kl = rows[i].prev.minp_kl};
  }
  derive_rows(stored);
  for (size_t i = 0; i < rows.size(); ++i) expect_same(stored[i], rows[i]);
}

TEST(ReplayRows, RefusesComparisonsThatWereNotRecordedByName) {
  const std::vector<int> two = {2}, start = {kStartLag}, none;
  EXPECT_TRUE(replayable(rule("kl"), none).ok());
  EXPECT_TRUE(replayable(rule("entropy-diff & argmax-stability @min=3,every=5"), none).ok());
  EXPECT_TRUE(replayable(rule("kl @every=2"), two).ok());
  EXPECT_TRUE(replayable(rule("kl @min=1,every=2"), two).ok());  // step 2 against the start
  EXPECT_TRUE(replayable(rule("kl @min=3"), start).ok());
  EXPECT_THAT(replayable(rule("kl @every=3"), two).error().message,
              testing::HasSubstr("(every=3), which was not recorded; recorded lags are 1, 2"));
  EXPECT_THAT(replayable(rule("accel @min=3"), two).error().message,
              testing::HasSubstr("its first check, step 4, with the start (min=3)"));
}

TEST(ReplayRows, RulesThatCompareNothingReplayOnAnySchedule) {
  const Walk walk(6, 16, 40, 12);
  const Recording plain = record(walk, {});
  const Rule tested = rule("entropy-diff<0.02 | argmax-stability>=3 @min=2,every=3");
  const auto live = live_rows(tested, walk), replayed = rows_at_checks(tested, plain.view());
  ASSERT_EQ(live.size(), replayed.size());
  for (size_t i = 0; i < live.size(); ++i) {
    EXPECT_EQ(replayed[i].argmax_run, live[i].argmax_run);
    EXPECT_EQ(replayed[i].prev.entropy_diff, live[i].prev.entropy_diff);
  }
}

TEST(FirstCrossings, EqualOneRuleAtATime) {
  constexpr size_t kTokens = 40, kSteps = 12;
  std::mt19937 generator(2);
  Mat<double> values(kTokens, kSteps);
  std::vector<std::vector<StepRow>> rows(kTokens, std::vector<StepRow>(kSteps));
  for (size_t token = 0; token < kTokens; ++token) {
    for (size_t k = 0; k < kSteps; ++k) {
      // A coarse grid, so that values and thresholds meet exactly; some are unmeasured.
      const double value =
          generator() % 10 == 0 ? kUnmeasured : static_cast<int>(generator() % 16) / 16.0;
      values(token, k) = value;
      rows[token][k].step = static_cast<int>(k) + 1;
      rows[token][k].prev.kl = value;
    }
  }
  std::vector<double> thresholds;
  for (int i = 0; i < 50; ++i) thresholds.push_back(static_cast<int>(generator() % 18) / 16.0);
  for (const Comparator comparator :
       {Comparator::kLess, Comparator::kLessEqual, Comparator::kGreater, Comparator::kGreaterEqual,
        Comparator::kEqual}) {
    Mat<int32_t> exits(thresholds.size(), kTokens);
    first_crossings(values, comparator, thresholds, exits);
    for (size_t i = 0; i < thresholds.size(); ++i) {
      const Rule tested = rule(fmt::format("kl{}{}", comparator_text(comparator), thresholds[i]));
      for (size_t token = 0; token < kTokens; ++token) {
        const Exit exit = find_exit(tested, {rows[token], {}, {}}, 0);
        const int expected = exit.reason == ExitReason::kRule ? exit.step : 0;
        ASSERT_EQ(exits(i, token), expected) << tested.expression();
      }
    }
  }
}

}  // namespace
}  // namespace plumb
