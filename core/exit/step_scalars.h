// The one producer of the scalar row of a (token, step). Live exits, recording and replay all read
// this row, so they agree by construction.
//
//   RowMemory memory;                       // one a token in flight; independent of all others
//   memory.start(s_0);
//   for (step = 1; ...; ++step) {
//     ... s_step, and the coda's logits if the rule asks for them ...
//     if (rule.is_check_step(step, prefill)) {
//       StepRow row = next_row({.step = step, .state = s, .logits = logits}, memory, scratch);
//       if (rule.check(row, rule_state)) break;
//     }
//   }
//
// A row compares this CHECKED step with the last CHECKED step: a step that is not checked must not
// be shown to the memory. The first check compares with the start: s_0, the uniform distribution,
// entropy 100 and argmax -1 (the public reference's values, which forbid an entropy-diff or
// argmax exit at the first check while latent criteria may fire there).
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <span>
#include <vector>

#include "core/base/mat.h"
#include "core/kernels/distribution.h"

namespace plumb {

inline constexpr double kUnmeasured = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kStartEntropy = 100.0;

// What a scalar is made from, as bit flags. A rule that lacks kLogits never needs the coda.
enum class Inputs : uint8_t { kNone = 0, kState = 1, kLogits = 2, kGate = 4, kHindsight = 8 };
constexpr Inputs operator|(Inputs a, Inputs b) {
  return static_cast<Inputs>(static_cast<uint8_t>(a) | static_cast<uint8_t>(b));
}
constexpr bool needs(Inputs set, Inputs one) {
  return (static_cast<uint8_t>(set) & static_cast<uint8_t>(one)) != 0;
}

// One step against an earlier one, `lag` steps before. s = state now, D = s - (state then).
// Fields whose input was absent are kUnmeasured (NaN), which no rule ever fires on.
struct Comparison {
  int lag = 0;  // steps between the two: step - lag is the earlier step
  // Primary: these are recorded.
  double delta_norm = kUnmeasured;  // |D|
  // |D - D'|, D' the earlier pair's. +infinity while no earlier pair with the same lag exists.
  double accel_norm = kUnmeasured;
  double cos = kUnmeasured;      // cos(s, state then); NaN against a zero state, as upstream
  double kl = kUnmeasured;       // KL(p_then || p_now), nats
  double minp_kl = kUnmeasured;  // the same, min-p masked (core/kernels/distribution.h)
  // Derived from the primary ones of this row and the previous: see derive().
  double entropy_diff = kUnmeasured;  // |H_now - H_then|
  double latent_diff = kUnmeasured;   // |D| / |s|
  double accel_rel = kUnmeasured;     // |D - D'| / (|s| + 1e-6)
  // Forecast of the way still to go, as a share of |s|: with r = |D| / |D'|, |D| r / (1 - r) / |s|.
  // +infinity when r >= 1 (not contracting) or D' does not exist.
  double contraction = kUnmeasured;
  double deq_rel = kUnmeasured;  // |D| / (|s| + 1e-9); the absolute residual is delta_norm
};

// The row. Vectors are per position; a reduced row stands for a whole prompt.
struct StepRow {
  int step = 0;        // recurrences run, from 1
  bool finite = true;  // false: the state or logits held NaN or infinity; the caller must say so
  // Of the state s_k.
  double state_norm = kUnmeasured;
  // Of the coda's logits.
  double entropy = kUnmeasured;  // nats
  int32_t top1 = -1;
  double p1 = kUnmeasured, p2 = kUnmeasured;
  int argmax_run = -1;  // consecutive checks whose argmax equals the one before; -1 unmeasured
  // The model's own cumulative halting probability; NaN when it has none.
  double gate = kUnmeasured;
  Comparison prev;  // against the last checked step, or the start
  // Needs the true next token, or the whole trajectory: analysis only.
  double nll = kUnmeasured;        // -ln p(target), nats
  int32_t target_rank = -1;        // 1-based
  double kl_final = kUnmeasured;   // KL(p_R || p_k), filled in by the recorder
  double ce_regret = kUnmeasured;  // nll_k - min_j nll_j        (fill_hindsight)
  double settled = kUnmeasured;    // 1 when top1 stays the same from here to R, else 0 (same)
};

// Fills the derived fields of `comparison` from its primary ones.
// `delta_norm_before` is |D'|, NaN where no earlier pair with the same lag exists;
// `entropy_then` is kStartEntropy at the start.
void derive(Comparison& comparison, double state_norm, double entropy_now, double entropy_then,
            double delta_norm_before);

// The primary state fields of `out`; returns |now|. `before` empty: no earlier pair with this lag.
double compare_states(std::span<const float> now, std::span<const float> then,
                      std::span<const float> before, Comparison& out);
// The primary fields made of two distributions. Leaves them unmeasured when either is not finite.
void compare_snapshots(DistributionView now, DistributionView then, Comparison& out);

struct StepInput {
  int step = 0;                   // from 1, larger than the last one shown to this memory
  std::span<const float> state;   // [model_dim] s_k, raw core output; empty: not measured
  std::span<const float> logits;  // [vocab_size]; empty: not measured
  double gate = kUnmeasured;
  int32_t target = -1;  // true next token; -1: nll and rank not measured
};

// Scratch for one thread. Grows to one logits row.
struct StepScratch {
  std::vector<float> shifted;
};

// A distribution kept for later comparison. Empty: uniform.
struct Snapshot {
  std::vector<float> shifted;
  double log_z = 0, kept_sum = 0;
  int32_t kept_count = 0;

