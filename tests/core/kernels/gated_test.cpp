#include "core/kernels/gated.h"

#include "tests/core/kernels/gated_fixture.h"

namespace plumb {
namespace {

void gate(Team& team, const Mat<float>& x, const PackedMatrix& gate_up, const PackedMatrix& down, Mat<float>& y,
          MatmulMode mode) {
  Mat<float> hidden(x.rows(), down.n_in());
  gated(team, x, gate_up, down, hidden, y, mode);
}

class GatedShapes : public ::testing::TestWithParam<test::GatedShape> {};

TEST_P(GatedShapes, HasTheBitsOfItsThreePartsAtAnyNumberOfThreads) {
  for (const WeightType type : {WeightType::kF32, WeightType::kI8})
    test::expect_bits_of_parts(GetParam(), type, matmul, gate);
}

// No row, one, few, whole and ragged tiles of rows, more rows than a task takes, an odd number of
// gate panels, odd inputs and outputs.
INSTANTIATE_TEST_SUITE_P(Shapes, GatedShapes,
                         ::testing::Values(test::GatedShape{0, 64, 64, 48}, test::GatedShape{1, 64, 704, 48},
                                           test::GatedShape{5, 40, 48, 32}, test::GatedShape{15, 96, 176, 50},
                                           test::GatedShape{33, 64, 64, 48}, test::GatedShape{601, 33, 16, 16},
                                           test::GatedShape{47, 128, 112, 7}));

TEST(Gated, MayAddToItsOwnInput) { test::expect_may_add_to_its_input(WeightType::kF32, gate); }

TEST(Gated, LeavesRaggedHalvesToOthers) {
  EXPECT_TRUE(can_gate(PackedMatrix(WeightType::kF32, 64, 32)));
  EXPECT_FALSE(can_gate(PackedMatrix(WeightType::kF32, 48, 32)));
}

}  // namespace
}  // namespace plumb
