#include "core/base/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace plumb {
namespace {

struct Chunk {
  double sum = 0;
  int64_t tokens = 0;
};

std::vector<Chunk> chunks_with_tokens(std::span<const double> sums,
                                      std::span<const int64_t> token_counts) {
  PLUMB_CHECK(sums.size() == token_counts.size());
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < sums.size(); ++i) {
    PLUMB_CHECK(std::isfinite(sums[i]) && token_counts[i] >= 0);
    if (token_counts[i] > 0) chunks.push_back({sums[i], token_counts[i]});
  }
  return chunks;
}

double mean_of(std::span<const Chunk> chunks) {
  double sum = 0;
  int64_t tokens = 0;
  for (const Chunk& chunk : chunks) sum += chunk.sum, tokens += chunk.tokens;
  return sum / static_cast<double>(tokens);
}

double resampled_mean(std::span<const Chunk> chunks, uint64_t seed, uint32_t resample) {
  const DrawKey key{.seed = seed, .stream = RngStream::kBootstrap, .row = resample};
  double sum = 0;
  int64_t tokens = 0;
  for (size_t draw = 0; draw < chunks.size(); ++draw) {
    const Chunk& chunk = chunks[uniform_below(key, draw, chunks.size())];
    sum += chunk.sum, tokens += chunk.tokens;
  }
  return sum / static_cast<double>(tokens);
}

template <class T>
double interpolated(std::span<const T> sorted, double q) {
  PLUMB_CHECK(!sorted.empty() && q >= 0 && q <= 1);
  const double place = q * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(place);
  const double low = sorted[below];
  if (below + 1 == sorted.size()) return low;
  const double share = place - static_cast<double>(below);
  return low + share * (static_cast<double>(sorted[below + 1]) - low);
}

}  // namespace

std::optional<BootstrapInterval> bootstrap_mean(std::span<const double> sums,
                                                std::span<const int64_t> token_counts,
                                                uint64_t seed, const BootstrapOptions& options) {
  PLUMB_CHECK(options.n_resamples >= 1 && options.n_resamples < (int64_t{1} << 32));
  PLUMB_CHECK(options.level > 0 && options.level < 1);
  const std::vector<Chunk> chunks = chunks_with_tokens(sums, token_counts);
  if (chunks.size() < 2) return std::nullopt;
  std::vector<double> means(static_cast<size_t>(options.n_resamples));
  for (size_t i = 0; i < means.size(); ++i)
    means[i] = resampled_mean(chunks, seed, static_cast<uint32_t>(i));
  std::sort(means.begin(), means.end());
  const double tail = (1 - options.level) / 2;
  return BootstrapInterval{.mean = mean_of(chunks),
                           .low = quantile_of_sorted(means, tail),
                           .high = quantile_of_sorted(means, 1 - tail),
                           .level = options.level,
                           .n_resamples = options.n_resamples};
}

double quantile_of_sorted(std::span<const double> sorted, double q) {
  return interpolated(sorted, q);
}
double quantile_of_sorted(std::span<const float> sorted, double q) {
  return interpolated(sorted, q);
}

}  // namespace plumb
