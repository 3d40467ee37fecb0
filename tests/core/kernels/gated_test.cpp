#include "core/kernels/gated.h"

#include <gtest/gtest.h>

#include "core/kernels/elementwise.h"
#include "tests/core/kernels/pack_fixture.h"

namespace plumb {
namespace {

using test::pack;
using test::random_mat;
using test::same_bits;

struct Shape {
  size_t rows, n_in, ff_dim, n_out;
};

class ExactGatedShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(ExactGatedShapes, HasTheBitsOfItsThreePartsAtAnyNumberOfThreads) {
  const Shape& s = GetParam();
  const Mat<float> x = random_mat(s.rows, s.n_in, 3), old = random_mat(s.rows, s.n_out, 4);
  for (const WeightType type : {WeightType::kF32, WeightType::kI8}) {
    const PackedMatrix gate_up = pack(type, random_mat(2 * s.ff_dim, s.n_in, 1)),
                       down = pack(type, random_mat(s.n_out, s.ff_dim, 2));
    ASSERT_TRUE(can_gate(gate_up));
    Team one(1);
    Mat<float> wide(s.rows, 2 * s.ff_dim), hidden(s.rows, s.ff_dim);
    matmul(one, x, gate_up, wide);
    silu_gate(wide, hidden);
    for (const MatmulMode mode : {MatmulMode::kReplace, MatmulMode::kAdd}) {
      Mat<float> want = old;
      matmul(one, hidden, down, want, mode);
      for (const int threads : {1, 2, 3}) {
        Team team(threads);
        Mat<float> got = old, middle(s.rows, s.ff_dim);
        gated(team, x, gate_up, down, middle, got, mode);
        EXPECT_TRUE(same_bits(got, want)) << threads;
        EXPECT_TRUE(same_bits(middle, hidden)) << threads;
      }
    }
  }
}

// No row, one, few, whole and ragged tiles of rows, more rows than a task takes, an odd number of gate
// panels, odd inputs and outputs.
INSTANTIATE_TEST_SUITE_P(Shapes, ExactGatedShapes,
                         ::testing::Values(Shape{0, 64, 64, 48}, Shape{1, 64, 704, 48}, Shape{5, 40, 48, 32}, Shape{15, 96, 176, 50},
                                           Shape{33, 64, 64, 48}, Shape{301, 33, 16, 16}, Shape{47, 128, 112, 7}));

TEST(Gated, MayAddToItsOwnInput) {
  const PackedMatrix gate_up = pack(WeightType::kF32, random_mat(64, 48, 1)),
                     down = pack(WeightType::kF32, random_mat(48, 32, 2));
  Mat<float> x = random_mat(40, 48, 3), y = x, hidden(40, 32);
  Team team(2);
  gated(team, x, gate_up, down, hidden, y, MatmulMode::kAdd);
  gated(team, x, gate_up, down, hidden, x, MatmulMode::kAdd);
  EXPECT_TRUE(same_bits(x, y));
}

TEST(Gated, LeavesRaggedHalvesToOthers) {
  EXPECT_TRUE(can_gate(PackedMatrix(WeightType::kF32, 64, 32)));
  EXPECT_FALSE(can_gate(PackedMatrix(WeightType::kF32, 48, 32)));
}

}  // namespace
}  // namespace plumb
