// Transformer-XL attention: a score depends on the content of a key and on how far back it lies,
//
//   score(i, j) = ( (q_i + u) . k_j  +  (q_i + v) . r_(i - j) ) * scale,    j <= i
//
// with r_d the projected sinusoid of distance d, and u, v learned, one row a head.
#pragma once

#include <span>

#include "core/kernels/attend.h"

namespace plumb {

// [sin(k f_0), sin(k f_1), ..., cos(k f_0), cos(k f_1), ...], f_i = 10000^(-2i / size). REQUIRES an
// even size.
void sinusoid(size_t k, std::span<float> out);

struct RelativeTerms {
  std::span<const float> content_bias;   // u [n_heads * head_dim]
  std::span<const float> position_bias;  // v [n_heads * head_dim]
  const float* distances = nullptr;      // r_d as panels like KvView::keys, d in place of the position
  size_t n_distances = 0;
};

// Jobs as in attend(); every row's bits depend on its own keys alone. REQUIRES n_kv_heads equal to
// n_heads and a distance for every key a row sees.
void attend_relative(Team& team, const AttentionShape& shape, const RelativeTerms& terms,
                     std::span<const AttentionJob> jobs);

}  // namespace plumb
