#include "core/kernels/rope.h"

#include <cmath>
#include <numbers>

namespace plumb {

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
    : half_dim_(frequencies.size()), frequencies_(std::move(frequencies)),
      cos_(n_tabulated, half_dim_), sin_(n_tabulated, half_dim_) {
  for (size_t pos = 0; pos < n_tabulated; ++pos) fill(frequencies_, pos, cos_.row(pos), sin_.row(pos));
}

RopeTable::RopeTable(Mat<float> cos, Mat<float> sin)
    : half_dim_(cos.cols()), cos_(std::move(cos)), sin_(std::move(sin)) {}

void RopeTable::at(size_t pos, std::span<float> scratch, const float** cos, const float** sin) const {
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
  for (size_t h = 0; h < n_heads; ++h) {
    float* x = row.data() + h * head_dim + (head_dim - 2 * half_dim);
    for (size_t j = 0; j < half_dim; ++j) {
      float& first = layout == RopeLayout::kInterleaved ? x[2 * j] : x[j];
      float& second = layout == RopeLayout::kInterleaved ? x[2 * j + 1] : x[j + half_dim];
      const float a = first, b = second;
      first = a * cos[j] - b * sin[j];
      second = b * cos[j] + a * sin[j];
    }
  }
}

}  // namespace plumb
