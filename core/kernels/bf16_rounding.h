// What meets the units' products on either side: rounding into their layouts, and the softmax
// between the two products of attention (core/kernels/attend_bf16.h). REQUIRES
// dot_unit_available().
#pragma once

#include <cstddef>

#include "core/base/mat.h"
#include "core/kernels/attend.h"
#include "core/kernels/bf16_units.h"

namespace plumb {

// One head of a cache. `first` and `end` bound the positions that anybody sees; positions from
// `first` on are written in the layout of packed weights, those outside as zeros.
struct HeadSource {
  KvView kv;
  size_t head = 0, head_dim = 0;
  size_t first = 0, end = 0;
};

// Keys of positions [from, to), both multiples of 16: [(to - from) / 16][depth / 2][16][2].
void round_keys(const HeadSource& head, size_t from, size_t to, size_t depth, BF16* target);

// Values of positions [from, to), both multiples of 2, in panels of 16 columns:
// [head_dim / 16, rounded up][panel_stride], a panel being [(to - from) / 2][16][2].
void round_values(const HeadSource& head, size_t from, size_t to, size_t panel_stride,
                  BF16* target);

// A row of `n` floats and zeros up to `depth`, 32 at a time, each 32 `step` elements after the
// last.
void round_chunks(const float* row, size_t n, size_t depth, size_t step, BF16* target);

// bf16 weights 2^((score - max) * scale) of scores [begin, end), 0 elsewhere in [0, n), n a
// multiple of 32, written as round_chunks does. Overwrites the scores outside. Returns the weights'
// sum.
float softmax_chunks(float* scores, size_t begin, size_t end, size_t n, float scale, size_t step,
                     BF16* target);

// out[c] = sums[c] * factor
void write_scaled(const float* sums, size_t n, float factor, float* out);

}  // namespace plumb
