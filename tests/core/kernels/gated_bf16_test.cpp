#include "core/kernels/gated_bf16.h"

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

class GatedShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(GatedShapes, HasTheBitsOfItsThreePartsAtAnyNumberOfThreads) {
  const Shape& s = GetParam();
  const PackedMatrix gate_up = pack(WeightType::kBF16, random_mat(2 * s.ff_dim, s.n_in, 1)), down = pack(WeightType::kBF16, random_mat(s.n_out, s.ff_dim, 2));
  if (!can_gate_bf16(s.rows, gate_up)) GTEST_SKIP() << "no unit here";
  const Mat<float> x = random_mat(s.rows, s.n_in, 3), old = random_mat(s.rows, s.n_out, 4);
  Team two(2);
  Mat<float> wide(s.rows, 2 * s.ff_dim), hidden(s.rows, s.ff_dim);
  matmul_bf16(two, x, gate_up, wide);
  silu_gate(wide, hidden);
  for (const MatmulMode mode : {MatmulMode::kReplace, MatmulMode::kAdd}) {
    Mat<float> want = old;
    matmul_bf16(two, hidden, down, want, mode);
    for (const int threads : {1, 2, 3}) {
      Team team(threads);
      Mat<float> got = old;
      gated_bf16(team, x, gate_up, down, got, mode);
      EXPECT_TRUE(same_bits(got, want)) << threads;
    }
  }
}

// Whole and ragged tiles of rows, more rows than a task takes, an odd number of gate panels, odd inputs and outputs.
INSTANTIATE_TEST_SUITE_P(Shapes, GatedShapes,
                         ::testing::Values(Shape{16, 64, 64, 48}, Shape{33, 40, 48, 32}, Shape{130, 96, 176, 50},
                                           Shape{300, 33, 16, 16}, Shape{47, 128, 112, 7}));

TEST(GatedBf16, MayAddToItsOwnInput) {
  const PackedMatrix gate_up = pack(WeightType::kBF16, random_mat(64, 48, 1)), down = pack(WeightType::kBF16, random_mat(48, 32, 2));
  if (!can_gate_bf16(40, gate_up)) GTEST_SKIP() << "no unit here";
  Mat<float> x = random_mat(40, 48, 3), y = x;
  Team team(2);
  gated_bf16(team, x, gate_up, down, y, MatmulMode::kAdd);
  gated_bf16(team, x, gate_up, down, x, MatmulMode::kAdd);
  EXPECT_TRUE(same_bits(x, y));
}

TEST(GatedBf16, LeavesFewRowsAndRaggedHalvesToOthers) {
  EXPECT_FALSE(can_gate_bf16(15, PackedMatrix(WeightType::kBF16, 64, 32)));
  EXPECT_FALSE(can_gate_bf16(64, PackedMatrix(WeightType::kBF16, 48, 32)));
  EXPECT_FALSE(can_gate_bf16(64, PackedMatrix(WeightType::kF32, 64, 32)));
}

}  // namespace
}  // namespace plumb
