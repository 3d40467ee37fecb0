#include "core/exit/step_scalars.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"
#include "core/kernels/displacement.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Fields of this step alone. Returns the distribution; its shifted row is scratch.shifted.
Distribution measure_step(const StepInput& input, StepScratch& scratch, StepRow& row) {
  row.step = input.step;
  row.gate = input.gate;
  if (input.logits.empty()) return {};
  scratch.shifted.resize(input.logits.size());
  const Distribution now = read_distribution(input.logits, scratch.shifted);
  row.finite = now.finite;
  row.entropy = now.entropy;
  row.top1 = now.top1;
  row.p1 = now.p1;
  row.p2 = now.p2;
  if (input.target >= 0 && now.finite) {
    PLUMB_CHECK(static_cast<size_t>(input.target) < input.logits.size());
    // From the raw logit: nothing is rounded to f32 on the way.
    row.nll = now.log_z + now.max_logit - input.logits[static_cast<size_t>(input.target)];
    row.target_rank = rank_in_row(scratch.shifted, input.target);
  }
  return now;
}

DistributionView view_of(const Distribution& now, const StepScratch& scratch) {
  return {scratch.shifted, now.log_z, now.kept_sum, now.kept_count};
}

// Takes the row out of the scratch, which gets the old buffer: no copy.
void keep(const Distribution& now, StepScratch& scratch, Snapshot& out) {
  out.shifted.swap(scratch.shifted);
  out.log_z = now.log_z;
  out.kept_sum = now.kept_sum;
  out.kept_count = now.kept_count;
}

}  // namespace

double compare_states(std::span<const float> now, std::span<const float> then,
                      std::span<const float> before, Comparison& out) {
  const Displacement moved = measure_displacement(now, then, before);
  const double state_norm = std::sqrt(moved.now_sq);
  out.delta_norm = std::sqrt(moved.delta_sq);
  out.accel_norm = before.empty() ? kInfinity : std::sqrt(moved.accel_sq);
  out.cos = moved.dot / (state_norm * std::sqrt(moved.then_sq));
  return state_norm;
}

void compare_snapshots(DistributionView now, DistributionView then, Comparison& out) {
  if (std::isnan(now.log_z) || std::isnan(then.log_z)) return;
  const Divergence divergence = compare_distributions(then, now);
  out.kl = divergence.kl;
  out.minp_kl = divergence.minp_kl;
}

void derive(Comparison& comparison, double state_norm, double entropy_now, double entropy_then,
            double delta_norm_before) {
  const double moved = comparison.delta_norm;
  comparison.entropy_diff = std::abs(entropy_now - entropy_then);
  comparison.latent_diff = moved / state_norm;
  comparison.accel_rel = comparison.accel_norm / (state_norm + 1e-6);
  comparison.deq_rel = moved / (state_norm + 1e-9);
  if (std::isnan(moved)) {
    comparison.contraction = kUnmeasured;
  } else if (moved == 0 && !std::isnan(delta_norm_before)) {
    comparison.contraction = 0;  // it stands still: nothing is left to go
  } else if (moved < delta_norm_before) {
    const double rate = moved / delta_norm_before;
    comparison.contraction = moved * rate / (1 - rate) / state_norm;
  } else {
    comparison.contraction = kInfinity;
  }
}

void RowMemory::start(std::span<const float> start_state) {
  step_ = lag_ = 0;
  state_.assign(start_state.begin(), start_state.end());
  before_.clear();
  delta_norm_ = kUnmeasured;
  last_.shifted.clear();
  last_.log_z = 0;
  entropy_ = kStartEntropy;
  top1_ = -1;
  argmax_run_ = 0;
}

size_t RowMemory::bytes() const {
  return sizeof(float) * (state_.capacity() + before_.capacity() + last_.shifted.capacity());
}

StepRow next_row(const StepInput& input, RowMemory& memory, StepScratch& scratch) {
  PLUMB_CHECK(input.step > memory.step_);
  StepRow row;
  const Distribution now = measure_step(input, scratch, row);
  row.prev.lag = input.step - memory.step_;
  const bool same_lag = row.prev.lag == memory.lag_;
  if (!input.state.empty()) {
    const std::span<const float> before =
        same_lag ? std::span<const float>(memory.before_) : std::span<const float>();
    row.state_norm = compare_states(input.state, memory.state_, before, row.prev);
    row.finite = row.finite && std::isfinite(row.state_norm);
  }
  if (!input.logits.empty()) {
    compare_snapshots(view_of(now, scratch), memory.last_.view(), row.prev);
    row.argmax_run = memory.argmax_run_ = row.top1 == memory.top1_ ? memory.argmax_run_ + 1 : 0;
  }
  derive(row.prev, row.state_norm, row.entropy, memory.entropy_,
         same_lag ? memory.delta_norm_ : kUnmeasured);

  if (!input.state.empty()) {
    memory.before_.swap(memory.state_);
    memory.state_.assign(input.state.begin(), input.state.end());
  }
  if (!input.logits.empty()) keep(now, scratch, memory.last_);
  memory.step_ = input.step;
  memory.lag_ = row.prev.lag;
  memory.delta_norm_ = row.prev.delta_norm;
  memory.entropy_ = row.entropy;
  memory.top1_ = row.top1;
  return row;
}

