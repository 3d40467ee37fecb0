// One next-token distribution from its logits row, and comparisons of two of them.
//
// A distribution is kept as shifted logits x_i - max(x) (f32, [vocab_size]) beside ln Z in double,
// Z = sum exp(shifted): ln p_i = shifted[i] - log_z. That keeps the rounding of one large constant
// out of every entry, so a KL divergence of 1e-6 still has digits.
//
// All natural logarithms, nats. Sums run in a fixed order per machine (short f32 blocks, then
// double), never depending on threads or batch; against exact arithmetic they are good to about
// 1e-6. A logit of -infinity is a probability of zero; NaN, +infinity and a row of nothing but
// -infinity make the distribution not finite.
#pragma once

#include <cstdint>
#include <span>

namespace plumb {

// What -infinity becomes in a shifted row: exp() of it is exactly zero, products stay finite.
inline constexpr float kShiftedFloor = -1e30f;

// Everything one row says about itself.
struct Distribution {
  bool finite = false;  // false: the logits were unusable, every other field is NaN or -1
  double max_logit = 0;
  double log_z = 0;        // ln sum exp(x - max)
  double kept_sum = 0;     // sum of exp(x - max) over tokens with p >= 0.1 p1, for min-p masking
  int32_t kept_count = 0;  // how many those are
  double entropy = 0;      // -sum p ln(p + 1e-10), nats; the constant is the public reference's
  int32_t top1 = -1, top2 = -1;  // most and second most likely token, the first of equals
  double p1 = 0, p2 = 0;         // their probabilities; vocab of one: top2 -1, p2 0
};

// Reads `logits`, writes the shifted row. `shifted` may be the same memory as `logits`.
// REQUIRES equal, positive lengths.
Distribution read_distribution(std::span<const float> logits, std::span<float> shifted);

// ln p of one token from the kept row: exact but for the f32 rounding of x - max (relative 6e-8).
inline double log_prob(const Distribution& distribution, std::span<const float> shifted, int id) {
  return static_cast<double>(shifted[static_cast<size_t>(id)]) - distribution.log_z;
}
// The plain log-softmax row, for those who need it written out; same aliasing as above.
void log_softmax(std::span<const float> logits, std::span<float> log_probs);

// A kept distribution, seen for comparison: the shifted row and three numbers of its Distribution.
struct DistributionView {
  std::span<const float> shifted;  // empty: the uniform distribution, the rest is not read
  double log_z = 0;
  double kept_sum = 0;
  int32_t kept_count = 0;
};

struct Divergence {
  double kl = 0;  // KL(old || now) = sum p_old (ln p_old - ln p_now) >= 0
  // The same after each side's entries below 0.1 of its own maximum are set to 1/vocab_size and
  // the side is renormalised ("min-p" masking).
  double minp_kl = 0;
};

// One pass over both rows. `now` must hold a row, `old` a row of the same length or nothing
// (uniform). Infinite where `now` gives zero to something `old` does not; never negative.
Divergence compare_distributions(DistributionView old, DistributionView now);

// 1-based rank of `target`: 1 + tokens with a larger logit + equal ones with a smaller id, so that
// rank 1 is the same as being top1. REQUIRES 0 <= target < row.size(). Works on raw or shifted.
int32_t rank_in_row(std::span<const float> row, int32_t target);

}  // namespace plumb
