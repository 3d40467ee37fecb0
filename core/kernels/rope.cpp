#include "core/kernels/rope.h"

#include <cmath>
#include <numbers>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/rope.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Turns n pairs by their angles. A product and a sum are never fused here, in vectors as in the
// tail.
template <bool kInterleaved>
HWY_INLINE void turn_pairs(float* x, size_t n, const float* cos, const float* sin) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    auto a = hn::Zero(d), b = a;
    if constexpr (kInterleaved) {
      hn::LoadInterleaved2(d, x + 2 * j, a, b);
    } else {
      a = hn::LoadU(d, x + j);
      b = hn::LoadU(d, x + j + n);
    }
    const auto c = hn::LoadU(d, cos + j), s = hn::LoadU(d, sin + j);
    const auto first = hn::Sub(hn::Mul(a, c), hn::Mul(b, s));
    const auto second = hn::Add(hn::Mul(b, c), hn::Mul(a, s));
    if constexpr (kInterleaved) {
      hn::StoreInterleaved2(first, second, d, x + 2 * j);
    } else {
      hn::StoreU(first, d, x + j);
      hn::StoreU(second, d, x + j + n);
    }
  }
  for (; j < n; ++j) {
    float& first = kInterleaved ? x[2 * j] : x[j];
    float& second = kInterleaved ? x[2 * j + 1] : x[j + n];
    const float a = first, b = second;
    first = a * cos[j] - b * sin[j];
    second = b * cos[j] + a * sin[j];
  }
}

// The last n pairs of every head.
void turn_heads(float* row, size_t n_heads, size_t head_dim, size_t n, bool interleaved,
                const float* cos, const float* sin) {
  for (size_t h = 0; h < n_heads; ++h) {
    float* x = row + h * head_dim + (head_dim - 2 * n);
    if (interleaved)
      turn_pairs<true>(x, n, cos, sin);
    else
      turn_pairs<false>(x, n, cos, sin);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(turn_heads);

std::vector<float> rope_frequencies(size_t rope_dim, double theta, const RopeScaling& scaling) {
  std::vector<float> frequencies(rope_dim / 2);
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(rope_dim);
    float frequency = 1.0F / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    if (scaling.factor != 1) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      const double low = scaling.original_context / scaling.low_freq_factor;
      const double high = scaling.original_context / scaling.high_freq_factor;
      if (wavelength > low) {
        frequency = static_cast<float>(frequency / scaling.factor);
      } else if (wavelength >= high) {
        const double t = (scaling.original_context / wavelength - scaling.low_freq_factor) /
                         (scaling.high_freq_factor - scaling.low_freq_factor);
        frequency = static_cast<float>((1 - t) * frequency / scaling.factor + t * frequency);
      }
    }
    frequencies[j] = frequency;
  }
  return frequencies;
}

namespace {

// The angle is formed in f32, as every reference does: beyond a few thousand positions its
// rounding shows in the logits.
void fill(std::span<const float> frequencies, size_t pos, float* cos, float* sin) {
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float angle = static_cast<float>(pos) * frequencies[j];
    cos[j] = static_cast<float>(std::cos(static_cast<double>(angle)));
    sin[j] = static_cast<float>(std::sin(static_cast<double>(angle)));
  }
}

}  // namespace

RopeTable::RopeTable(std::vector<float> frequencies, size_t n_tabulated)
    : half_dim_(frequencies.size()),
      frequencies_(std::move(frequencies)),
      cos_(n_tabulated, half_dim_),
      sin_(n_tabulated, half_dim_) {
  for (size_t pos = 0; pos < n_tabulated; ++pos)
    fill(frequencies_, pos, cos_.row(pos), sin_.row(pos));
}

RopeTable::RopeTable(Mat<float> cos, Mat<float> sin)
    : half_dim_(cos.cols()), cos_(std::move(cos)), sin_(std::move(sin)) {}

void RopeTable::at(size_t pos, std::span<float> scratch, const float** cos,
                   const float** sin) const {
  if (pos < cos_.rows()) {
    *cos = cos_.row(pos);
    *sin = sin_.row(pos);
    return;
  }
  PLUMB_CHECK(!frequencies_.empty() && scratch.size() >= 2 * half_dim_);
  fill(frequencies_, pos, scratch.data(), scratch.data() + half_dim_);
  *cos = scratch.data();
  *sin = scratch.data() + half_dim_;
}

void apply_rope(std::span<float> row, size_t n_heads, size_t head_dim, RopeLayout layout,
                const float* cos, const float* sin, size_t half_dim) {
  PLUMB_CHECK(row.size() == n_heads * head_dim && 2 * half_dim <= head_dim);
  HWY_DYNAMIC_DISPATCH(turn_heads)
  (row.data(), n_heads, head_dim, half_dim, layout == RopeLayout::kInterleaved, cos, sin);
}

}  // namespace plumb
#endif  // HWY_ONCE
