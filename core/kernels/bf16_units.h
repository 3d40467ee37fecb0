// The two instruction sets that multiply bf16 by themselves, and what they are given. Without the
// hardware (or the compiler) the *_available() functions are false and the products must not be
// called.
//
//   tiles  AMX: 16 x 16 sums of 32 products each, one instruction. Best for many rows.
//   dots   AVX512-BF16: 16 sums of 2 products each, one instruction. As good for few rows, where
//          reading the weights is the work.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/dtype.h"
#include "core/base/mat.h"

namespace plumb {

enum class Bf16Unit : uint8_t {
  kWiden,  // any machine: bf16 widened in registers, f32 multiply-adds (the exact path's kernel)
  kDots,   // AVX512-BF16
  kTiles,  // AMX
};
// The one that this machine uses for a product of many rows.
Bf16Unit bf16_unit();

bool tile_unit_available();  // processor and operating system; asked once. Implies dots
bool dot_unit_available();

// Rows of x lie as their unit wants them, depth padded with zeros:
//   dots   [n_rows][depth]
//   tiles  [ceil(n_rows / 16)][depth / 32][16][32], so that a tile is one stretch of 1 KiB
constexpr size_t kTileRows = 16, kTileDepth = 32;

// Where row r of rows laid out for a unit begins, and how far its next 32 elements lie from the
// last.
inline BF16* rounded_row(Bf16Unit unit, Mat<BF16>& rows, size_t r) {
  if (unit != Bf16Unit::kTiles) return rows.row(r);
  return rows.row(r / kTileRows * kTileRows) + r % kTileRows * kTileDepth;
}
constexpr size_t chunk_step(Bf16Unit unit) {
  return unit == Bf16Unit::kTiles ? kTileRows * kTileDepth : kTileDepth;
}

// A product of rows with packed panels (core/kernels/matmul.h, bf16 layout).
struct PanelProduct {
  const BF16* x = nullptr;
  size_t n_rows = 0;
  const BF16* panels = nullptr;  // [n_panels][depth / 2][16][2]
  size_t n_panels = 0;
  size_t depth = 0;            // inputs, a multiple of 32
  float* y = nullptr;          // [n_rows][y_stride], columns of panel 0 first
  size_t y_stride = 0;         // elements
  bool add = false;            // y += instead of y =
  const BF16* next = nullptr;  // where the panels wanted after these begin, if that is known
  // Elements between panels; 0: depth * 16, one after the other.
  size_t panel_stride = 0;
  // Not 0: of four panels, the last two begin this far behind the first two. Dots only.
  size_t pair_stride = 0;

  size_t panel_step() const { return panel_stride > 0 ? panel_stride : depth * 16; }
  const BF16* panel(size_t p) const { return panels + p * panel_step(); }
};

void multiply_tiles(const PanelProduct& product);
void multiply_dots(const PanelProduct& product);
inline void multiply(Bf16Unit unit, const PanelProduct& product) {
  return unit == Bf16Unit::kTiles ? multiply_tiles(product) : multiply_dots(product);
}

}  // namespace plumb
