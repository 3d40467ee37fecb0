// Attention that weighs keys by an error function in place of softmax (spikewhale.md 4.7):
//
//   w_j = (gamma * erf(alpha * s_j + bias) + gamma) / 2,   s_j = scale * q.k_j
//   y   = sum_j w_j v_j / (sum_j w_j + 1e-8)
//
// Keys are taken in order, one after another, so the bits of a row depend neither on threads nor on
// its company. A weight far below the threshold is all cancellation: erf is the library's, good to
// an ulp, not an approximation.
#pragma once

#include <span>
#include <vector>

#include "core/kernels/attend.h"
#include "core/parallel/team.h"

namespace plumb {

struct ErfWeights {
  std::vector<float> alpha, bias, gamma;  // [n_heads]
};

// `masked` off: as the first published code does, rows of a call over a cache that already holds
// something see all keys of the call, later ones too. Jobs have no window.
void erf_attend(Team& team, const AttentionShape& shape, const ErfWeights& weights,
                std::span<const AttentionJob> jobs, bool masked = true);

}  // namespace plumb
