#include "core/model/mla.h"

#include <cmath>

namespace plumb {
namespace {

// Divides every head of every row by its root mean square.
void norm_heads(Team& team, MatView<float> rows, size_t n_heads, size_t head_dim,
                std::span<const float> weight, float eps) {
  for_row_chunks(team, rows.rows(), [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) {
      const MatView<float> heads(rows.row(i), n_heads, head_dim);
      rms_norm(heads, weight, eps, heads);
    }
  });
}

// y -= (y.n) n for one head, n = v / (|v| + 1e-8). A zero v leaves y alone.
void take_out(std::span<const float> v, std::span<float> y) {
  const float inverse = 1.0F / (std::sqrt(dot(v, v)) + 1e-8F);
  float along = 0;
  for (size_t c = 0; c < v.size(); ++c) along += y[c] * (v[c] * inverse);
  for (size_t c = 0; c < v.size(); ++c) y[c] -= along * (v[c] * inverse);
}

void take_out_own_values(Team& team, const AttentionShape& shape, MatView<const float> values,
                         MatView<float> y) {
  const size_t d = shape.head_dim, heads_per_kv = shape.n_heads / shape.n_kv_heads;
  for_row_chunks(team, y.rows(), [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i)
      for (size_t head = 0; head < shape.n_heads; ++head)
        take_out(values.row_span(i).subspan(head / heads_per_kv * d, d),
                 y.row_span(i).subspan(head * d, d));
  });
}

}  // namespace

Result<MlaWeights> load_mla(WeightLoader& loader, const std::string& prefix, const MlaSpec& spec,
                            int64_t model_dim) {
  const auto d = static_cast<int64_t>(spec.shape.head_dim),
             heads = static_cast<int64_t>(spec.shape.n_heads);
  const auto kv = static_cast<int64_t>(spec.shape.n_kv_heads) * d,
             q_rank = static_cast<int64_t>(spec.q_rank);
  const auto o_rank = static_cast<int64_t>(spec.o_rank);
  MlaWeights w;
  PLUMB_ASSIGN(w.down, loader.stacked({{prefix + "q_a_proj.weight", q_rank},
                                       {prefix + "k_proj.weight", kv},
                                       {prefix + "v_proj.weight", kv}},
                                      model_dim));
  PLUMB_ASSIGN(w.q_a_norm, loader.vector(prefix + "q_a_norm.weight", {q_rank}));
  PLUMB_ASSIGN(w.q_b, loader.linear(prefix + "q_b_proj.weight", heads * d, q_rank));
  PLUMB_ASSIGN(w.o_a, loader.linear(prefix + "o_a_proj.weight", o_rank, heads * d));
  PLUMB_ASSIGN(w.o_b, loader.linear(prefix + "o_b_proj.weight", model_dim, o_rank));
  if (spec.norm_heads) {
    PLUMB_ASSIGN(w.q_norm, loader.vector(prefix + "q_norm.weight", {d}));
    PLUMB_ASSIGN(w.k_norm, loader.vector(prefix + "k_norm.weight", {d}));
  }
  if (spec.erf) {
    PLUMB_ASSIGN(w.erf.alpha, loader.vector(prefix + "derf_alpha", {heads}));
    PLUMB_ASSIGN(w.erf.bias, loader.vector(prefix + "derf_bias", {heads}));
    PLUMB_ASSIGN(w.erf.gamma, loader.vector(prefix + "derf_gamma", {heads}));
  }
  return w;
}

Status mla_attention(const Batch& batch, Workspace& workspace, MlaWorkspace& scratch,
                     const MlaSpec& spec, const RopeTable& rope, const MlaWeights& weights,
                     const Place& place, MatView<const float> x, MatView<float> out) {
  Team& team = *workspace.team;
  const size_t n = x.rows(), d = spec.shape.head_dim, heads = spec.shape.n_heads,
               kv_heads = spec.shape.n_kv_heads;
  scratch.down.resize(n, spec.q_rank + 2 * kv_heads * d);
  scratch.query_low.resize(n, spec.q_rank);
  scratch.query.resize(n, heads * d);
  scratch.attended.resize(n, heads * d);
  scratch.out_low.resize(n, spec.o_rank);
  const MatView<float> down = scratch.down.view(), query = scratch.query.view();
  const MatView<float> keys = down.cols_from(spec.q_rank, kv_heads * d);
  const MatView<float> values = down.cols_from(spec.q_rank + kv_heads * d, kv_heads * d);

  weights.down.apply(team, x, down);
  rms_norm_rows(team, down.cols_from(0, spec.q_rank), weights.q_a_norm, spec.norm_eps,
                scratch.query_low);
  weights.q_b.apply(team, scratch.query_low, query);
  if (spec.norm_heads) {
    norm_heads(team, query, heads, d, weights.q_norm, spec.norm_eps);
    norm_heads(team, keys, kv_heads, d, weights.k_norm, spec.norm_eps);
  }
  rope_rows(team, batch, query, heads, d, RopeLayout::kHalfSplit, rope);
  rope_rows(team, batch, keys, kv_heads, d, RopeLayout::kHalfSplit, rope);
  fire(workspace.taps, Tap::kQuery, place, query);
  fire(workspace.taps, Tap::kKey, place, keys);
  PLUMB_ASSIGN(const auto jobs, plan_attention(batch, workspace, scratch.attention, place, query,
                                               keys, values, scratch.attended));
  if (spec.erf)
    erf_attend(team, spec.shape, weights.erf, jobs, spec.erf_mask_always);
  else
    attend_like(weights.q_b, team, spec.shape, jobs);
  if (spec.exclusive) take_out_own_values(team, spec.shape, values, scratch.attended);
  weights.o_a.apply(team, scratch.attended, scratch.out_low);
  weights.o_b.apply(team, scratch.out_low, out);
  fire(workspace.taps, Tap::kAttentionOut, place, out);
  return ok_status();
}

}  // namespace plumb
