// Packed weights from plain rows.
#pragma once

#include "core/kernels/matmul.h"
#include "tests/support/random.h"

namespace plumb::test {

inline PackedMatrix pack(WeightType type, const Mat<float>& w) {
  PackedMatrix packed(type, w.rows(), w.cols());
  for (size_t r = 0; r < w.rows(); ++r) packed.set_row(r, {w.row(r), w.cols()});
  return packed;
}

}  // namespace plumb::test
