#include "core/kernels/bf16_rounding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/random.h"

namespace plumb {
namespace {

using test::random_mat;

TEST(Bf16Rounding, ARowRoundsAsTheScalarConversionDoesAndEndsInZeros) {
  if (!dot_unit_available()) GTEST_SKIP() << "no unit here";
  for (const size_t n : {1, 16, 31, 32, 50, 97}) {
    const Mat<float> x = random_mat(17, n, n);
    const size_t depth = (n + 31) / 32 * 32;
    Mat<BF16> tiles(32, depth), rows(32, depth);
    for (size_t r = 0; r < 17; ++r)
      for (auto& [unit, target] : {std::pair{Bf16Unit::kTiles, &tiles}, {Bf16Unit::kDots, &rows}})
        round_chunks(x.row(r), n, depth, chunk_step(unit), rounded_row(unit, *target, r));
    for (size_t r = 0; r < 17; ++r)
      for (size_t c = 0; c < depth; ++c) {
        const uint16_t want = c < n ? bf16_from_f32(x(r, c)).bits : 0;
        const BF16 tile = tiles.data()[r / 16 * 16 * depth + c / 32 * 512 + r % 16 * 32 + c % 32];
        ASSERT_EQ(tile.bits, want) << n << " " << r << " " << c;
        ASSERT_EQ(rows(r, c).bits, want) << n << " " << r << " " << c;
      }
  }
}

TEST(Bf16Rounding, SoftmaxWeightsAreRoundedPowersAndAddUpToTheirSum) {
  if (!dot_unit_available()) GTEST_SKIP() << "no unit here";
  constexpr size_t kKeys = 96, kBegin = 5, kEnd = 83;
  Mat<float> scores = random_mat(1, kKeys, 3, 60);
  const Mat<float> given = scores;
  Mat<BF16> tiles(16, kKeys);
  const float sum = softmax_chunks(scores.data(), kBegin, kEnd, kKeys, 0.7F, 512, tiles.data());
  double top = -1e30, total = 0;
  for (size_t j = kBegin; j < kEnd; ++j) top = std::max(top, static_cast<double>(given(0, j)));
  for (size_t j = 0; j < kKeys; ++j) {
    const float got = f32_from_bf16(tiles.data()[j / 32 * 512 + j % 32]);
    const double want = j < kBegin || j >= kEnd ? 0 : std::exp2((given(0, j) - top) * 0.7);
    EXPECT_NEAR(got, want, want / 256 + 1e-38) << j;
    total += got;
  }
  EXPECT_NEAR(sum, total, 1e-6 * total);
}

}  // namespace
}  // namespace plumb
