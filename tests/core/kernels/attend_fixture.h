// Keys and values of a made-up cache.
#pragma once

#include <cmath>

#include "core/kernels/attend.h"
#include "tests/support/random.h"

namespace plumb::test {

struct AttendCase {
  size_t rows, before, n_heads, n_kv_heads, head_dim, window;
  size_t first_key = 0;

  AttentionShape shape() const {
    return {n_heads, n_kv_heads, head_dim, 1 / std::sqrt(static_cast<float>(head_dim))};
  }
};

struct Kv {
  Mat<float> keys, values;
  KvView view() const { return {keys.data(), values.data(), values.cols(), values.cols()}; }
};

// What lies beside the `n` keys is no number.
inline Kv make_kv(size_t n, size_t kv_dim, uint64_t seed) {
  Kv kv{Mat<float>((n + 15) / 16, kv_dim * 16), random_mat(n, kv_dim, seed)};
  kv.keys.fill(std::nanf(""));
  const Mat<float> keys = random_mat(n, kv_dim, seed + 1);
  for (size_t p = 0; p < n; ++p) put_key(kv.keys.data(), kv_dim, p, {keys.row(p), kv_dim});
  return kv;
}

}  // namespace plumb::test
