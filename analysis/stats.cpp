#include "analysis/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/check.h"

namespace plumb {

double weighted_mean(std::span<const double> values, std::span<const double> weights) {
  PLUMB_CHECK(values.size() == weights.size());
  double sum = 0, weight = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    PLUMB_CHECK(weights[i] >= 0);
    sum += weights[i] * values[i];
    weight += weights[i];
  }
  return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
}

QuantileBand quantile_band(std::vector<float>& values) {
  std::erase_if(values, [](float value) { return !std::isfinite(value); });
  QuantileBand band;
  band.n = static_cast<int64_t>(values.size());
  if (values.empty()) {
    band.p10 = band.p25 = band.median = band.p75 = band.p90 =
        std::numeric_limits<double>::quiet_NaN();
    return band;
  }
  std::sort(values.begin(), values.end());
  const std::span<const float> sorted(values);
  band.p10 = quantile_of_sorted(sorted, 0.10);
  band.p25 = quantile_of_sorted(sorted, 0.25);
  band.median = quantile_of_sorted(sorted, 0.50);
  band.p75 = quantile_of_sorted(sorted, 0.75);
  band.p90 = quantile_of_sorted(sorted, 0.90);
  return band;
}

std::optional<BootstrapInterval> mean_nll_interval(std::span<const ChunkInfo> chunks,
                                                   uint64_t seed) {
  std::vector<double> sums;
  std::vector<int64_t> tokens;
  for (const ChunkInfo& chunk : chunks) {
    if (!std::isfinite(chunk.nll_sum_nats) || chunk.n_tokens < 0) return std::nullopt;
    sums.push_back(chunk.nll_sum_nats);
    tokens.push_back(chunk.n_tokens);
  }
  return bootstrap_mean(sums, tokens, seed);
}

}  // namespace plumb
