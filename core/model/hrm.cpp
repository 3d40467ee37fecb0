#include "core/model/hrm.h"

#include <algorithm>
#include <cmath>

#include "core/model/blocks.h"

namespace plumb {

Result<RefinementWeights> load_refinement(WeightLoader& loader, int64_t model_dim,
                                          int64_t refine_dim, int64_t n_steps, double gate_scale) {
  RefinementWeights w;
  PLUMB_ASSIGN(w.norm, loader.vector("model.hrm_refine.norm.weight", {model_dim}));
  PLUMB_ASSIGN(w.down, loader.linear("model.hrm_refine.down.weight", refine_dim, 2 * model_dim));
  PLUMB_ASSIGN(w.up, loader.linear("model.hrm_refine.up.weight", model_dim, refine_dim));
  PLUMB_ASSIGN(w.gates, loader.vector("model.hrm_refine.gate", {n_steps}));
  for (float& gate : w.gates)
    gate = static_cast<float>(std::tanh(static_cast<double>(gate)) * gate_scale);
  return w;
}

void refine(const Batch& batch, Team& team, RefinementWorkspace& scratch,
            const RefinementWeights& weights, float norm_eps, MatView<const float> anchor,
            MatView<float> h) {
  const size_t n = h.rows(), e = h.cols(), low = weights.down.w.n_out();
  scratch.joined.resize(n, 2 * e);
  scratch.low.resize(n, low);
  scratch.opened.resize(n, low);
  scratch.update.resize(n, e);
  const MatView<float> joined = scratch.joined.view();
  rms_norm_rows(team, h, weights.norm, norm_eps, joined.cols_from(0, e));
  for_row_chunks(team, n, [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) std::copy_n(anchor.row(i), e, joined.row(i) + e);
  });
  weights.down.apply(team, joined, scratch.low);
  scratch.opened.fill(1.0F);
  silu_multiply(scratch.low, scratch.opened);
  weights.up.apply(team, scratch.opened, scratch.update);
  for (const Group& group : batch.groups) {
    const float gate =
        weights.gates[std::min(static_cast<size_t>(group.step), weights.gates.size() - 1)];
    for_row_chunks(team, group.n_rows, [&](size_t first, size_t count) {
      for (size_t i = group.first_row + first; i < group.first_row + first + count; ++i)
        for (size_t c = 0; c < e; ++c) h(i, c) += gate * scratch.update(i, c);
    });
  }
}

}  // namespace plumb
