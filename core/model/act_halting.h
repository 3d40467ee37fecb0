// The halting arithmetic of adaptive computation time (act.md section 5), and where a state row
// keeps it:
//
//   [ s model_dim | y model_dim | kHaltingColumns ]
//     state         output so far
#pragma once

#include <span>

#include "core/model/act_config.h"
#include "core/model/recurrent_model.h"

namespace plumb {

struct ActHaltState {
  double cumulative = 0;  // c: sum of p over the steps that did not stop
  int steps = 0;          // N
  double remainder = 0;   // R
  bool running = true;
};

// One step of a token that is running, with halting probability p; returns the step's weight in the
// output.
double halt_step(const ActConfig& config, double p, ActHaltState& state);

// What a step did to one row.
struct ActStepRow {
  std::span<const float> z;  // output of the block
  double p = 0;              // of the halting head; unused without one
  int step = 0;              // from 0
  bool own_halting = false;  // else the row runs to whatever depth is asked
};

// A state row before the first step.
void start_row(std::span<const float> injected, std::span<float> row);
bool is_running(size_t model_dim, std::span<const float> row);
// Moves one row on by a step. A halted row ignores `z` unless the config lets it run on.
void advance_row(const ActConfig& config, const ActStepRow& step, std::span<float> row);
// What the head reads: y; of a token still running, y if it were to stop here.
void output_of_row(const ActConfig& config, std::span<const float> row, std::span<float> output);

}  // namespace plumb
