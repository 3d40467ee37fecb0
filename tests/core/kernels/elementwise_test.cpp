#include "core/kernels/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/kernels/rope.h"
#include "tests/support/random.h"

namespace plumb {
namespace {

using test::random_mat;

TEST(RmsNorm, DividesByTheRootMeanSquareThenWeights) {
  for (size_t n : {1, 7, 16, 65, 256, 1001}) {
    const Mat<float> x = random_mat(3, n, 1, 3);
    const Mat<float> weight = random_mat(1, n, 2);
    Mat<float> y(3, n);
    rms_norm(x, {weight.data(), n}, 1e-6F, y);
    for (size_t r = 0; r < 3; ++r) {
      double squares = 0;
      for (size_t c = 0; c < n; ++c) squares += static_cast<double>(x(r, c)) * x(r, c);
      const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-6);
      for (size_t c = 0; c < n; ++c) EXPECT_NEAR(y(r, c), x(r, c) * scale * weight(0, c), 1e-6 * (1 + std::fabs(y(r, c))));
    }
  }
}

TEST(RmsNorm, OfZerosIsZeros) {
  const Mat<float> x(2, 8);
  const std::vector<float> weight(8, 1.0F);
  Mat<float> y(2, 8);
  rms_norm(x, weight, 1e-6F, y);
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y.data()[i], 0.0F);
}

TEST(LayerNorm, HasMeanBiasAndDeviationWeight) {
  const Mat<float> x = random_mat(2, 33, 3, 5);
  const std::vector<float> weight(33, 2.0F), bias(33, 0.5F);
  Mat<float> y(2, 33);
  layer_norm(x, weight, bias, 0, y);
  double mean = 0, squares = 0;
  for (size_t c = 0; c < 33; ++c) mean += y(1, c) / 33;
  for (size_t c = 0; c < 33; ++c) squares += (y(1, c) - mean) * (y(1, c) - mean) / 33;
  EXPECT_NEAR(mean, 0.5, 1e-6);
  EXPECT_NEAR(std::sqrt(squares), 2, 1e-5);
}

TEST(SiluGate, MatchesItsFormulaFarOut) {
  Mat<float> gate_up(1, 26), out(1, 13);
  for (size_t c = 0; c < 13; ++c) {
    gate_up(0, c) = -120.0F + 20.0F * static_cast<float>(c);
    gate_up(0, 13 + c) = 1.5F;
  }
  silu_gate(gate_up, out);
  for (size_t c = 0; c < 13; ++c) {
    const double x = gate_up(0, c), want = x / (1 + std::exp(-x)) * 1.5;
    EXPECT_NEAR(out(0, c), want, 1e-6 + 1e-6 * std::fabs(want)) << x;
  }
}

TEST(Rope, BothLayoutsRotateTheSameAngles) {
  const RopeTable table(rope_frequencies(8, 10000), 4);
  const float *cos = nullptr, *sin = nullptr;
  std::vector<float> scratch(8);
  table.at(3, scratch, &cos, &sin);
  std::vector<float> half = {1, 2, 3, 4, 5, 6, 7, 8}, pairs = {1, 5, 2, 6, 3, 7, 4, 8};
  apply_rope(half, 1, 8, RopeLayout::kHalfSplit, cos, sin, 4);
  apply_rope(pairs, 1, 8, RopeLayout::kInterleaved, cos, sin, 4);
  for (size_t j = 0; j < 4; ++j) {
    EXPECT_EQ(half[j], pairs[2 * j]);
    EXPECT_EQ(half[j + 4], pairs[2 * j + 1]);
  }
  EXPECT_NEAR(half[0], std::cos(3.0) - 5 * std::sin(3.0), 1e-6);
}

TEST(Rope, VectorsAndTailsHaveTheBitsOfTheFormula) {
  constexpr size_t kHeads = 3, kHeadDim = 80, kHalf = 37;
  const Mat<float> x = test::random_mat(1, kHeads * kHeadDim, 5), angles = test::random_mat(2, kHalf, 6);
  const float* cos = angles.row(0);
  const float* sin = angles.row(1);
  for (const RopeLayout layout : {RopeLayout::kHalfSplit, RopeLayout::kInterleaved}) {
    Mat<float> got = x, want = x;
    apply_rope(got.view().row_span(0), kHeads, kHeadDim, layout, cos, sin, kHalf);
    const bool pairs = layout == RopeLayout::kInterleaved;
    for (size_t h = 0; h < kHeads; ++h)
      for (size_t j = 0; j < kHalf; ++j) {
        const size_t begin = h * kHeadDim + kHeadDim - 2 * kHalf;
        const size_t first = begin + (pairs ? 2 * j : j), second = begin + (pairs ? 2 * j + 1 : j + kHalf);
        want(0, first) = x(0, first) * cos[j] - x(0, second) * sin[j];
        want(0, second) = x(0, second) * cos[j] + x(0, first) * sin[j];
      }
    EXPECT_TRUE(test::same_bits(got, want));
  }
}

TEST(Rope, ComputesPastItsTableWhatTheTableWouldHold) {
  const RopeTable small(rope_frequencies(16, 500000, {.factor = 8}), 2), large(rope_frequencies(16, 500000, {.factor = 8}), 64);
  std::vector<float> scratch(16), other(16);
  const float *c1 = nullptr, *s1 = nullptr, *c2 = nullptr, *s2 = nullptr;
  small.at(63, scratch, &c1, &s1);
  large.at(63, other, &c2, &s2);
  for (size_t j = 0; j < 8; ++j) {
    EXPECT_EQ(c1[j], c2[j]);
    EXPECT_EQ(s1[j], s2[j]);
  }
}

TEST(Rope, Llama3ScalingDividesOnlyLongWavelengths) {
  const auto plain = rope_frequencies(64, 500000);
  const auto scaled = rope_frequencies(64, 500000, {.factor = 32, .low_freq_factor = 1, .high_freq_factor = 4, .original_context = 8192});
  EXPECT_EQ(plain.front(), scaled.front());
  EXPECT_FLOAT_EQ(plain.back() / 32, scaled.back());
}

}  // namespace
}  // namespace plumb
