#include "core/model/blocks.h"

#include <gtest/gtest.h>

#include "core/kernels/attend_bf16.h"
#include "tests/support/random.h"

namespace plumb {
namespace {

using test::random_mat;
using test::same_bits;

TEST(AttendLike, RoundsExactlyWhereTheProjectionDoes) {
  constexpr size_t kRows = 40, kDim = 64;
  const AttentionShape shape{2, 2, 32, 0.2F};
  const Mat<float> q = random_mat(kRows, kDim, 1), k = random_mat(kRows, kDim, 2), v = random_mat(kRows, kDim, 3);
  Mat<float> panels((kRows + kKeyPanel - 1) / kKeyPanel, kDim * kKeyPanel);
  for (size_t i = 0; i < kRows; ++i) put_key(panels.data(), kDim, i, {k.row(i), kDim});
  Team team(2);
  const auto run = [&](auto&& how) {
    Mat<float> out(kRows, kDim);
    const AttentionJob job{q, out, {panels.data(), v.data(), kDim, kDim}};
    how(std::span<const AttentionJob>(&job, 1));
    return out;
  };
  const auto like = [&](WeightType type, bool rounds) {
    const Linear projection{PackedMatrix(type, 16, 16), rounds};
    return run([&](auto jobs) { attend_like(projection, team, shape, jobs); });
  };
  const Mat<float> exact = run([&](auto jobs) { attend(team, shape, jobs); });
  const Mat<float> rounded = run([&](auto jobs) { attend_bf16(team, shape, jobs); });
  for (const WeightType type : {WeightType::kF32, WeightType::kBF16, WeightType::kI8})
    EXPECT_TRUE(same_bits(like(type, false), exact)) << weight_type_name(type);
  EXPECT_TRUE(same_bits(like(WeightType::kBF16, true), rounded));
}

}  // namespace
}  // namespace plumb