int StepRows::start(std::span<const float> start_state) {
  const auto free = std::find(used_.begin(), used_.end(), false);
  const size_t slot = static_cast<size_t>(free - used_.begin());
  if (free == used_.end()) {
    used_.push_back(true);
    memories_.emplace_back();
  }
  used_[slot] = true;
  ++active_;
  memories_[slot].start(start_state);
  return static_cast<int>(slot);
}

StepRow StepRows::observe(int slot, const StepInput& input, StepScratch& scratch) {
  const size_t index = static_cast<size_t>(slot);
  PLUMB_CHECK(slot >= 0 && index < memories_.size() && used_[index]);
  return next_row(input, memories_[index], scratch);
}

void StepRows::finish(int slot) {
  const size_t index = static_cast<size_t>(slot);
  PLUMB_CHECK(slot >= 0 && index < used_.size() && used_[index]);
  used_[index] = false;
  --active_;
}

size_t StepRows::bytes() const {
  size_t total = 0;
  for (const RowMemory& memory : memories_) total += memory.bytes();
  return total;
}

void StepRows::observe(std::span<const int> slots, int step, ConstMat states, ConstMat logits,
                       std::span<const double> gates, std::span<const int32_t> targets,
                       StepScratch& scratch, std::span<StepRow> out) {
  const size_t n = slots.size();
  PLUMB_CHECK(out.size() == n);
  PLUMB_CHECK(states.empty() || states.rows() == n);
  PLUMB_CHECK(logits.empty() || logits.rows() == n);
  PLUMB_CHECK(gates.empty() || gates.size() == n);
  PLUMB_CHECK(targets.empty() || targets.size() == n);
  for (size_t i = 0; i < n; ++i) {
    StepInput input;
    input.step = step;
    if (!states.empty()) input.state = states.row_span(i);
    if (!logits.empty()) input.logits = logits.row_span(i);
    if (!gates.empty()) input.gate = gates[i];
    if (!targets.empty()) input.target = targets[i];
    out[i] = observe(slots[i], input, scratch);
  }
}

StepRow reduce_over_positions(std::span<const StepRow> rows) {
  PLUMB_CHECK(!rows.empty());
  StepRow out = rows.back();
  const auto mean = [&](auto&& field) {
    double sum = 0;
    for (const StepRow& row : rows) sum += field(row);
    return sum / static_cast<double>(rows.size());
  };
  for (const StepRow& row : rows) {
    PLUMB_CHECK(row.step == out.step && row.prev.lag == out.prev.lag);
    out.finite = out.finite && row.finite;
  }
  out.state_norm = mean([](const StepRow& row) { return row.state_norm; });
  out.prev.delta_norm = mean([](const StepRow& row) { return row.prev.delta_norm; });
  out.prev.accel_norm = mean([](const StepRow& row) { return row.prev.accel_norm; });
  out.prev.cos = mean([](const StepRow& row) { return row.prev.cos; });
  out.prev.latent_diff = mean([](const StepRow& row) { return row.prev.latent_diff; });
  out.prev.accel_rel = mean([](const StepRow& row) { return row.prev.accel_rel; });
  out.prev.contraction = mean([](const StepRow& row) { return row.prev.contraction; });
  out.prev.deq_rel = mean([](const StepRow& row) { return row.prev.deq_rel; });
  return out;
}

void fill_hindsight(std::span<StepRow> rows) {
  double best = kInfinity;
  for (const StepRow& row : rows) best = std::min(best, std::isnan(row.nll) ? best : row.nll);
  bool settled = true;
  for (size_t i = rows.size(); i-- > 0;) {
    StepRow& row = rows[i];
    row.ce_regret = row.nll - best;
    settled = settled && row.top1 == rows.back().top1;
    row.settled = row.top1 < 0 ? kUnmeasured : settled ? 1.0 : 0.0;
  }
}

}  // namespace plumb
