#include "core/model/hyper_connections.h"

#include <algorithm>
#include <cmath>

#include "core/model/blocks.h"

namespace plumb {
namespace {

// Sinkhorn in one dimension: after the first division the sum is 1 but for eps.
std::vector<double> normalised_exp(const HyperConnectionConfig& config,
                                   std::span<const float> stored) {
  std::vector<double> w(stored.size());
  for (size_t c = 0; c < w.size(); ++c) w[c] = std::exp(static_cast<double>(stored[c]));
  for (int t = 0; t < config.sinkhorn_iters; ++t) {
    double sum = 0;
    for (const double x : w) sum += x;
    for (double& x : w) x /= sum + config.eps;
  }
  return w;
}

double sigmoid(float x) { return 1.0 / (1.0 + std::exp(-static_cast<double>(x))); }

std::vector<float> narrowed(const std::vector<double>& w, double scale = 1) {
  std::vector<float> result(w.size());
  for (size_t c = 0; c < w.size(); ++c) result[c] = static_cast<float>(w[c] * scale);
  return result;
}

std::vector<float> sigmoids(std::span<const float> stored, double scale) {
  std::vector<float> result(stored.size());
  for (size_t c = 0; c < result.size(); ++c)
    result[c] = static_cast<float>(sigmoid(stored[c]) * scale);
  return result;
}

}  // namespace

std::vector<float> read_weights(const HyperConnectionConfig& config,
                                std::span<const float> stored) {
  switch (config.read_map) {
    case ReadMap::kSoftmax:
      return narrowed(normalised_exp(config, stored));
    case ReadMap::kSigmoid:
      return sigmoids(stored, 1);
    case ReadMap::kRaw:
      break;
  }
  return {stored.begin(), stored.end()};
}

std::vector<float> write_weights(const HyperConnectionConfig& config,
                                 std::span<const float> stored) {
  switch (config.write_map) {
    case WriteMap::kSoftmax:
      return narrowed(normalised_exp(config, stored));
    case WriteMap::kSoftmaxTimesN:
      return narrowed(normalised_exp(config, stored), static_cast<double>(stored.size()));
    case WriteMap::kSigmoidTimes2:
      return sigmoids(stored, 2);
    case WriteMap::kRaw:
      break;
  }
  return {stored.begin(), stored.end()};
}

std::vector<float> mix_weights(std::span<const float> stored) {
  const float top = *std::max_element(stored.begin(), stored.end());
  std::vector<double> w(stored.size());
  double sum = 0;
  for (size_t c = 0; c < w.size(); ++c)
    sum += w[c] = std::exp(static_cast<double>(stored[c]) - top);
  return narrowed(w, 1 / sum);
}

void split_streams(Team& team, MatView<const float> x, MatView<float> streams) {
  PLUMB_CHECK(streams.rows() == x.rows() && streams.cols() % x.cols() == 0);
  for_row_chunks(team, x.rows(), [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i)
      for (size_t c = 0; c < streams.cols(); c += x.cols())
        std::copy(x.row(i), x.row(i) + x.cols(), streams.row(i) + c);
  });
}

void read_streams(Team& team, std::span<const float> weights, MatView<const float> streams,
                  MatView<float> h) {
  const size_t dim = h.cols();
  PLUMB_CHECK(streams.rows() == h.rows() && streams.cols() == weights.size() * dim);
  for_row_chunks(team, h.rows(), [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) {
      float* target = h.row(i);
      for (size_t j = 0; j < dim; ++j) target[j] = weights[0] * streams(i, j);
      for (size_t c = 1; c < weights.size(); ++c) {
        const float* stream = streams.row(i) + c * dim;
        for (size_t j = 0; j < dim; ++j) target[j] += weights[c] * stream[j];
      }
    }
  });
}

void write_streams(Team& team, std::span<const float> weights, MatView<const float> branch,
                   MatView<float> streams) {
  const size_t dim = branch.cols();
  PLUMB_CHECK(streams.rows() == branch.rows() && streams.cols() == weights.size() * dim);
  for_row_chunks(team, branch.rows(), [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i)
      for (size_t c = 0; c < weights.size(); ++c) {
        float* stream = streams.row(i) + c * dim;
        for (size_t j = 0; j < dim; ++j) stream[j] += weights[c] * branch(i, j);
      }
  });
}

}  // namespace plumb
