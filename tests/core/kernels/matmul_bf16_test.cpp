#include "core/kernels/matmul_bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/core/kernels/pack_fixture.h"

namespace plumb {
namespace {

using test::pack;
using test::random_mat;
using test::same_bits;

constexpr Bf16Unit kUnits[] = {Bf16Unit::kWiden, Bf16Unit::kDots, Bf16Unit::kTiles};

struct Shape {
  size_t rows, n_out, n_in;
};

double rounded(float x) { return f32_from_bf16(bf16_from_f32(x)); }

// Products of bf16 are exact in f32; a sum of n of them is off by at most n eps sum |product|.
void expect_close(const Mat<float>& x, const Mat<float>& w, const Mat<float>& old, MatmulMode mode,
                  const Mat<float>& got, Bf16Unit unit) {
  double worst = 0;
  for (size_t r = 0; r < x.rows(); ++r)
    for (size_t out = 0; out < w.rows(); ++out) {
      double sum = 0, size = 0;
      for (size_t k = 0; k < x.cols(); ++k) {
        const double product = rounded(x(r, k)) * rounded(w(out, k));
        sum += product;
        size += std::fabs(product);
      }
      if (mode == MatmulMode::kAdd)
        sum += static_cast<double>(old(r, out)), size += std::fabs(old(r, out));
      const double bound = static_cast<double>(x.cols() + 1) * 6e-8 * size + 1e-30;
      worst = std::max(worst, std::fabs(static_cast<double>(got(r, out)) - sum) / bound);
    }
  EXPECT_LE(worst, 1.0) << bf16_unit_name(unit);
}

class Bf16Shapes : public ::testing::TestWithParam<Shape> {};

TEST_P(Bf16Shapes, EveryUnitOfThisMachineStaysWithinTheRoundingOfItsSums) {
  const Shape& s = GetParam();
  const Mat<float> x = random_mat(s.rows, s.n_in, 11), w = random_mat(s.n_out, s.n_in, 12);
  const PackedMatrix packed = pack(WeightType::kBF16, w);
  for (const Bf16Unit unit : kUnits) {
    if (!available(unit)) continue;
    for (const MatmulMode mode : {MatmulMode::kReplace, MatmulMode::kAdd}) {
      const Mat<float> old = random_mat(s.rows, s.n_out, 13);
      Mat<float> got = old;
      Team team(2);
      matmul_bf16(team, x, packed, got, mode, unit);
      expect_close(x, w, old, mode, got, unit);
    }
  }
}

// Around every edge: single rows, ragged row tiles, ragged panels, odd panel counts, odd inputs.
INSTANTIATE_TEST_SUITE_P(Shapes, Bf16Shapes,
                         ::testing::Values(Shape{1, 64, 64}, Shape{1, 200, 77}, Shape{3, 16, 32},
                                           Shape{4, 48, 33}, Shape{15, 65, 100}, Shape{16, 80, 64},
                                           Shape{17, 33, 31}, Shape{32, 32, 32}, Shape{48, 47, 96},
                                           Shape{70, 130, 257}, Shape{200, 96, 40},
                                           Shape{13, 1, 3}));

TEST(MatmulBf16, ThreadsChangeNoBit) {
  const Mat<float> x = random_mat(67, 160, 21);
  const PackedMatrix w = pack(WeightType::kBF16, random_mat(300, 160, 22));
  for (const Bf16Unit unit : kUnits) {
    if (!available(unit)) continue;
    Mat<float> one(67, 300), three(67, 300);
    Team alone(1), together(3);
    matmul_bf16(alone, x, w, one, MatmulMode::kReplace, unit);
    matmul_bf16(together, x, w, three, MatmulMode::kReplace, unit);
    EXPECT_TRUE(same_bits(one, three)) << bf16_unit_name(unit);
  }
}

TEST(MatmulBf16, WritesNothingBesideAViewOfItsOutput) {
  const Mat<float> x = random_mat(40, 64, 31);
  const PackedMatrix w = pack(WeightType::kBF16, random_mat(37, 64, 32));
  for (const Bf16Unit unit : kUnits) {
    if (!available(unit)) continue;
    Mat<float> wide(40, 64);
    wide.fill(7);
    Team team(2);
    matmul_bf16(team, x, w, wide.view().cols_from(5, 37), MatmulMode::kReplace, unit);
    for (size_t r = 0; r < 40; ++r)
      for (size_t c = 0; c < 64; ++c)
        if (c < 5 || c >= 42) {
          EXPECT_EQ(wide(r, c), 7) << bf16_unit_name(unit);
        }
  }
}

TEST(MatmulBf16, RoundsRowsAsTheScalarConversionDoes) {
  std::vector<float> row;
  for (uint32_t i = 0; i < 3000; ++i) {
    const uint32_t bits = i * 1431655u ^ (i << 20);
    float value;
    static_assert(sizeof(value) == sizeof(bits));
    std::memcpy(&value, &bits, sizeof(value));
    row.push_back(value);
  }
  row.insert(row.end(), {0.0F, -0.0F, std::numeric_limits<float>::infinity(), std::nanf(""),
                         std::numeric_limits<float>::max(), 1.00390625F, 1.01171875F});
  std::vector<BF16> rounded_row(row.size());
  round_row_to_bf16(row, rounded_row.data());
  for (size_t i = 0; i < row.size(); ++i)
    EXPECT_EQ(rounded_row[i].bits, bf16_from_f32(row[i]).bits) << row[i];
}

}  // namespace
}  // namespace plumb
