// Weights for the micro-benchmarks: any numbers, the same everywhere.
#pragma once

#include <vector>

#include "core/kernels/matmul.h"

namespace plumb {

inline std::vector<float> random_row(size_t r, size_t n) {
  std::vector<float> row(n);
  for (size_t c = 0; c < n; ++c)
    row[c] = static_cast<float>((r * 31 + c * 17) % 101) / 50.0F - 1.0F;
  return row;
}

inline PackedMatrix random_matrix(WeightType type, size_t n_out, size_t n_in) {
  PackedMatrix w(type, n_out, n_in);
  for (size_t r = 0; r < n_out; ++r) w.set_row(r, random_row(r, n_in));
  return w;
}

}  // namespace plumb
