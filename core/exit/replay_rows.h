// Rules on recorded trajectories: what a live run would have seen and done, without a model.
//
// A recording has a row for every step, compared with the step before. A rule that skips steps
// (min, every) compares with its own last check instead: those rows are rebuilt here from the
// comparisons recorded at other lags (RowHistory), or the rule is refused by name.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/mat.h"
#include "core/base/result.h"
#include "core/exit/row_history.h"
#include "core/exit/rule.h"

namespace plumb {

// One token's recording. Views; the owner outlives them.
struct Trajectory {
  std::span<const StepRow> rows;       // [n_steps] steps 1..n_steps, primary fields filled
  std::span<const int> lags;           // recorded besides lag 1; kStartLag = against the start
  std::span<const Comparison> lagged;  // [n_steps * lags.size()] row by row
};

// Fills the derived fields of a recording that was read back (entropy_diff, latent_diff,
// contraction, argmax_run, ...) exactly as the producer did. Steps 1..n in order.
void derive_rows(std::span<StepRow> rows);

// Can `rule` be replayed on recordings with these lags? The error names rule and missing lag.
Status replayable(const Rule& rule, std::span<const int> lags);

enum class ExitReason : uint8_t {
  kRule,   // the rule fired
  kLimit,  // the rule's max, or the end of the recording
};

struct Exit {
  int step = 0;  // the step whose readout counts
  ExitReason reason = ExitReason::kLimit;
};

// The rows of the rule's check steps, as the live producer would have made them, up to its depth
// limit. A recorded token counts as a decode forward (phase).
// REQUIRES replayable(rule, trajectory.lags), rows derived.
std::vector<StepRow> rows_at_checks(const Rule& rule, const Trajectory& trajectory);

// Where the token stops. `forward` is its place in the sequence for depth patterns. Same
// requirements. No steps recorded: step 0.
Exit find_exit(const Rule& rule, const Trajectory& trajectory, int forward);

// Thousands of thresholds on one scalar, in one pass: exits(i, t) is the first step k with
// `values(t, k - 1) comparator thresholds[i]`, 0 when none. values [n_tokens, n_steps] of a
// scalar's value, NaN never fires. Equals find_exit() for rules of one comparison without
// modifiers. exits [n_thresholds, n_tokens].
void first_crossings(MatView<const double> values, Comparator comparator,
                     std::span<const double> thresholds, MatView<int32_t> exits);

}  // namespace plumb
