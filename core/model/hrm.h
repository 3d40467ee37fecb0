// HRM refinement: the recurrence of SpikeWhaleLM, after its last layer (spikewhale.md 4.9). The
// same small network at every step, with a gate of its own; per token, no mixing over positions.
//
//   h <- h + tanh(gate[t]) * Wup silu( Wdown [norm(h) ; anchor] ),   h = anchor at first
#pragma once

#include <vector>

#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

struct RefinementWeights {
  std::vector<float> norm;   // [model_dim]
  Linear down;               // [refine_dim, 2 * model_dim]
  Linear up;                 // [model_dim, refine_dim]
  std::vector<float> gates;  // [trained steps] tanh already taken
};

Result<RefinementWeights> load_refinement(WeightLoader& loader, int64_t model_dim,
                                          int64_t refine_dim, int64_t n_steps, double gate_scale);

struct RefinementWorkspace {
  Mat<float> joined;  // [n, 2 * model_dim]
  Mat<float> low;     // [n, refine_dim]
  Mat<float> opened;  // [n, refine_dim]
  Mat<float> update;  // [n, model_dim]
};

// One step of every group at its own Group::step; past the last gate that gate is used again.
void refine(const Batch& batch, Team& team, RefinementWorkspace& scratch,
            const RefinementWeights& weights, float norm_eps, MatView<const float> anchor,
            MatView<float> h);

}  // namespace plumb
