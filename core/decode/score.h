// Teacher-forced scoring of one window of text at many depths in one pass.
//
// Inputs x_0 .. x_(n-1) predict targets x_1 .. x_n. Without step records every listed depth is read
// out as the recurrence passes it. With them the core runs to the end first, the states are kept,
// and the final distribution is read first, so that KL(p_R || p_k) needs no second pass.
#pragma once

#include <span>
#include <vector>

#include "core/decode/halting_trace.h"
#include "core/decode/think.h"
#include "core/exit/row_history.h"

namespace plumb {

// A stretch of a token list that is run at once, and the part of it that counts.
struct ScoreWindow {
  size_t first_token = 0;   // of the inputs, in the text
  size_t n_inputs = 0;
  size_t first_scored = 0;  // inputs from here on have their target scored
};

// Windows of `window` inputs, each beginning `stride` after the last; a target is scored once, with
// the most context. REQUIRES n_tokens >= 2, 1 <= stride <= window.
std::vector<ScoreWindow> plan_windows(size_t n_tokens, size_t window, size_t stride);

struct LatentSelection {
  bool wanted = false;
  std::vector<int> positions;  // absolute token positions; empty: all
  std::vector<int> steps;      // 0..R; empty: all
  bool half = true;            // stored as f16, else f32
};

struct ScoreRequest {
  std::vector<int> depths;     // ascending, distinct
  bool record_steps = false;   // every scalar at every step 1..max depth
  bool own_halting = false;    // the model decides where each token stops; depths is its largest
  std::vector<int> lags;       // further comparisons (core/exit/row_history.h)
  bool bf16_logits = false;    // logits are rounded to bf16 before anything is read off them
  LatentSelection latents;
};

struct LatentSample {
  size_t input = 0;  // index of the position in the window
  int step = 0;
  std::vector<float> state;
};

struct StageTime {
  const char* stage;
  double elapsed_ms = 0;
  int64_t calls = 0;
};

struct WindowScore {
  std::vector<std::vector<double>> nll;           // [depth][scored], nats
  std::vector<std::vector<StepRow>> steps;        // [scored][step - 1]; empty unless recorded
  std::vector<std::vector<Comparison>> lagged;    // [scored][(step - 1) * n_lags + lag]
  std::vector<LatentSample> latents;
  std::vector<HaltingTrace> halting;              // [scored]; own halting with recorded steps, else empty
  std::vector<int> halted_at;                     // [scored] steps of the model's own halting; else empty
  std::vector<StageTime> timings;                 // prelude, core, readout, scalars
};

// `tokens`: the window's inputs and the target of the last one, n_inputs + 1 ids.
// With a cache the inputs follow what it holds, and join it. An error when logits or states are not
// finite: the sentence names depth and position.
Result<WindowScore> score_window(DepthPass& pass, const StateSource& states, Team& team,
                                 std::span<const int32_t> tokens, const ScoreWindow& window,
                                 const ScoreRequest& request, SequenceCache* cache = nullptr);

}  // namespace plumb
