// Means, quantiles and intervals of recorded numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/base/bootstrap.h"
#include "core/store/run_reader.h"

namespace plumb {

// sum w v / sum w. NaN when the weights sum to zero. REQUIRES equal sizes, weights >= 0.
double weighted_mean(std::span<const double> values, std::span<const double> weights);

// The shape of a distribution in five numbers. All NaN when n is 0.
struct QuantileBand {
  int64_t n = 0;  // finite values
  double p10 = 0, p25 = 0, median = 0, p75 = 0, p90 = 0;
};

// Values that are not finite are left out. Sorts `values` in place, dropping those.
QuantileBand quantile_band(std::vector<float>& values);

// Interval of a point's mean loss, nats per token, from its recorded chunks. nullopt with fewer
// than two chunks that have tokens.
std::optional<BootstrapInterval> mean_nll_interval(std::span<const ChunkInfo> chunks,
                                                   uint64_t seed);

}  // namespace plumb
