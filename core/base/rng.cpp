#include "core/base/rng.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "core/base/check.h"

namespace plumb {
namespace {

// Round multipliers of the two halves, and what is added to the key after a round (the golden
// ratio and sqrt(3) - 1, as 32-bit fractions).
constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

constexpr uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
constexpr uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }

// Two 64-bit draws fit in one block of four words: draw `index` is half `index % 2` of block
// `index / 2`.
//
//   counter  | block | position | row | step << 8 | stream |
std::array<uint64_t, 2> draw_block(const DrawKey& key, uint64_t block) {
  PLUMB_CHECK(block <= std::numeric_limits<uint32_t>::max());
  PLUMB_CHECK(key.step < (uint32_t{1} << 24));
  const uint32_t purpose = key.step << 8 | static_cast<uint32_t>(key.stream);
  const auto words =
      philox4x32({low(block), key.position, key.row, purpose}, {low(key.seed), high(key.seed)});
  return {uint64_t{words[1]} << 32 | words[0], uint64_t{words[3]} << 32 | words[2]};
}

// The midpoints of 2^53 equal cells of (-1, 1): odd multiples of 2^-53, all exact, never an end.
double symmetric_open(uint64_t bits) {
  constexpr int64_t kCells = int64_t{1} << 53;
  return static_cast<double>(2 * static_cast<int64_t>(bits >> 11) + 1 - kCells) * 0x1p-53;
}

template <class MakeValue>
void fill_draws(const DrawKey& key, std::span<float> target, MakeValue make_value) {
  for (size_t i = 0; i < target.size(); i += 2) {
    const auto draws = draw_block(key, i / 2);
    target[i] = make_value(draws[0]);
    if (i + 1 < target.size()) target[i + 1] = make_value(draws[1]);
  }
}

float top_24_bits(uint64_t bits) { return static_cast<float>(bits >> 40) * 0x1p-24F; }

template <size_t kSize>
double polynomial(const std::array<double, kSize>& coefficients, double x) {
  double sum = 0.0;
  for (size_t i = kSize; i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

// erf_inv(x) / x as a polynomial of w = -log(1 - x^2) up to w = 5, and of sqrt(w) beyond. Weighted
// least squares at 200 Chebyshev nodes; relative error 3.3e-7 and 3.4e-5, which the steps below
// reduce to rounding.
constexpr double kTailStart = 5.0;
constexpr std::array<double, 8> kCentre = {0.886226633635,     0.232022696093,     0.0115042915545,
                                           -0.00225000694205,  -0.000207027586813, 8.6470690967e-05,
                                           -8.91903282854e-06, 3.28283398235e-07};
constexpr std::array<double, 7> kTail = {1.10742667399,    -0.773900191341, 1.01742323396,
                                         -0.309124105408,  0.052577748294,  -0.00473390246701,
                                         0.000175957328904};

// One Halley step for erf(y) = x, 0 < x < 1: with f = erf - x, f'' = -2y f'. Beyond one half the
// complement is used, because there 1 - x is exact and erf(y) - x would cancel.
double halley_step(double y, double x) {
  const double residual = x < 0.5 ? std::erf(y) - x : (1.0 - x) - std::erfc(y);
  const double slope = 2.0 * std::numbers::inv_sqrtpi * std::exp(-y * y);
  const double newton = residual / slope;
  return y - newton / (1.0 + y * newton);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1),
               high(product0) ^ counter[3] ^ key[1], low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

uint64_t random_bits(const DrawKey& key, uint64_t index) {
  return draw_block(key, index / 2)[index % 2];
}

float uniform_float(const DrawKey& key, uint64_t index) {
  return top_24_bits(random_bits(key, index));
}

double uniform_double(const DrawKey& key, uint64_t index) {
  return static_cast<double>(random_bits(key, index) >> 11) * 0x1p-53;
}

uint64_t uniform_below(const DrawKey& key, uint64_t index, uint64_t bound) {
  PLUMB_CHECK(bound > 0);
  // floor(bits * bound / 2^64) from 32-bit halves; the sum of the middle terms cannot overflow.
  const uint64_t bits = random_bits(key, index);
  const uint64_t cross = uint64_t{high(bits)} * low(bound) + high(uint64_t{low(bits)} * low(bound));
  const uint64_t middle = uint64_t{low(bits)} * high(bound) + low(cross);
  return uint64_t{high(bits)} * high(bound) + high(cross) + high(middle);
}

double standard_normal(const DrawKey& key, uint64_t index) {
  return std::numbers::sqrt2 * erf_inv(symmetric_open(random_bits(key, index)));
}

void fill_uniform(const DrawKey& key, std::span<float> target) {
  fill_draws(key, target, top_24_bits);
}

void fill_normal(const DrawKey& key, double scale, std::span<float> target) {
  fill_draws(key, target, [scale](uint64_t bits) {
    return static_cast<float>(scale * std::numbers::sqrt2 * erf_inv(symmetric_open(bits)));
  });
}

void fill_truncated_normal(const DrawKey& key, double scale, double cut, std::span<float> target) {
  PLUMB_CHECK(cut > 0.0);
  // P(|z| < cut) = erf(cut / sqrt(2)): shrinking the uniform to that range truncates exactly.
  const double mass = std::erf(cut / std::numbers::sqrt2);
  fill_draws(key, target, [=](uint64_t bits) {
    return static_cast<float>(scale * std::numbers::sqrt2 * erf_inv(mass * symmetric_open(bits)));
  });
}

double erf_inv(double x) {
  const double magnitude = std::fabs(x);
  if (!(magnitude <= 1.0)) return std::numeric_limits<double>::quiet_NaN();
  if (magnitude == 1.0) return std::copysign(std::numeric_limits<double>::infinity(), x);
  if (magnitude == 0.0) return x;
  const double w = -std::log((1.0 - magnitude) * (1.0 + magnitude));
  double y = magnitude;
  if (w < kTailStart) {
    y = halley_step(y * polynomial(kCentre, w), magnitude);
  } else {
    y = halley_step(y * polynomial(kTail, std::sqrt(w)), magnitude);
    y = halley_step(y, magnitude);
  }
  return std::copysign(y, x);
}

}  // namespace plumb