  DistributionView view() const { return {shifted, log_z, kept_sum, kept_count}; }
};

// What one token remembers between checks. States and logits are kept only if shown:
// 8 * model_dim + 4 * vocab_size bytes at most. Not shared between threads; different memories may
// be used by different threads at the same time.
class RowMemory {
 public:
  // Forgets everything. `start_state` may be empty when no state will be shown.
  void start(std::span<const float> start_state);
  size_t bytes() const;

  // What was shown at the last check; nothing before the first.
  std::span<const float> last_state() const { return state_; }
  const Snapshot& last_distribution() const { return last_; }

 private:
  friend StepRow next_row(const StepInput& input, RowMemory& memory, StepScratch& scratch);

  int step_ = 0;                       // the last checked step
  int lag_ = 0;                        // its distance to the check before it; 0 at the start
  std::vector<float> state_, before_;  // states of the last check and the one before
  double delta_norm_ = kUnmeasured;    // |D| of the last check
  Snapshot last_;                      // distribution of the last check
  double entropy_ = kStartEntropy;
  int32_t top1_ = -1;
  int argmax_run_ = 0;
};

// Measures one check and remembers it. REQUIRES memory.start() was called, input.step larger than
// the last, and the same inputs present (sizes too) at every check of one token.
StepRow next_row(const StepInput& input, RowMemory& memory, StepScratch& scratch);

// Many tokens at once, each started and finished on its own (continuous depth-wise batching).
//   const int slot = rows.start(s_0);   ...   rows.observe(slot, input, scratch); rows.finish(slot)
// observe() of different slots may run on different threads; start() and finish() may not run
// beside anything. Finished slots keep their buffers and are handed out again, lowest first.
class StepRows {
 public:
  int start(std::span<const float> start_state);
  StepRow observe(int slot, const StepInput& input, StepScratch& scratch);
  void finish(int slot);
  int active() const { return active_; }
  size_t bytes() const;

  // All of `slots` at `step`: states [n, model_dim], logits [n, vocab_size]; either may be empty.
  // `gates` and `targets` [n] or empty. out [n].
  void observe(std::span<const int> slots, int step, ConstMat states, ConstMat logits,
               std::span<const double> gates, std::span<const int32_t> targets,
               StepScratch& scratch, std::span<StepRow> out);

 private:
  std::deque<RowMemory> memories_;  // a deque: growing never moves a memory in use
  std::vector<bool> used_;
  int active_ = 0;
};

// The row a prompt is judged by: everything from the logits (and the gate) of the last position;
// the state scalars (latent-diff, cos, norms, ...) as means over ALL positions of the call, each
// the mean of the per-position ratio. Positions other than the last need no logits.
// REQUIRES rows not empty and all of one step.
StepRow reduce_over_positions(std::span<const StepRow> rows);

// Fills ce_regret and settled of one token's whole trajectory (steps in order, last = full depth).
void fill_hindsight(std::span<StepRow> rows);

}  // namespace plumb
