#include "core/base/torch_rng.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace plumb {
namespace {

// MT19937 (Matsumoto and Nishimura, 1998).
constexpr size_t kStateSize = 624, kMiddle = 397;
constexpr uint32_t kTwist = 0x9908B0DF, kUpperBit = 0x80000000, kLowerBits = 0x7FFFFFFF;
constexpr uint32_t kSeedMultiplier = 1812433253;

uint32_t twisted(uint32_t upper, uint32_t lower, uint32_t middle) {
  const uint32_t joined = (upper & kUpperBit) | (lower & kLowerBits);
  return middle ^ (joined >> 1) ^ ((joined & 1) != 0 ? kTwist : 0);
}

double unit_from_u64(uint64_t bits) {
  return static_cast<double>(bits & ((uint64_t{1} << 53) - 1)) * 0x1p-53;
}

// torch transforms normals in groups of 16: the first eight uniforms become radii, the last eight
// angles, and cosines land in the first half. Single precision at each step, as torch does it.
constexpr size_t kGroup = 16, kHalf = kGroup / 2;

void box_muller_group(float mean, float std, float* group) {
  constexpr float kTwoPi = 2.0F * std::numbers::pi_v<float>;
  for (size_t i = 0; i < kHalf; ++i) {
    const double log_u = std::log(static_cast<double>(1.0F - group[i]));
    const float radius = std::sqrt(static_cast<float>(-2.0 * log_u));
    const double angle = kTwoPi * group[i + kHalf];
    group[i] = radius * static_cast<float>(std::cos(angle)) * std + mean;
    group[i + kHalf] = radius * static_cast<float>(std::sin(angle)) * std + mean;
  }
}

double normal_cdf(double x) { return (1.0 + std::erf(x / std::numbers::sqrt2)) / 2.0; }

}  // namespace

TorchGenerator::TorchGenerator(uint64_t seed) : next_(kStateSize) {
  state_[0] = static_cast<uint32_t>(seed);
  for (uint32_t i = 1; i < kStateSize; ++i)
    state_[i] = kSeedMultiplier * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
}

void TorchGenerator::refill() {
  for (size_t i = 0; i < kStateSize; ++i)
    state_[i] =
        twisted(state_[i], state_[(i + 1) % kStateSize], state_[(i + kMiddle) % kStateSize]);
  next_ = 0;
}

uint32_t TorchGenerator::random_u32() {
  if (next_ == kStateSize) refill();
  uint32_t word = state_[next_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9D2C5680;
  word ^= (word << 15) & 0xEFC60000;
  return word ^ (word >> 18);
}

uint64_t TorchGenerator::random_u64() {
  const uint64_t upper = random_u32();
  return upper << 32 | random_u32();
}

// A float uniform is the LOW 24 bits of a word. The range is stretched in double precision, with
// the ends first rounded to float.
void TorchGenerator::fill_uniform(double from, double to, std::span<float> tensor) {
  const float start = static_cast<float>(from);
  const double width = static_cast<float>(to) - start;
  for (float& value : tensor) {
    const double unit = static_cast<double>(random_u32() & 0xFFFFFF) * 0x1p-24;
    value = static_cast<float>(unit * width + start);
  }
}

void TorchGenerator::fill_unit_uniform(std::span<float> tensor) { fill_uniform(0.0, 1.0, tensor); }

double TorchGenerator::next_normal() {
  if (spare_normal_.has_value()) {
    const double spare = *spare_normal_;
    spare_normal_.reset();
    return spare;
  }
  const double angle = 2.0 * std::numbers::pi * unit_from_u64(random_u64());
  const double radius = std::sqrt(-2.0 * std::log1p(-unit_from_u64(random_u64())));
  spare_normal_ = radius * std::sin(angle);
  return radius * std::cos(angle);
}

// Fewer than 16 elements are drawn one by one in double precision. Otherwise the tensor is filled
// with uniforms and transformed in groups; a last incomplete group is dealt with by drawing and
// transforming the last 16 elements afresh, over whatever the full groups left there.
void TorchGenerator::fill_normal(double mean, double std, std::span<float> tensor) {
  if (tensor.size() < kGroup) {
    for (float& value : tensor) value = static_cast<float>(next_normal() * std + mean);
    return;
  }
  const float mean_f32 = static_cast<float>(mean), std_f32 = static_cast<float>(std);
  fill_unit_uniform(tensor);
  for (size_t i = 0; i + kGroup <= tensor.size(); i += kGroup)
    box_muller_group(mean_f32, std_f32, tensor.data() + i);
  if (tensor.size() % kGroup == 0) return;
  const std::span<float> last = tensor.last(kGroup);
  fill_unit_uniform(last);
  box_muller_group(mean_f32, std_f32, last.data());
}

void TorchGenerator::fill_trunc_normal(TorchTruncNormal method, double std, double bound,
                                       std::span<float> tensor) {
  PLUMB_CHECK(std > 0.0 && bound >= 0.4 * std);
  if (method == TorchTruncNormal::kInverseCdf)
    trunc_normal_by_inverse(std, bound, tensor);
  else
    trunc_normal_by_rejection(std, bound, tensor);
}

void TorchGenerator::trunc_normal_by_inverse(double std, double bound, std::span<float> tensor) {
  fill_uniform(2.0 * normal_cdf(-bound / std) - 1.0, 2.0 * normal_cdf(bound / std) - 1.0, tensor);
  const float factor = static_cast<float>(std * std::numbers::sqrt2);
  const float limit = static_cast<float>(bound);
  for (float& value : tensor)
    value = std::clamp(static_cast<float>(erf_inv(value)) * factor, -limit, limit);
}

void TorchGenerator::trunc_normal_by_rejection(double std, double bound, std::span<float> tensor) {
  const float limit = static_cast<float>(bound);
  const auto outside = [limit](float value) { return value < -limit || value > limit; };
  fill_normal(0.0, std, tensor);
  std::vector<float> fresh(tensor.size());
  // Each round redraws as many numbers as the tensor has and keeps those for the entries outside.
  while (std::ranges::any_of(tensor, outside)) {
    fill_normal(0.0, std, fresh);
    for (size_t i = 0; i < tensor.size(); ++i)
      if (outside(tensor[i])) tensor[i] = fresh[i];
  }
}

Mat<float> torch_initial_state(uint64_t seed, size_t batch, size_t n_tokens, size_t model_dim,
                               const InitialStateScale& scale, TorchTruncNormal method) {
  Mat<float> state(batch * n_tokens, model_dim);
  const double std = scale.std * scale.init_scale;
  if (!(std > 0.0)) return state;
  const std::span<float> all(state.data(), state.size());
  TorchGenerator generator(seed);
  generator.fill_normal(0.0, 1.0, all);
  generator.fill_trunc_normal(method, std, 3.0 * std, all);
  const float emb_scale = static_cast<float>(scale.emb_scale);
  for (float& value : all) value *= emb_scale;
  return state;
}

}  // namespace plumb
