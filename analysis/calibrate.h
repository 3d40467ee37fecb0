// A threshold with a promise: the risk of leaving early is at most delta, with probability at least
// 1 - epsilon over the draw of the calibration data.
//
// Learn-then-Test with fixed-sequence testing (Angelopoulos et al. 2021, as used by CALM, Schuster
// et al. 2022): thresholds are tried from the safest to the boldest; for each, the null hypothesis
// "its risk is above delta" is tested at level epsilon; the last one before the first that cannot
// be rejected is returned.
//
// Unit. Tokens of a window are dependent, so by default the independent unit is the WINDOW: its
// loss is the mean over its tokens, and n is the number of windows. That is conservative: the
// bound gets no credit for averaging inside a window. Counting tokens (kToken) makes n much larger
// and the promise holds only as far as tokens are independent.
//
// The promise is about windows like those of the recording, at teacher-forced full-depth caches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/recording.h"
#include "analysis/rule_grid.h"

namespace plumb {

enum class RiskKind : uint8_t {
  // min(max(nll at the exit - nll at full depth, 0), bound), nats: a gain never pays for a loss.
  kExcessNll,
  kFalseExit,  // 1 when the argmax at the exit is not the one of full depth
};
enum class RiskUnit : uint8_t { kWindow, kToken };

// P-values of "the mean risk is above delta" from n independent losses in [0, 1] whose mean is
// `risk`: exp(-2 n (delta - risk)^2), 1 when risk >= delta.
double hoeffding_p(double risk, double delta, double n);
// The smaller of Hoeffding's relative-entropy bound and Bentkus' binomial one (Bates et al. 2021,
// equations 9 and 10); never above 1.
double hoeffding_bentkus_p(double risk, double delta, double n);

struct CalibrationOptions {
  double delta = 0.01, epsilon = 0.05;
  RiskKind risk = RiskKind::kExcessNll;
  RiskUnit unit = RiskUnit::kWindow;
  double bound = 1;    // nats; of kExcessNll alone
  double split = 0.5;  // share of the units that calibrates; the rest is held out
  uint64_t seed = 0;   // of the split
};

// One side of the split under one threshold.
struct RiskEstimate {
  int64_t n = 0;       // units
  int64_t tokens = 0;
  double risk = 0;      // mean over units; nats or a share
  double clipped = 0;   // share of tokens whose excess was cut at the bound
  double mean_steps = 0, no_exit = 0;  // no_exit: share of tokens
  double nats = 0, full_nats = 0;      // a token, at the exits and at full depth
};

struct ThresholdTest {
  Rule rule;
  double p_hoeffding = 1, p_value = 1;  // p_value: Hoeffding-Bentkus, which decides
  bool accepted = false;
  RiskEstimate calibration, held_out;
};

struct Calibration {
  std::vector<ThresholdTest> tests;  // safest first; all thresholds, also those after the stop
  int chosen = -1;                   // index of the certified rule, -1: none
  int64_t units = 0, calibration_units = 0;
  // Units that it takes to certify anything at this delta and epsilon, even without any loss.
  int64_t least_units = 0;
};

// Loss and depth of every unit under every threshold; what calibration works on. Exposed for
// simulations.
struct UnitLoss {
  double loss = 0;  // mean over the unit's tokens, in [0, 1]
  int64_t tokens = 0, steps = 0, no_exit = 0, clipped = 0;
  double nll_sum = 0, full_nll_sum = 0;
};

// units[i][t]: unit i under threshold t, thresholds safest first. `scale` turns a loss in [0, 1]
// into the risk's unit (the bound); delta is in that unit.
Calibration calibrate_units(const std::vector<std::vector<UnitLoss>>& units, double scale,
                            const CalibrationOptions& options);

// `rule` has one threshold; `thresholds` are tried instead of it, in any order. Errors: a rule of
// another form, options out of range, fewer than two units, what replay misses.
Result<Calibration> calibrate(std::span<const Recording> recordings, const Rule& rule,
                              std::span<const double> thresholds,
                              const CalibrationOptions& options);

}  // namespace plumb
