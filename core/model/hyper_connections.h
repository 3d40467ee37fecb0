// Hyper-connections: a residual stream kept as several parallel ones (spikewhale.md 4.4). A branch
// reads a weighted sum of the streams; its output is added to every stream with that stream's own
// weight. How stored numbers become weights is ASSUMED, so every form is a named map.
//
//   h   = sum_c read[c] X_c                 X_c = X_c + write[c] * branch(h)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/mat.h"
#include "core/parallel/team.h"

namespace plumb {

enum class ReadMap : uint8_t { kSoftmax, kSigmoid, kRaw };
enum class WriteMap : uint8_t { kSoftmax, kSoftmaxTimesN, kSigmoidTimes2, kRaw };

struct HyperConnectionConfig {
  int n_streams = 1;        // hc_mult
  int sinkhorn_iters = 20;  // of both softmax maps: w = w / (sum(w) + eps), from w = exp(stored)
  double eps = 1e-6;
  ReadMap read_map = ReadMap::kSoftmax;
  WriteMap write_map = WriteMap::kSoftmax;
};

std::vector<float> read_weights(const HyperConnectionConfig& config, std::span<const float> stored);
std::vector<float> write_weights(const HyperConnectionConfig& config,
                                 std::span<const float> stored);
// Of the mix after the last layer: a plain softmax.
std::vector<float> mix_weights(std::span<const float> stored);

// The weights of one branch, [n_streams] each.
struct HyperConnection {
  std::vector<float> read, write;
};

// A row of `streams` [n, n_streams * model_dim] holds a token's streams one after another.

// Every stream of a token becomes its row of x [n, model_dim].
void split_streams(Team& team, MatView<const float> x, MatView<float> streams);
// h [n, model_dim] = sum_c weights[c] X_c, c ascending.
void read_streams(Team& team, std::span<const float> weights, MatView<const float> streams,
                  MatView<float> h);
// X_c += weights[c] * branch, branch [n, model_dim].
void write_streams(Team& team, std::span<const float> weights, MatView<const float> branch,
                   MatView<float> streams);

}  // namespace plumb
