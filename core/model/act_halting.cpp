#include "core/model/act_halting.h"

#include <algorithm>

namespace plumb {
namespace {

// The cells behind s and y of a row.
class Cells {
 public:
  Cells(size_t model_dim, std::span<float> row) : cells_(row.subspan(2 * model_dim, kHaltingColumns)) {}
  float& operator[](HaltingColumn column) const { return cells_[static_cast<size_t>(column)]; }

 private:
  std::span<float> cells_;
};

void combine(const ActConfig& config, float w, std::span<const float> z, std::span<float> y) {
  const float kept = config.lerp ? 1.0F - w : 1.0F;
  for (size_t c = 0; c < y.size(); ++c) y[c] = w * z[c] + kept * y[c];
}

}  // namespace

double halt_step(const ActConfig& config, double p, ActHaltState& state) {
  PLUMB_CHECK(state.running);
  ++state.steps;
  const bool last = state.steps == config.max_steps;
  if (config.halting == ActHalting::kThreshold) {
    state.running = !last && !(p > config.threshold);
    return state.running ? 0 : 1;
  }
  const bool reached = state.cumulative + p >= 1 - config.epsilon;
  if (!reached && !last) {
    state.cumulative += p;
    return p;
  }
  state.running = false;
  if (!reached && config.leave_remainder) return p;
  state.remainder = 1 - state.cumulative;
  return state.remainder;
}

void start_row(std::span<const float> injected, std::span<float> row) {
  std::fill(row.begin(), row.end(), 0.0F);
  std::copy(injected.begin(), injected.end(), row.begin());
  Cells(injected.size(), row)[HaltingColumn::kRunning] = 1;
}

bool is_running(size_t model_dim, std::span<const float> row) {
  return row[2 * model_dim + static_cast<size_t>(HaltingColumn::kRunning)] != 0;
}

void advance_row(const ActConfig& config, const ActStepRow& step, std::span<float> row) {
  const auto d = static_cast<size_t>(config.model_dim);
  const auto s = row.first(d), y = row.subspan(d, d);
  const Cells cells(d, row);
  const auto p = static_cast<float>(step.p);
  float& gate = cells[HaltingColumn::kGate];
  const float next_gate = config.halting == ActHalting::kAct ? std::min(1.0F, gate + p) : p;
  if (!step.own_halting) {
    std::copy(step.z.begin(), step.z.end(), s.begin());
    std::copy(step.z.begin(), step.z.end(), y.begin());
    cells[HaltingColumn::kProbability] = cells[HaltingColumn::kCumulative] = cells[HaltingColumn::kRemainder] = 0;
    cells[HaltingColumn::kWeight] = 1;
    cells[HaltingColumn::kSteps] = static_cast<float>(step.step + 1);
    cells[HaltingColumn::kRunning] = 0;
    gate = next_gate;
    return;
  }
  float& running = cells[HaltingColumn::kRunning];
  if (running == 0) {
    cells[HaltingColumn::kProbability] = cells[HaltingColumn::kCumulative] = -1;
    cells[HaltingColumn::kWeight] = 0;
    if (config.run_halted) std::copy(step.z.begin(), step.z.end(), s.begin());
    return;
  }
  ActHaltState halting{cells[HaltingColumn::kCumulative], step.step, 0, true};
  const auto w = static_cast<float>(halt_step(config, step.p, halting));
  combine(config, w, step.z, y);
  std::copy(step.z.begin(), step.z.end(), s.begin());
  cells[HaltingColumn::kProbability] = p;
  cells[HaltingColumn::kCumulative] = static_cast<float>(halting.cumulative);
  cells[HaltingColumn::kWeight] = w;
  cells[HaltingColumn::kSteps] = static_cast<float>(halting.steps);
  cells[HaltingColumn::kRemainder] = static_cast<float>(halting.remainder);
  running = halting.running ? 1.0F : 0.0F;
  gate = next_gate;
}

void output_of_row(const ActConfig& config, std::span<const float> row, std::span<float> output) {
  const auto d = static_cast<size_t>(config.model_dim);
  const auto s = row.first(d), y = row.subspan(d, d);
  std::copy(y.begin(), y.end(), output.begin());
  if (!is_running(d, row)) return;
  const float left = 1 - row[2 * d + static_cast<size_t>(HaltingColumn::kCumulative)];
  combine(config, left, s, output);
}

}  // namespace plumb
