// How far tokens run ahead of their checks.
//
// A check that needs logits reads coda and head, which cost about as much for a dozen rows as for
// one. So a token runs a few steps on, and the depths it passed are read and checked together, in
// order:
//
//   steps     1 2 3 4 5 6 7 | 8 9 | ...
//   readouts              7 |   2 |          rows of one call
//   checks    1 2 3 4 5 exit               steps 6 and 7 are taken back
//
// What comes out, and what the cache holds, is what checking after every step gives.
#pragma once

#include <algorithm>
#include <cstddef>

namespace plumb {

// Guesses where tokens exit, from where the last ones did.
class RunAhead {
 public:
  static constexpr size_t kMostRows = 16;  // of a readout: more cost more than they save

  // Steps from `depth` to the next readout of a token, of `n_tokens` in flight.
  int window(int depth, size_t n_tokens) const {
    const int guess = usual_ == 0 ? kUnknown : static_cast<int>(usual_ + 0.5);
    return std::clamp(guess > depth ? guess - depth : kFurther, 1, most(n_tokens));
  }
  // Of tokens that no rule stops.
  static int most(size_t n_tokens) {
    return static_cast<int>(std::max<size_t>(kMostRows / std::max<size_t>(n_tokens, 1), 1));
  }

  // A token's rule fired at `depth`. A readout too many costs a few steps, a step too many one: the
  // guess settles where four tokens of five have exited.
  void exited(int depth) {
    if (usual_ == 0) usual_ = depth;
    const double off = depth - usual_;
    usual_ += off > 0 ? kRise * off : kRise / 4 * off;
  }

 private:
  static constexpr int kUnknown = 4, kFurther = 2;
  static constexpr double kRise = 0.4;
  double usual_ = 0;  // 0: nobody has exited yet
};

}  // namespace plumb
