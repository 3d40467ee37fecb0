#include "core/kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/kernels/pack_fixture.h"

namespace plumb {
namespace {

using test::pack;
using test::random_mat;
using test::same_bits;

struct Case {
  WeightType type;
  size_t rows, n_out, n_in;
};

class MatmulCases : public ::testing::TestWithParam<Case> {};

// Shapes around every edge: ragged panels, odd inputs, more inputs than a block, single rows.
TEST_P(MatmulCases, EqualsTheReferenceBitForBit) {
  const Case& c = GetParam();
  const Mat<float> x = random_mat(c.rows, c.n_in, 1);
  const PackedMatrix w = pack(c.type, random_mat(c.n_out, c.n_in, 2));
  for (MatmulMode mode : {MatmulMode::kReplace, MatmulMode::kAdd}) {
    Mat<float> want = random_mat(c.rows, c.n_out, 3), got = want;
    matmul_reference(x, w, want, mode);
    Team team(2);
    matmul(team, x, w, got, mode);
    EXPECT_TRUE(same_bits(want, got));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, MatmulCases,
    ::testing::Values(Case{WeightType::kF32, 1, 64, 48}, Case{WeightType::kF32, 1, 200, 1027}, Case{WeightType::kF32, 7, 33, 65},
                      Case{WeightType::kF32, 13, 1, 3}, Case{WeightType::kF32, 200, 96, 40}, Case{WeightType::kF32, 2, 17, 2049}, Case{WeightType::kF32, 30, 48, 2101},
                      Case{WeightType::kBF16, 1, 130, 257}, Case{WeightType::kBF16, 5, 48, 1500}, Case{WeightType::kBF16, 30, 31, 7}, Case{WeightType::kBF16, 14, 32, 4100}, Case{WeightType::kI8, 20, 16, 2100},
                      Case{WeightType::kI8, 1, 144, 77}, Case{WeightType::kI8, 6, 20, 1100}, Case{WeightType::kI8, 25, 40, 33}));

TEST(Matmul, RowsDoNotDependOnTheirCompanyOrTheThreads) {
  const Mat<float> x = random_mat(37, 300, 4);
  const PackedMatrix w = pack(WeightType::kF32, random_mat(70, 300, 5));
  Mat<float> together(37, 70), alone(37, 70);
  Team one(1), three(3);
  matmul(three, x, w, together);
  for (size_t r = 0; r < x.rows(); ++r) matmul(one, x.view().rows_from(r, 1), w, alone.view().rows_from(r, 1));
  EXPECT_TRUE(same_bits(together, alone));
}

TEST(PackedMatrix, GivesBackItsRows) {
  const Mat<float> w = random_mat(19, 21, 6);
  std::vector<float> row(21);
  pack(WeightType::kF32, w).get_row(18, row);
  for (size_t c = 0; c < 21; ++c) EXPECT_EQ(row[c], w(18, c));
  pack(WeightType::kBF16, w).get_row(17, row);
  for (size_t c = 0; c < 21; ++c) EXPECT_EQ(row[c], f32_from_bf16(bf16_from_f32(w(17, c))));
  pack(WeightType::kI8, w).get_row(3, row);
  float largest = 0;
  for (size_t c = 0; c < 21; ++c) largest = std::max(largest, std::fabs(w(3, c)));
  for (size_t c = 0; c < 21; ++c) EXPECT_NEAR(row[c], w(3, c), largest / 127 * 0.5001);
}

TEST(PackedMatrix, AZeroRowStaysZeroInInt8) {
  const Mat<float> w(3, 8);
  std::vector<float> row(8, 1.0F);
  pack(WeightType::kI8, w).get_row(1, row);
  for (float value : row) EXPECT_EQ(value, 0.0F);
}

}  // namespace
}  // namespace plumb
