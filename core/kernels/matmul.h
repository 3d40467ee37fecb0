// y = x W^T with packed weights.
//
// Every output is one chain of fused multiply-adds over the inputs in order k = 0, 1, ..., K-1. So
// its bits do not depend on the number of threads, on how many rows are computed together, or on
// blocking; `matmul_reference` is that sentence as a loop.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/mat.h"
#include "core/parallel/team.h"

namespace plumb {

enum class WeightType : uint8_t {
  kF32,
  kBF16,  // round to nearest even when packed
  kI8,    // symmetric, one f32 scale per output row (max |w| / 127)
};
const char* weight_type_name(WeightType type);

// [n_out, n_in] weights in panels of 16 outputs, so that one load serves 16 chains:
//   f32, i8:  panel[k][16]
//   bf16:     panel[k / 2][16][2]   pairs of inputs side by side
// n_in is padded to 32 with zeros where the type is bf16: the depth of a hardware tile.
// n_out is padded to 16 with zero rows.
class PackedMatrix {
 public:
  static constexpr size_t kPanel = 16;

  PackedMatrix() = default;
  PackedMatrix(WeightType type, size_t n_out, size_t n_in);

  // Sets row `out`. Different panels (out / 16) may be set from different threads.
  void set_row(size_t out, std::span<const float> row);
  // Widens row `out` back to f32: the embedding lookup of a tied head.
  void get_row(size_t out, std::span<float> row) const;

  WeightType type() const { return type_; }
  size_t n_out() const { return n_out_; }
  size_t n_in() const { return n_in_; }
  size_t panel_count() const { return (n_out_ + kPanel - 1) / kPanel; }
  size_t bytes() const;  // of the packed weights and scales

  const float* f32_panel(size_t p) const { return f32_.data() + p * n_in_ * kPanel; }
  const BF16* bf16_panel(size_t p) const { return bf16_.data() + p * padded_in() * kPanel; }
  const int8_t* i8_panel(size_t p) const { return i8_.data() + p * n_in_ * kPanel; }
  const float* scales(size_t p) const { return scales_.data() + p * kPanel; }

  size_t padded_in() const { return (n_in_ + 31) / 32 * 32; }  // of a bf16 panel

 private:
  size_t row_start(size_t out) const;

  WeightType type_ = WeightType::kF32;
  size_t n_out_ = 0, n_in_ = 0;
  Mat<float> f32_;
  Mat<BF16> bf16_;
  Mat<int8_t> i8_;
  Mat<float> scales_;
};

enum class MatmulMode {
  kReplace,  // y = x W^T
  kAdd,      // y = y + x W^T, the sum of products formed first, then added once
};

// x [rows, n_in], y [rows, n_out]. REQUIRES x and y do not overlap.
void matmul(Team& team, MatView<const float> x, const PackedMatrix& w, MatView<float> y,
            MatmulMode mode = MatmulMode::kReplace);

// Panels [first, first + n) of it, whole ones, on the calling thread: y [rows, n * kPanel].
void matmul_panels(MatView<const float> x, const PackedMatrix& w, size_t first, size_t n, MatView<float> y);

// The definition, one output at a time.
void matmul_reference(MatView<const float> x, const PackedMatrix& w, MatView<float> y,
                      MatmulMode mode = MatmulMode::kReplace);

}  // namespace plumb
