#include "core/exit/step_scalars.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "core/exit/scalars.h"
#include "tests/core/exit/trajectories.h"

namespace plumb {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double value(const char* scalar, const StepRow& row) { return find_scalar(scalar)->value(row); }

TEST(StepScalars, EqualThePublicReference) {
  constexpr size_t kSteps = 16, kDim = 48, kVocab = 131, kValues = 7;
  constexpr size_t kToken = (kSteps + 1) * kDim + kSteps * (kVocab + kValues);
  std::ifstream file(PLUMB_SOURCE_DIR "/tests/goldens/exit/huginn_b_trace.f32", std::ios::binary);
  std::vector<float> numbers(3 * kToken);
  file.read(reinterpret_cast<char*>(numbers.data()),
            static_cast<std::streamsize>(numbers.size() * sizeof(float)));
  ASSERT_TRUE(file.good());
  const char* const kNames[] = {"entropy-diff",     "latent-diff", "kl",     "minp-kl",
                                "argmax-stability", "cosine",      "entropy"};
  for (size_t token = 0; token < 3; ++token) {
    const float* states = numbers.data() + token * kToken;
    const float* logits = states + (kSteps + 1) * kDim;
    const float* expected = logits + kSteps * kVocab;
    RowMemory memory;
    StepScratch scratch;
    memory.start({states, kDim});
    for (size_t k = 1; k <= kSteps; ++k) {
      const StepRow row = next_row({.step = static_cast<int>(k),
                                    .state = {states + k * kDim, kDim},
                                    .logits = {logits + (k - 1) * kVocab, kVocab}},
                                   memory, scratch);
      for (size_t i = 0; i < kValues; ++i) {
        // 1e-5: what the reference itself loses in f32 (its entropy differs from f64 by 4e-6).
        EXPECT_NEAR(value(kNames[i], row), expected[(k - 1) * kValues + i], 1e-5)
            << kNames[i] << " token " << token << " step " << k;
      }
    }
  }
}

TEST(StepScalars, FirstCheckComparesWithTheStart) {
  const Walk walk(1, 6, 11, 3);
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  const StepRow row = next_row(walk.input(1), memory, scratch);
  EXPECT_EQ(row.prev.lag, 1);
  EXPECT_DOUBLE_EQ(row.prev.entropy_diff, 100 - row.entropy);
  EXPECT_EQ(row.argmax_run, 0);
  EXPECT_EQ(row.prev.accel_norm, kInf);
  EXPECT_EQ(row.prev.accel_rel, kInf);
  EXPECT_EQ(row.prev.contraction, kInf);
  EXPECT_NEAR(row.prev.delta_norm, walk.distance(1, 0), 1e-12);
  EXPECT_GT(row.prev.kl, 0);
}

TEST(StepScalars, StandingStillIsExactlyZero) {
  const Walk walk(2, 6, 11, 1);
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  next_row(walk.input(1), memory, scratch);
  for (int step = 2; step < 5; ++step) {
    StepInput again = walk.input(1);
    again.step = step;
    const StepRow row = next_row(again, memory, scratch);
    EXPECT_EQ(row.prev.kl, 0);
    EXPECT_EQ(row.prev.minp_kl, 0);
    EXPECT_EQ(row.prev.entropy_diff, 0);
    EXPECT_EQ(row.prev.latent_diff, 0);
    EXPECT_EQ(row.prev.contraction, 0);
    EXPECT_NEAR(value("cosine", row), 0, 1e-15);
    EXPECT_EQ(row.argmax_run, step - 1);
  }
}

// Every field against the definition, written out in double.
TEST(StepScalars, FieldsFollowTheirDefinitions) {
  const Walk walk(3, 37, 50, 8);
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  int run = 0;
  StepRow last;
  for (int k = 1; k <= 8; ++k) {
    const StepRow row = next_row(walk.input(k), memory, scratch);
    const double norm = walk.norm(k), moved = walk.distance(k, k - 1);
    EXPECT_NEAR(row.state_norm, norm, 1e-9);
    EXPECT_NEAR(row.prev.delta_norm, moved, 1e-9);
    EXPECT_NEAR(row.prev.latent_diff, moved / norm, 1e-9);
    EXPECT_NEAR(row.prev.deq_rel, moved / (norm + 1e-9), 1e-9);
    EXPECT_NEAR(row.prev.cos, walk.cosine(k, k - 1), 1e-12);
    EXPECT_NEAR(row.prev.kl, walk.kl(k - 1, k), 1e-6);
    EXPECT_NEAR(value("margin", row), row.p1 - row.p2, 0);
    EXPECT_NEAR(row.nll, -std::log(walk.probability(k)[5]), 1e-6);
    if (k > 1) {
      const double before = walk.distance(k - 1, k - 2), r = moved / before;
      EXPECT_NEAR(row.prev.accel_norm, walk.acceleration(k, 1), 1e-9);
      EXPECT_NEAR(row.prev.accel_rel, walk.acceleration(k, 1) / (norm + 1e-6), 1e-9);
      if (r < 1) {
        EXPECT_NEAR(row.prev.contraction, moved * r / (1 - r) / norm, 1e-9);
      } else {
        EXPECT_EQ(row.prev.contraction, kInf);
      }
      run = row.top1 == last.top1 ? run + 1 : 0;
    }
    EXPECT_EQ(row.argmax_run, run);
    last = row;
  }
}

TEST(StepScalars, SkippedStepsLeaveNoTrace) {
  const Walk walk(4, 16, 30, 12);
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  const StepRow first = next_row(walk.input(4), memory, scratch);  // min=3: against the start
  EXPECT_EQ(first.prev.lag, 4);
  EXPECT_NEAR(first.prev.delta_norm, walk.distance(4, 0), 1e-9);
  EXPECT_NEAR(first.prev.kl, walk.kl(0, 4), 1e-6);
  EXPECT_DOUBLE_EQ(first.prev.entropy_diff, 100 - first.entropy);
  const StepRow second = next_row(walk.input(7), memory, scratch);  // every=3: against step 4
  EXPECT_EQ(second.prev.lag, 3);
  EXPECT_NEAR(second.prev.delta_norm, walk.distance(7, 4), 1e-9);
  EXPECT_NEAR(second.prev.kl, walk.kl(4, 7), 1e-6);
  EXPECT_EQ(second.prev.accel_norm, kInf);  // the pair before spans another number of steps
  const StepRow third = next_row(walk.input(10), memory, scratch);
  EXPECT_NEAR(third.prev.accel_norm, walk.acceleration(10, 3), 1e-9);
}

TEST(StepScalars, MeasureOnlyWhatIsShown) {
  const Walk walk(5, 16, 30, 4);
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  for (int k = 1; k <= 2; ++k) {
    const StepRow row = next_row({.step = k, .state = walk.state(k)}, memory, scratch);
    EXPECT_TRUE(row.finite);
    EXPECT_GT(row.prev.latent_diff, 0);
    EXPECT_TRUE(std::isnan(row.entropy) && std::isnan(row.prev.kl) && std::isnan(row.gate));
    EXPECT_TRUE(std::isnan(value("argmax-stability", row)));
  }
  memory.start({});
  const StepRow row =
      next_row({.step = 1, .logits = walk.logits(1), .gate = 0.25}, memory, scratch);
  EXPECT_TRUE(std::isnan(row.prev.latent_diff) && std::isnan(row.prev.contraction));
  EXPECT_TRUE(std::isnan(row.nll));
  EXPECT_EQ(row.gate, 0.25);
  EXPECT_LT(memory.bytes(), 2000U);
}

TEST(StepScalars, NumbersThatAreNotFiniteAreReported) {
  const Walk walk(6, 8, 20, 2);
  std::vector<float> bad(8, 1.0F), bad_logits(20, 0.0F);
  bad[3] = std::nanf("");
  bad_logits[19] = std::numeric_limits<float>::infinity();
  RowMemory memory;
  StepScratch scratch;
  memory.start(walk.state(0));
  EXPECT_FALSE(next_row({.step = 1, .state = bad}, memory, scratch).finite);
  memory.start({});
  const StepRow row = next_row({.step = 1, .logits = bad_logits, .target = 3}, memory, scratch);
  EXPECT_FALSE(row.finite);
  EXPECT_TRUE(std::isnan(row.prev.kl));
  // The check after it compares with nothing sensible and says nothing.
  EXPECT_TRUE(std::isnan(next_row({.step = 2, .logits = walk.logits(1)}, memory, scratch).prev.kl));
}

// Rows start and finish at different times, on two threads, in reused slots.
TEST(StepRows, EachTokenIsIndependentOfTheOthers) {
  constexpr int kTokens = 12, kSteps = 6;
  std::vector<Walk> walks;
  for (int i = 0; i < kTokens; ++i) walks.emplace_back(100 + i, 24, 300, kSteps);
  std::vector<std::vector<StepRow>> alone(kTokens);
  for (int i = 0; i < kTokens; ++i)
    alone[static_cast<size_t>(i)] = walks[static_cast<size_t>(i)].rows();

  StepRows rows;
  std::vector<int> token_of(4, -1), step_of(4, 0), slot_of(4, -1);
  int next = 0, finished = 0;
  while (finished < kTokens) {
    for (size_t lane = 0; lane < 4; ++lane) {
      if (token_of[lane] >= 0 || next == kTokens) continue;
      token_of[lane] = next++;
      step_of[lane] = 0;
      slot_of[lane] = rows.start(walks[static_cast<size_t>(token_of[lane])].state(0));
    }
    std::vector<StepRow> out(4);
    const auto work = [&](size_t begin) {
      StepScratch scratch;
      for (size_t lane = begin; lane < begin + 2; ++lane) {
        if (token_of[lane] < 0) continue;
        const Walk& walk = walks[static_cast<size_t>(token_of[lane])];
        out[lane] = rows.observe(slot_of[lane], walk.input(++step_of[lane]), scratch);
      }
    };
    std::thread other(work, size_t{2});
    work(0);
    other.join();
    for (size_t lane = 0; lane < 4; ++lane) {
      if (token_of[lane] < 0) continue;
      const size_t token = static_cast<size_t>(token_of[lane]);
      expect_same(out[lane], alone[token][static_cast<size_t>(step_of[lane] - 1)]);
      // Different tokens leave after different numbers of steps.
      if (step_of[lane] < 1 + token_of[lane] % kSteps) continue;
      rows.finish(slot_of[lane]);
      token_of[lane] = -1;
      ++finished;
    }
  }
  EXPECT_EQ(rows.active(), 0);
}

TEST(StepRows, BatchEqualsOneByOne) {
  constexpr size_t kTokens = 5;
  StepRows rows;
  StepScratch scratch;
  std::vector<Walk> walks;
  std::vector<int> slots;
  Mat<float> states(kTokens, 24), logits(kTokens, 70);
  for (size_t i = 0; i < kTokens; ++i) {
    walks.emplace_back(7 + i, 24, 70, 1);
    slots.push_back(rows.start(walks[i].state(0)));
    std::copy_n(walks[i].state(1).data(), 24, states.row(i));
    std::copy_n(walks[i].logits(1).data(), 70, logits.row(i));
  }
  const std::vector<int32_t> targets(kTokens, 5);
  std::vector<StepRow> out(kTokens);
  rows.observe(slots, 1, states, logits, {}, targets, scratch, out);
  for (size_t i = 0; i < kTokens; ++i) expect_same(out[i], walks[i].rows()[0]);
}

TEST(StepScalars, PromptIsJudgedByMeanRatiosAndTheLastLogits) {
  std::vector<StepRow> rows;
  for (int i = 0; i < 5; ++i) rows.push_back(Walk(20 + i, 24, 70, 3).rows()[2]);
  const StepRow all = reduce_over_positions(rows);
  double ratio = 0, cos = 0;
  for (const StepRow& row : rows) {
    ratio += row.prev.delta_norm / row.state_norm / 5;
    cos += row.prev.cos / 5;
  }
  EXPECT_NEAR(all.prev.latent_diff, ratio, 1e-12);
  EXPECT_NEAR(value("cosine", all), 1 - cos, 1e-12);
  EXPECT_EQ(all.prev.kl, rows.back().prev.kl);
  EXPECT_EQ(all.top1, rows.back().top1);
  EXPECT_EQ(all.argmax_run, rows.back().argmax_run);
}

TEST(StepScalars, HindsightFindsBestAndSettledSteps) {
  std::vector<StepRow> rows(5);
  const int top1[] = {4, 2, 3, 2, 2};
  const double nll[] = {3.0, 1.0, 0.5, 0.5, 0.75};
  for (size_t i = 0; i < 5; ++i) rows[i].top1 = top1[i], rows[i].nll = nll[i];
  fill_hindsight(rows);
  const double regret[] = {2.5, 0.5, 0, 0, 0.25}, settled[] = {0, 0, 0, 1, 1};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(rows[i].ce_regret, regret[i]);
    EXPECT_EQ(rows[i].settled, settled[i]);
  }
}

}  // namespace
}  // namespace plumb
