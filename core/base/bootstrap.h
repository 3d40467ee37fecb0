// How sure we are of a mean loss: a bootstrap over the chunks it was measured on.
//
// Tokens of one window share their context, so their losses are not independent; windows (chunks)
// nearly are. A resample draws as many chunks as there are, with replacement, and its mean is the
// sum of their losses over the sum of their tokens, so a chunk counts by its tokens. The interval
// is the percentile interval of the resampled means (Efron and Tibshirani: "An Introduction to the
// Bootstrap", 1993, chapter 13).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace plumb {

inline constexpr std::string_view kBootstrapMethod = "percentile bootstrap over chunks";

struct BootstrapOptions {
  int64_t n_resamples = 1000;  // REQUIRES 1 <= n_resamples < 2^32
  double level = 0.95;         // confidence; REQUIRES 0 < level < 1
};

struct BootstrapInterval {
  double mean = 0;           // of all tokens, in the unit of the sums; not resampled
  double low = 0, high = 0;  // of that mean
  double level = 0;
  int64_t n_resamples = 0;
};

// The mean per token of `sums`, sums[i] being taken over token_counts[i] tokens. Chunks without
// tokens are left out; with fewer than two others nothing can be said about the spread: nullopt.
// A pure function: the same bits for the same arguments, on any machine and thread count.
// REQUIRES sums.size() == token_counts.size() < 2^33, sums finite, token_counts >= 0.
std::optional<BootstrapInterval> bootstrap_mean(std::span<const double> sums,
                                                std::span<const int64_t> token_counts,
                                                uint64_t seed,
                                                const BootstrapOptions& options = {});

// The q-quantile of ascending values, interpolated linearly between order statistics (definition 7
// of Hyndman and Fan, 1996). REQUIRES !sorted.empty(), 0 <= q <= 1.
double quantile_of_sorted(std::span<const double> sorted, double q);
double quantile_of_sorted(std::span<const float> sorted, double q);

}  // namespace plumb
