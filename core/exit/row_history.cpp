#include "core/exit/row_history.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/base/check.h"

namespace plumb {

RowHistory::RowHistory(std::vector<int> lags, std::span<const float> start_state)
    : lags_(std::move(lags)) {
  for (const int lag : lags_) PLUMB_CHECK(lag == kStartLag || lag > 1);
  PLUMB_CHECK(std::adjacent_find(lags_.begin(), lags_.end(), std::greater_equal<int>()) ==
              lags_.end());
  depth_ = lags_.empty() ? 0 : lags_.back();
  live_.start(start_state);
  start_.state.assign(start_state.begin(), start_state.end());
  start_.delta_norms.assign(lags_.size(), kUnmeasured);
}

const RowHistory::Past& RowHistory::past(int step) const {
  if (step == 0) return start_;
  const size_t back = static_cast<size_t>(step_ - step);
  PLUMB_CHECK(step > 0 && step <= step_ && back < recent_.size());
  return recent_[recent_.size() - 1 - back];
}

Comparison RowHistory::compare_at(size_t lag_index, const StepRow& row, Past& now) const {
  Comparison out;
  const bool from_start = lags_[lag_index] == kStartLag;
  const int lag = from_start ? row.step : lags_[lag_index];
  if (row.step < lag) return out;
  out.lag = lag;
  const Past& then = past(row.step - lag);
  const bool has_before = !from_start && row.step >= 2 * lag;
  if (!now.state.empty()) {
    std::span<const float> before;
    if (has_before) before = past(row.step - 2 * lag).state;
    compare_states(now.state, then.state, before, out);
  }
  if (!now.distribution.shifted.empty()) {
    compare_snapshots(now.distribution.view(), then.distribution.view(), out);
  }
  derive(out, row.state_norm, row.entropy, then.entropy,
         has_before ? then.delta_norms[lag_index] : kUnmeasured);
  now.delta_norms[lag_index] = out.delta_norm;
  return out;
}

StepRow RowHistory::next(const StepInput& input, StepScratch& scratch,
                         std::span<Comparison> lagged) {
  PLUMB_CHECK(input.step == step_ + 1 && lagged.size() == lags_.size());
  const StepRow row = next_row(input, live_, scratch);
  if (!lags_.empty()) {
    Past now = std::exchange(spare_, Past());
    now.state.assign(input.state.begin(), input.state.end());
    now.distribution = live_.last_distribution();
    now.entropy = row.entropy;
    now.delta_norms.assign(lags_.size(), kUnmeasured);
    for (size_t i = 0; i < lags_.size(); ++i) lagged[i] = compare_at(i, row, now);
    remember(std::move(now));
  }
  step_ = input.step;
  return row;
}

void RowHistory::remember(Past now) {
  // Distributions are large and needed only max(lag) steps back, states twice as far. What drops
  // out leaves its buffers to the next step.
  const size_t kept = static_cast<size_t>(depth_);
  recent_.push_back(std::move(now));
  if (recent_.size() > 2 * kept) {
    spare_ = std::move(recent_.front());
    recent_.pop_front();
  }
  if (recent_.size() > kept && kept > 0) {
    Snapshot& old = recent_[recent_.size() - 1 - kept].distribution;
    spare_.distribution = std::exchange(old, Snapshot());
  }
}

}  // namespace plumb
