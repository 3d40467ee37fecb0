// Deterministic test data.
#pragma once

#include "core/base/mat.h"
#include "core/base/rng.h"

namespace plumb::test {

inline Mat<float> random_mat(size_t rows, size_t cols, uint64_t seed, double scale = 1) {
  Mat<float> mat(rows, cols);
  for (size_t r = 0; r < rows; ++r)
    fill_normal({.seed = seed, .row = static_cast<uint32_t>(r)}, scale, {mat.row(r), cols});
  return mat;
}

// Bitwise equality of all elements, NaN included.
inline bool same_bits(const Mat<float>& a, const Mat<float>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace plumb::test
