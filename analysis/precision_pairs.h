// Recordings of one text that differ in precision alone, and how far the exits of rules move
// between them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "analysis/recording.h"
#include "analysis/rule_grid.h"

namespace plumb {

// "f32", "bf16", or "f32, logits bf16" where the readout alone was rounded.
std::string precision_of(const Setting& setting);

struct PrecisionPair {
  const Recording* base = nullptr;   // of the highest precision
  const Recording* other = nullptr;  // of the same tokens
  std::string text, precision;       // of `other`
};

// All pairs, in the order of the recordings. An error when there is none, or a pair recorded other
// tokens or another depth.
Result<std::vector<PrecisionPair>> precision_pairs(const std::vector<Recording>& recordings);

// How the exits of one rule moved, over some pairs.
struct ExitMoves {
  int64_t tokens = 0, moved = 0;
  double base_steps = 0;           // mean, at the higher precision
  double step_sum = 0;             // of |move|
  std::map<int, int64_t> by_move;  // tokens by steps later (earlier: below 0)

  double moved_percent() const {
    return tokens == 0 ? 0 : 100 * static_cast<double>(moved) / static_cast<double>(tokens);
  }
};

// One for each rule. A token that no check stopped counts at its limit. Errors as
// exits_of_rules().
Result<std::vector<ExitMoves>> exit_moves(const std::vector<PrecisionPair>& pairs,
                                          const std::vector<GridRule>& rules);

}  // namespace plumb
