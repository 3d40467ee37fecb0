// What meets the tiles' products on either side: rounding into their layouts, and the softmax
// between the two products of attention (core/kernels/attend_tiles.h). REQUIRES
// tile_unit_available().
#pragma once

#include <cstddef>

#include "core/base/mat.h"
#include "core/kernels/attend.h"
#include "core/kernels/bf16_units.h"

namespace plumb {

// Where row r of rows laid out for tiles begins; the next 32 of its elements lie 16 * 32 further.
inline BF16* tile_row(Mat<BF16>& rows, size_t r) {
  return rows.row(r / kTileRows * kTileRows) + r % kTileRows * kTileDepth;
}

// One head of a cache. `first` and `end` bound the positions that anybody sees; positions from
// `first` on are written in the layout of packed weights, those outside as zeros.
struct HeadSource {
  KvView kv;
  size_t column = 0, head_dim = 0;
  size_t first = 0, end = 0;
};

// Keys of positions [from, to), both multiples of 16: [(to - from) / 16][depth / 2][16][2].
void round_keys(const HeadSource& head, size_t from, size_t to, size_t depth, BF16* target);

// Values of positions [from, to), both multiples of 2, in panels of 16 columns:
// [head_dim / 16, rounded up][panel_stride], a panel being [(to - from) / 2][16][2].
void round_values(const HeadSource& head, size_t from, size_t to, size_t panel_stride,
                  BF16* target);

// A row of `n` floats and zeros up to `depth`, in [depth / 32][16][32]: `target` points at its
// first 32.
void round_row_to_tiles(const float* row, size_t n, size_t depth, BF16* target);

// bf16 weights 2^((score - max) * scale) of scores [begin, end), 0 elsewhere in [0, n), n a
// multiple of 32, written as round_row_to_tiles does. Overwrites the scores outside. Returns the
// weights' sum.
float softmax_to_tiles(float* scores, size_t begin, size_t end, size_t n, float scale,
                       BF16* target);

// out[c] = sums[c] * factor
void write_scaled(const float* sums, size_t n, float factor, float* out);

}  // namespace plumb
