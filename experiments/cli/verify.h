// `plumb replay --verify N`: chosen rules run live, held against their replay.
#pragma once

#include <string>
#include <vector>

#include "analysis/recording.h"
#include "analysis/replay.h"
#include "core/base/json.h"
#include "experiments/live_rules.h"

namespace plumb::cli {

struct VerifyOptions {
  int n_rules = 0;  // 0: none
  LiveOptions live;
};

// A rule both ways, over the same tokens.
struct Disagreement {
  Rule rule;
  int64_t tokens = 0;
  int64_t moved = 0;                            // tokens with another exit step
  double steps_replay = 0, steps_live = 0;      // mean
  double steps_apart = 0;                       // mean |live - replay|
  int most_apart = 0;                           // largest
  double nats_replay = 0, nats_live = 0;        // a token
  double nll_apart = 0;                         // mean |live - replay| of a token, nats
  double no_exit_replay = 0, no_exit_live = 0;  // share that never fired
};

struct Verification {
  std::string cache;  // strategy of the live runs
  int64_t tokens = 0, windows = 0;
  double recording_apart =
      0;  // largest |nll| difference of full depth, run again: 0 but for rounding
  std::vector<Disagreement> rules;
};

// Runs up to n_rules of `outcomes`, spread evenly over `order` (by mean depth); rules that cannot
// run live (oracles) are not chosen, fixed depths only when there is nothing else.
// REQUIRES n_rules > 0.
Result<Verification> verify_replay(RunReader& reader, const std::vector<Recording>& recordings,
                                   const std::vector<RuleOutcome>& outcomes,
                                   const std::vector<size_t>& order, const VerifyOptions& options);

Json json_of(const Verification& verification);
void print_verification(const Verification& verification);

}  // namespace plumb::cli
