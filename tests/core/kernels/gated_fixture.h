// A gated feed-forward in one call against its three parts.
#pragma once

#include <gtest/gtest.h>

#include "core/kernels/elementwise.h"
#include "tests/core/kernels/pack_fixture.h"

namespace plumb::test {

struct GatedShape {
  size_t rows, n_in, ff_dim, n_out;

  Mat<float> x() const { return random_mat(rows, n_in, 3); }
  PackedMatrix gate_up(WeightType type) const { return pack(type, random_mat(2 * ff_dim, n_in, 1)); }
  PackedMatrix down(WeightType type) const { return pack(type, random_mat(n_out, ff_dim, 2)); }
};

// multiply(team, x, weights, y, mode) is the product of either part, gated(team, x, gate_up, down, y, mode) all of it.
template <class Multiply, class Gated>
void expect_bits_of_parts(const GatedShape& s, WeightType type, Multiply&& multiply, Gated&& gated) {
  const PackedMatrix gate_up = s.gate_up(type), down = s.down(type);
  const Mat<float> x = s.x(), old = random_mat(s.rows, s.n_out, 4);
  Team two(2);
  Mat<float> wide(s.rows, 2 * s.ff_dim), hidden(s.rows, s.ff_dim);
  multiply(two, x, gate_up, wide, MatmulMode::kReplace);
  silu_gate(wide, hidden);
  for (const MatmulMode mode : {MatmulMode::kReplace, MatmulMode::kAdd}) {
    Mat<float> want = old;
    multiply(two, hidden, down, want, mode);
    for (const int threads : {1, 2, 3}) {
      Team team(threads);
      Mat<float> got = old;
      gated(team, x, gate_up, down, got, mode);
      EXPECT_TRUE(same_bits(got, want)) << weight_type_name(type) << ' ' << threads;
    }
  }
}

// y may be x.
template <class Gated>
void expect_may_add_to_its_input(WeightType type, Gated&& gated) {
  const GatedShape s{40, 48, 32, 48};
  const PackedMatrix gate_up = s.gate_up(type), down = s.down(type);
  Mat<float> x = s.x(), y = x;
  Team team(2);
  gated(team, x, gate_up, down, y, MatmulMode::kAdd);
  gated(team, x, gate_up, down, x, MatmulMode::kAdd);
  EXPECT_TRUE(same_bits(x, y));
}

}  // namespace plumb::test
