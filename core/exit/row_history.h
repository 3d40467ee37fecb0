// The recorder's memory of one token: every step, compared at several lags (--lags 2,4,8).
//
// The row is the one a live exit at check-every 1 sees (the same RowMemory makes it); the further
// comparisons let replay rebuild what rules with another check schedule would have seen.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "core/exit/step_scalars.h"

namespace plumb {

// The lag that means "against the start": s_0, the uniform distribution, entropy 100. It serves
// rules with min=m, whose first check at step m + 1 compares with the start.
inline constexpr int kStartLag = 0;

// Keeps max(lag) distributions (4 * vocab_size bytes each) and 2 max(lag) states.
class RowHistory {
 public:
  // Lags: kStartLag or > 1 (1 is the row itself); strictly ascending. May be empty.
  RowHistory(std::vector<int> lags, std::span<const float> start_state);

  // Steps 1, 2, 3, ... without a gap. lagged [lags().size()]: the comparison with step - lag, its
  // `lag` the number of steps apart; lag 0 and all fields NaN while step < lag. Against the start,
  // accel and contraction are +infinity always, as at a live rule's first check.
  StepRow next(const StepInput& input, StepScratch& scratch, std::span<Comparison> lagged);

  const std::vector<int>& lags() const { return lags_; }
  // The distribution of the last step, valid until the next. kl_final of step k is
  // compare_distributions(view of R, view of k).kl; whoever wants it keeps all R snapshots.
  const Snapshot& last_distribution() const { return live_.last_distribution(); }

 private:
  struct Past {
    std::vector<float> state;
    Snapshot distribution;  // emptied when older than the largest lag
    double entropy = kStartEntropy;
    std::vector<double> delta_norms;  // |D| at that step, per lag; NaN before it has one
  };
  // REQUIRES 0 <= step <= step_, and not dropped yet.
  const Past& past(int step) const;
  Comparison compare_at(size_t lag_index, const StepRow& row, Past& now) const;
  void remember(Past now);

  std::vector<int> lags_;
  int depth_ = 0;  // the largest lag
  int step_ = 0;
  RowMemory live_;
  Past start_;
  std::deque<Past> recent_;  // back() is step_; at most 2 * depth_
  Past spare_;               // buffers to use next
};

}  // namespace plumb
