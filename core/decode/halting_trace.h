// What a model that halts by itself did with one token, step by step.
#pragma once

#include <span>
#include <vector>

#include "core/model/recurrent_model.h"

namespace plumb {

struct HaltingTrace {
  struct Step {
    float p = 0, cumulative = 0, weight = 0;  // as HaltingColumn defines them
  };
  std::vector<Step> steps;
  int n_steps = 0;      // N
  float remainder = 0;  // R; the ponder cost is N + R

  // The step that left this state row. REQUIRES info.halting_column >= 0.
  void add(const ModelInfo& info, std::span<const float> state) {
    const auto cell = [&](HaltingColumn which) {
      return state[static_cast<size_t>(info.halting_column) + static_cast<size_t>(which)];
    };
    steps.push_back({cell(HaltingColumn::kProbability), cell(HaltingColumn::kCumulative),
                     cell(HaltingColumn::kWeight)});
    n_steps = static_cast<int>(cell(HaltingColumn::kSteps));
    remainder = cell(HaltingColumn::kRemainder);
  }
};

}  // namespace plumb
