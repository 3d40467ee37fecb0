#include "experiments/point_summary.h"

#include <cmath>

#include "core/base/bootstrap.h"
#include "core/record/provenance.h"
#include "core/store/run_reader.h"

namespace plumb {

Result<PointSummary> summarise_point(const std::filesystem::path& db, int64_t point_id) {
  PLUMB_ASSIGN(RunReader reader, RunReader::open(db));
  PLUMB_ASSIGN(const auto chunks, reader.chunks(point_id));
  std::vector<double> sums;
  std::vector<int64_t> counts;
  std::string fingerprint;
  for (const ChunkInfo& chunk : chunks) {
    sums.push_back(chunk.nll_sum_nats);
    counts.push_back(chunk.n_tokens);
    fingerprint += fmt::format("{:.17g}\n", chunk.nll_sum_nats);
  }
  PointSummary summary;
  summary.logits_fingerprint = sha256_of_text(fingerprint).substr(0, 16);
  if (const auto interval = bootstrap_mean(sums, counts, 0)) {
    summary.ci_low = std::exp(interval->low);
    summary.ci_high = std::exp(interval->high);
    summary.ci_level = interval->level;
    summary.n_resamples = interval->n_resamples;
    summary.ci_method = kBootstrapMethod;
  }
  return summary;
}

}  // namespace plumb
