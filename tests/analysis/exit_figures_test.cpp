// Figures of exit steps from a made-up recording whose exits are known beforehand.
#include "analysis/figures/all_figures.h"
#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

constexpr int kSteps = 4, kTokens = 40;

// kl falls below 0.5 at step 1 + pos % 3; the loss grows with pos.
StepRecord leaving(int64_t pos, int32_t step) {
  StepRecord row = converging(pos, step);
  row.kl_prev = step >= 1 + pos % 3 ? 0.25F : 1.0F;
  row.top1_id = 1, row.p1 = 0.5F, row.p2 = 0.25F;
  row.nll = static_cast<float>(pos) / 10, row.target_rank = 0, row.kl_final = 0.1F;
  return row;
}

class ExitFigures : public AnalysisTest {
 protected:
  void record(std::vector<PonderRow> ponder) {
    MadeUpSweep sweep(file("out.db"));
    sweep.record(made_up_setting(), kSteps, kTokens, leaving, 1, std::move(ponder));
  }
  // A quarter of the tokens stops after each number of steps, 1 to 4.
  static std::vector<PonderRow> halting() {
    std::vector<PonderRow> rows;
    for (int64_t pos = 0; pos < kTokens; ++pos)
      rows.push_back({.pos = pos, .n_steps = static_cast<int32_t>(1 + pos / 10)});
    return rows;
  }
  Blocks draw(const std::string& figure) {
    must(draw_figure(file("out.db"), figure, {.rules = "kl<0.5"}, {file("figure.svg")}));
    return parse_dat(slurp(file("figure.dat")));
  }
};

double percent_at(const std::vector<std::vector<double>>& block, int step) {
  return block.at(static_cast<size_t>(step) - 1).at(1);
}

TEST_F(ExitFigures, HistogramCountsTokensByExitStep) {
  record({});
  const Blocks blocks = draw("exit-histogram");
  ASSERT_EQ(blocks.size(), 1u);
  EXPECT_NEAR(percent_at(blocks[0], 1), 100.0 * 14 / kTokens, 1e-9);
  EXPECT_NEAR(percent_at(blocks[0], 2), 100.0 * 13 / kTokens, 1e-9);
  EXPECT_NEAR(percent_at(blocks[0], 3), 100.0 * 13 / kTokens, 1e-9);
  EXPECT_EQ(percent_at(blocks[0], 4), 0);
}

TEST_F(ExitFigures, HistogramBeginsWithTheModelsOwnHalting) {
  record(halting());
  const Blocks blocks = draw("exit-histogram");
  ASSERT_EQ(blocks.size(), 2u);
  for (int step = 1; step <= kSteps; ++step) EXPECT_NEAR(percent_at(blocks[0], step), 25, 1e-9);
  EXPECT_EQ(blocks[0].back()[1], 0) << "it always stops";
  EXPECT_NEAR(percent_at(blocks[1], 1), 100.0 * 14 / kTokens, 1e-9);
  const std::string script = slurp(file("figure.gp"));
  EXPECT_NE(script.find("own halting"), std::string::npos);
  EXPECT_NE(script.find("mean 2.5 steps"), std::string::npos);
}

TEST_F(ExitFigures, OwnHaltingIsTheLastCurveAgainstSurprisal) {
  record(halting());
  const Blocks blocks = draw("exit-surprisal");
  const auto& bins = blocks.at(0);  // by surprisal, which grows with pos as own halting does
  ASSERT_GE(bins.size(), 4u);
  ASSERT_EQ(bins[0].size(), 6u) << "x, tokens, and two numbers for each of two curves";
  EXPECT_EQ(bins.front()[4], 1);
  EXPECT_EQ(bins.back()[4], 4);
}

TEST_F(ExitFigures, HaltingThatTheRecordingCannotHoldIsNamed) {
  std::vector<PonderRow> rows = halting();
  rows[7].n_steps = kSteps + 1;
  record(std::move(rows));
  const auto result = draw_figure(file("out.db"), "exit-histogram", {}, {file("figure.svg")});
  EXPECT_NE(error_of(result).find("pos 7 of trajectory 1 has n_steps 5, expected 1 to 4"),
            std::string::npos)
      << error_of(result);
}

}  // namespace
}  // namespace plumb
