#include "core/base/initial_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace plumb {
namespace {

constexpr size_t kDim = 512;
constexpr InitialStateScale kHuginn{.std = 0.008703882797784892, .emb_scale = 72.6636084983398};
constexpr InitialStateKind kAllKinds[] = {InitialStateKind::kLikeInit, InitialStateKind::kZero,
                                          InitialStateKind::kNormal, InitialStateKind::kEmbed,
                                          InitialStateKind::kUnit};

std::vector<float> row_of(InitialStateKind kind, const InitialStateScale& scale = kHuginn,
                          uint64_t seed = 0, uint32_t row = 0, uint32_t position = 0) {
  std::vector<float> out(kDim, -77.0F);
  fill_initial_row(kind, seed, row, position, scale, out);
  return out;
}

double mean(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double unbiased_std(const std::vector<float>& values) {
  double squares = 0.0;
  for (const float value : values) squares += std::pow(value - mean(values), 2);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

TEST(InitialState, NamesRoundTrip) {
  for (const InitialStateKind kind : kAllKinds)
    EXPECT_EQ(parse_initial_state(initial_state_name(kind)), kind);
  EXPECT_EQ(parse_initial_state("Zero"), std::nullopt);
  EXPECT_EQ(parse_initial_state(""), std::nullopt);
  EXPECT_EQ(initial_state_names(), "like-init, zero, normal, embed, unit");
}

TEST(InitialState, DependsOnSeedRowAndPositionOnly) {
  for (const InitialStateKind kind : kAllKinds) {
    if (kind == InitialStateKind::kZero) continue;
    const auto base = row_of(kind, kHuginn, 1, 2, 3);
    EXPECT_EQ(row_of(kind, kHuginn, 1, 2, 3), base);
    EXPECT_NE(row_of(kind, kHuginn, 2, 2, 3), base);
    EXPECT_NE(row_of(kind, kHuginn, 1, 3, 3), base);
    EXPECT_NE(row_of(kind, kHuginn, 1, 2, 4), base);
    EXPECT_NE(row_of(kind, kHuginn, 1, 3, 2), base) << "row and position must not be summed";
  }
}

TEST(InitialState, LikeInitIsTruncatedAtThreeScaledDeviations) {
  const double sigma = kHuginn.std * kHuginn.emb_scale;
  double largest = 0.0, squares = 0.0;
  for (uint32_t position = 0; position < 100; ++position)
    for (const float value : row_of(InitialStateKind::kLikeInit, kHuginn, 0, 0, position)) {
      largest = std::max(largest, std::fabs(double{value}));
      squares += double{value} * value;
    }
  EXPECT_LE(largest, 3.0 * sigma * (1 + 1e-7));
  EXPECT_GT(largest, 2.95 * sigma);
  // 0.9866 is the standard deviation that truncation at 3 leaves; five standard errors are granted.
  const double relative = std::sqrt(squares / (100.0 * kDim)) / sigma;
  EXPECT_NEAR(relative, 0.9866, 5.0 / std::sqrt(2.0 * 100 * kDim));
}

TEST(InitialState, EmbedIsNormalOverRootOfModelDim) {
  const auto normal = row_of(InitialStateKind::kNormal), embed = row_of(InitialStateKind::kEmbed);
  for (size_t i = 0; i < kDim; ++i)
    EXPECT_FLOAT_EQ(embed[i], normal[i] / std::sqrt(static_cast<float>(kDim)));
}

TEST(InitialState, UnitHasMeanZeroAndUnbiasedDeviationOne) {
  const auto unit = row_of(InitialStateKind::kUnit);
  EXPECT_NEAR(mean(unit), 0.0, 1e-7);
  EXPECT_NEAR(unbiased_std(unit), 1.0, 1e-6);
  EXPECT_GT(std::fabs(mean(row_of(InitialStateKind::kNormal))), 1e-4);
}

TEST(InitialState, InitScaleMultipliesEveryKind) {
  for (const InitialStateKind kind : kAllKinds) {
    InitialStateScale scaled = kHuginn;
    scaled.init_scale = 2.5;
    const auto one = row_of(kind), more = row_of(kind, scaled);
    for (size_t i = 0; i < kDim; ++i)
      EXPECT_NEAR(more[i], 2.5 * one[i], 2.5e-7 * std::fabs(one[i])) << initial_state_name(kind);
  }
}

TEST(InitialState, InitScaleZeroGivesZeros) {
  InitialStateScale none = kHuginn;
  none.init_scale = 0.0;
  for (const InitialStateKind kind : kAllKinds)
    EXPECT_EQ(row_of(kind, none), std::vector<float>(kDim, 0.0F)) << initial_state_name(kind);
}

TEST(InitialState, StdAndEmbScaleActOnLikeInitOnly) {
  const InitialStateScale plain{};
  EXPECT_NE(row_of(InitialStateKind::kLikeInit, plain), row_of(InitialStateKind::kLikeInit));
  for (const InitialStateKind kind : kAllKinds) {
    if (kind == InitialStateKind::kLikeInit) continue;
    EXPECT_EQ(row_of(kind, plain), row_of(kind));
  }
}

}  // namespace
}  // namespace plumb
