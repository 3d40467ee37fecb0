#include "core/kernels/gated_bf16.h"

#include "tests/core/kernels/gated_fixture.h"

namespace plumb {
namespace {

void multiply(Team& team, const Mat<float>& x, const PackedMatrix& w, Mat<float>& y, MatmulMode mode) {
  matmul_bf16(team, x, w, y, mode);
}

class Bf16GatedShapes : public ::testing::TestWithParam<test::GatedShape> {};

TEST_P(Bf16GatedShapes, HasTheBitsOfItsThreePartsAtAnyNumberOfThreads) {
  if (!can_gate_bf16(GetParam().rows, GetParam().gate_up(WeightType::kBF16))) GTEST_SKIP() << "no unit here";
  test::expect_bits_of_parts(GetParam(), WeightType::kBF16, multiply, gated_bf16);
}

// Whole and ragged tiles of rows, more rows than a task takes, an odd number of gate panels, odd inputs and outputs.
INSTANTIATE_TEST_SUITE_P(Shapes, Bf16GatedShapes,
                         ::testing::Values(test::GatedShape{16, 64, 64, 48}, test::GatedShape{33, 40, 48, 32},
                                           test::GatedShape{130, 96, 176, 50}, test::GatedShape{300, 33, 16, 16},
                                           test::GatedShape{47, 128, 112, 7}));

TEST(GatedBf16, MayAddToItsOwnInput) {
  if (!can_gate_bf16(40, PackedMatrix(WeightType::kBF16, 64, 48))) GTEST_SKIP() << "no unit here";
  test::expect_may_add_to_its_input(WeightType::kBF16, gated_bf16);
}

TEST(GatedBf16, LeavesFewRowsAndRaggedHalvesToOthers) {
  EXPECT_FALSE(can_gate_bf16(15, PackedMatrix(WeightType::kBF16, 64, 32)));
  EXPECT_FALSE(can_gate_bf16(64, PackedMatrix(WeightType::kBF16, 48, 32)));
  EXPECT_FALSE(can_gate_bf16(64, PackedMatrix(WeightType::kF32, 64, 32)));
}

}  // namespace
}  // namespace plumb
