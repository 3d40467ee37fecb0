#include "core/exit/replay_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/check.h"

namespace plumb {
namespace {

bool contains(std::span<const int> lags, int lag) {
  return std::find(lags.begin(), lags.end(), lag) != lags.end();
}

// Walks the check steps of a rule over a recording and rebuilds each row against the check before,
// with the same bookkeeping as RowMemory.
class CheckWalk {
 public:
  CheckWalk(const Rule& rule, const Trajectory& trajectory)
      : rule_(rule),
        trajectory_(trajectory),
        limit_(rule.depth_limit(static_cast<int>(trajectory.rows.size()))),
        every_step_(rule.min_steps() == 0 && rule.check_every() == 1) {
    PLUMB_CHECK(trajectory.lagged.size() == trajectory.rows.size() * trajectory.lags.size());
  }

  // The next row, or null when there is no further check.
  const StepRow* next() {
    int step = row_.step + 1;
    while (step <= limit_ && !rule_.is_check_step(step, false)) ++step;
    if (step > limit_) return nullptr;
    const StepRow& recorded = trajectory_.rows[static_cast<size_t>(step - 1)];
    PLUMB_CHECK(recorded.step == step);
    // Recorded rows are compared with the step before already.
    if (every_step_) {
      row_.step = step;
      return &recorded;
    }
    rebuild(recorded);
    return &row_;
  }

  int limit() const { return limit_; }

 private:
  void rebuild(const StepRow& recorded) {
    const StepRow last = row_;
    row_ = recorded;
    row_.prev = comparison(recorded, recorded.step - last.step);
    const bool same_lag = row_.prev.lag == last.prev.lag;
    if (!same_lag && !std::isnan(row_.prev.accel_norm)) {
      row_.prev.accel_norm = std::numeric_limits<double>::infinity();
    }
    derive(row_.prev, row_.state_norm, row_.entropy, last.step == 0 ? kStartEntropy : last.entropy,
           same_lag ? last.prev.delta_norm : kUnmeasured);
    if (row_.argmax_run < 0) return;
    row_.argmax_run = row_.top1 == last.top1 ? std::max(last.argmax_run, 0) + 1 : 0;
  }

  // What was recorded of this step against the one `lag` before, which may be the start.
  Comparison comparison(const StepRow& recorded, int lag) const {
    if (lag == 1) return recorded.prev;
    const auto& lags = trajectory_.lags;
    auto found = std::find(lags.begin(), lags.end(), lag);
    if (found == lags.end() && lag == recorded.step) {
      found = std::find(lags.begin(), lags.end(), kStartLag);
    }
    Comparison out;
    if (found != lags.end()) {
      const size_t row = static_cast<size_t>(recorded.step - 1);
      out = trajectory_.lagged[row * lags.size() + static_cast<size_t>(found - lags.begin())];
    } else {
      PLUMB_CHECK(!rule_.compares_rows());
    }
    out.lag = lag;
    return out;
  }

  const Rule& rule_;
  const Trajectory& trajectory_;
  const int limit_;
  const bool every_step_;
  StepRow row_;  // of the last check; step 0 before the first
};

}  // namespace

void derive_rows(std::span<StepRow> rows) {
  const StepRow start;
  for (size_t i = 0; i < rows.size(); ++i) {
    StepRow& row = rows[i];
    const StepRow& last = i == 0 ? start : rows[i - 1];
    PLUMB_CHECK(row.step == static_cast<int>(i) + 1);
    row.prev.lag = 1;
    derive(row.prev, row.state_norm, row.entropy, i == 0 ? kStartEntropy : last.entropy,
           last.prev.delta_norm);
    row.argmax_run = row.top1 < 0 ? -1 : row.top1 == last.top1 ? last.argmax_run + 1 : 0;
  }
}

Status replayable(const Rule& rule, std::span<const int> lags) {
  if (!rule.compares_rows()) return ok_status();
  const std::string recorded =
      fmt::format("1{}{}", lags.empty() ? "" : ", ", fmt::join(lags, ", "));
  const int every = rule.check_every();
  if (every > 1 && !contains(lags, every)) {
    return input_error(
        "rule '{}' compares a step with the check {} steps before (every={}), which was not "
        "recorded; recorded lags are {}",
        rule.canonical(), every, every, recorded);
  }
  const int first = rule.min_steps() + 1;
  if (first > 1 && !contains(lags, first) && !contains(lags, kStartLag)) {
    return input_error(
        "rule '{}' compares its first check, step {}, with the start (min={}), which was not "
        "recorded; recorded lags are {}, it needs {} or {} (the start)",
        rule.canonical(), first, rule.min_steps(), recorded, first, kStartLag);
  }
  return ok_status();
}

std::vector<StepRow> rows_at_checks(const Rule& rule, const Trajectory& trajectory) {
  std::vector<StepRow> checks;
  CheckWalk walk(rule, trajectory);
  while (const StepRow* row = walk.next()) checks.push_back(*row);
  return checks;
}

Exit find_exit(const Rule& rule, const Trajectory& trajectory, int forward) {
  CheckWalk walk(rule, trajectory);
  RuleState state{.forward = forward};
  while (const StepRow* row = walk.next()) {
    if (rule.check(*row, state)) return {row->step, ExitReason::kRule};
  }
  return {walk.limit(), ExitReason::kLimit};
}

void first_crossings(MatView<const double> values, Comparator comparator,
                     std::span<const double> thresholds, MatView<int32_t> exits) {
  PLUMB_CHECK(exits.rows() == thresholds.size() && exits.cols() == values.rows());
  for (const double threshold : thresholds) PLUMB_CHECK(!std::isnan(threshold));
  // From the easiest threshold to the hardest: a value that failed an easier one fails all after
  // it, so one walk along the steps serves them all.
  const bool less = comparator == Comparator::kLess || comparator == Comparator::kLessEqual;
  const bool ordered = comparator != Comparator::kEqual;
  std::vector<size_t> order(thresholds.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return less ? thresholds[a] > thresholds[b] : thresholds[a] < thresholds[b];
  });
  const size_t n_steps = values.cols();
  for (size_t token = 0; token < values.rows(); ++token) {
    const double* row = values.row(token);
    size_t k = 0;
    for (const size_t i : order) {
      if (!ordered) k = 0;
      while (k < n_steps && !compare(row[k], comparator, thresholds[i])) ++k;
      exits(i, token) = k < n_steps ? static_cast<int32_t>(k + 1) : 0;
    }
  }
}

}  // namespace plumb
