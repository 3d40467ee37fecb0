#include "core/kernels/elementwise.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/elementwise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/kernels/vector_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Four independent sums hide the latency of the adds; the tail is added last, in order.
template <class Term>
HWY_INLINE float sum_terms(size_t n, const Term& term, const float* a, const float* b) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = term(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = term(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), s1);
    s2 = term(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), s2);
    s3 = term(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), s3);
  }
  for (; i + lanes <= n; i += lanes) s0 = term(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

float dot_row(const float* a, const float* b, size_t n) {
  return sum_terms(
      n, [](auto x, auto y, auto s) { return hn::MulAdd(x, y, s); }, a, b);
}

void scale_row(const float* x, const float* weight, float scale, size_t n, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto s = hn::Set(d, scale);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), s), hn::LoadU(d, weight + i)), d, y + i);
  for (; i < n; ++i) y[i] = x[i] * scale * weight[i];
}

void add_floats(const float* x, size_t n, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, y + i);
  for (; i < n; ++i) y[i] += x[i];
}

void silu_multiply_row(const float* x, const float* y, size_t n, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < n; i += lanes) {
    const size_t count = n - i < lanes ? n - i : lanes;
    // A short tail runs through a full vector too: each element's bits are independent of n.
    float xt[HWY_MAX_BYTES / 4] = {}, yt[HWY_MAX_BYTES / 4] = {};
    const float* xs = x + i;
    const float* ys = y + i;
    if (count < lanes) {
      for (size_t j = 0; j < count; ++j) xt[j] = xs[j], yt[j] = ys[j];
      xs = xt, ys = yt;
    }
    const auto result = hn::Mul(silu_of(d, hn::LoadU(d, xs)), hn::LoadU(d, ys));
    if (count < lanes) {
      hn::StoreU(result, d, xt);
      for (size_t j = 0; j < count; ++j) out[i + j] = xt[j];
    } else {
      hn::StoreU(result, d, out + i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(dot_row);
HWY_EXPORT(scale_row);
HWY_EXPORT(add_floats);
HWY_EXPORT(silu_multiply_row);

float dot(std::span<const float> a, std::span<const float> b) {
  PLUMB_CHECK(a.size() == b.size());
  return HWY_DYNAMIC_DISPATCH(dot_row)(a.data(), b.data(), a.size());
}

void rms_norm(MatView<const float> x, std::span<const float> weight, float eps, MatView<float> y) {
  const size_t n = x.cols();
  PLUMB_CHECK(weight.size() == n && y.cols() == n && y.rows() == x.rows());
  const auto squares = HWY_DYNAMIC_DISPATCH(dot_row);
  const auto scale = HWY_DYNAMIC_DISPATCH(scale_row);
  for (size_t r = 0; r < x.rows(); ++r) {
    const float mean = squares(x.row(r), x.row(r), n) / static_cast<float>(n);
    scale(x.row(r), weight.data(), 1.0F / std::sqrt(mean + eps), n, y.row(r));
  }
}

void layer_norm(MatView<const float> x, std::span<const float> weight, std::span<const float> bias,
                float eps, MatView<float> y) {
  const size_t n = x.cols();
  PLUMB_CHECK(weight.size() == n && bias.size() == n && y.cols() == n && y.rows() == x.rows());
  for (size_t r = 0; r < x.rows(); ++r) {
    double sum = 0, squares = 0;
    for (float value : x.row_span(r)) sum += value;
    const double mean = sum / static_cast<double>(n);
    for (float value : x.row_span(r)) squares += (value - mean) * (value - mean);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (size_t c = 0; c < n; ++c)
      y(r, c) = static_cast<float>((x(r, c) - mean) * scale) * weight[c] + bias[c];
  }
}

void add_row(std::span<const float> x, std::span<float> y) {
  PLUMB_CHECK(x.size() == y.size());
  HWY_DYNAMIC_DISPATCH(add_floats)(x.data(), x.size(), y.data());
}

void add_in_place(MatView<float> y, MatView<const float> x) {
  PLUMB_CHECK(y.rows() == x.rows() && y.cols() == x.cols());
  for (size_t r = 0; r < y.rows(); ++r) add_row(x.row_span(r), y.row_span(r));
}

void silu_gate(MatView<const float> gate_up, MatView<float> out) {
  PLUMB_CHECK(gate_up.cols() == 2 * out.cols() && gate_up.rows() == out.rows());
  const auto row = HWY_DYNAMIC_DISPATCH(silu_multiply_row);
  for (size_t r = 0; r < out.rows(); ++r)
    row(gate_up.row(r), gate_up.row(r) + out.cols(), out.cols(), out.row(r));
}

void silu_multiply(MatView<const float> x, MatView<float> y) {
  PLUMB_CHECK(x.cols() == y.cols() && x.rows() == y.rows());
  const auto row = HWY_DYNAMIC_DISPATCH(silu_multiply_row);
  for (size_t r = 0; r < y.rows(); ++r) row(x.row(r), y.row(r), y.cols(), y.row(r));
}

}  // namespace plumb
#endif  // HWY_ONCE
