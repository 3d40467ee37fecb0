#include "core/model/erf_attention.h"

#include <algorithm>
#include <cmath>

namespace plumb {
namespace {

constexpr float kTiny = 1e-8F;

// scores[j] = weight of key j, for j < n_keys; returns their sum.
float key_weights(std::span<const float> query, const AttentionJob& job, size_t kv_offset,
                  float scale, float alpha, float bias, float gamma, std::span<float> weights) {
  const size_t n_keys = weights.size(), panel_stride = job.kv.kv_dim * kKeyPanel;
  float sum = 0;
  for (size_t panel = 0; panel * kKeyPanel < n_keys; ++panel) {
    const float* keys = job.kv.keys + panel * panel_stride + kv_offset * kKeyPanel;
    float scores[kKeyPanel] = {};
    for (size_t c = 0; c < query.size(); ++c)
      for (size_t lane = 0; lane < kKeyPanel; ++lane)
        scores[lane] += query[c] * keys[c * kKeyPanel + lane];
    const size_t first = panel * kKeyPanel, count = std::min(kKeyPanel, n_keys - first);
    for (size_t lane = 0; lane < count; ++lane) {
      const float opened = gamma * std::erf(alpha * (scores[lane] * scale) + bias);
      sum += weights[first + lane] = (opened + gamma) * 0.5F;
    }
  }
  return sum;
}

void attend_row(const AttentionShape& shape, const ErfWeights& weights, const AttentionJob& job,
                size_t row, size_t n_keys, std::vector<float>& scratch) {
  const size_t d = shape.head_dim, heads_per_kv = shape.n_heads / shape.n_kv_heads;
  scratch.resize(n_keys);
  for (size_t head = 0; head < shape.n_heads; ++head) {
    const size_t kv_offset = head / heads_per_kv * d;
    const auto query = job.queries.row_span(row).subspan(head * d, d);
    const float sum = key_weights(query, job, kv_offset, shape.scale, weights.alpha[head],
                                  weights.bias[head], weights.gamma[head], scratch);
    const float inverse = 1.0F / (sum + kTiny);
    float* out = job.out.row(row) + head * d;
    std::fill(out, out + d, 0.0F);
    for (size_t j = 0; j < n_keys; ++j) {
      const float* value = job.kv.values + j * job.kv.value_stride + kv_offset;
      const float w = scratch[j] * inverse;
      for (size_t c = 0; c < d; ++c) out[c] += w * value[c];
    }
  }
}

}  // namespace

void erf_attend(Team& team, const AttentionShape& shape, const ErfWeights& weights,
                std::span<const AttentionJob> jobs, bool masked) {
  for (const AttentionJob& job : jobs) {
    PLUMB_CHECK(job.window == 0 && job.first_key == 0 && job.out.data() != job.queries.data());
    PLUMB_CHECK(job.kv.head_rows == 0 && job.kv.keys != nullptr && !job.alternatives());
    const size_t n_rows = job.queries.rows();
    const bool sees_all = !masked && job.n_before > 0;
    team.run(n_rows, [&](size_t row) {
      thread_local std::vector<float> scratch;
      attend_row(shape, weights, job, row, job.n_before + (sees_all ? n_rows : row + 1), scratch);
    });
  }
}

}  // namespace plumb
