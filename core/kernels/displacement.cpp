#include "core/kernels/displacement.h"

#include <algorithm>

#include "core/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/displacement.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Five sums in double lanes, so the adds of one hide behind the others. A tail is padded with
// zeros, which add nothing to any of them.
template <bool kWithBefore>
Displacement displace(const float* now, const float* then, const float* before, size_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const size_t lanes = hn::Lanes(d);
  auto now_sq = hn::Zero(d), then_sq = now_sq, dot = now_sq, delta_sq = now_sq, accel_sq = now_sq;
  HWY_ALIGN float tail[3][HWY_MAX_BYTES / sizeof(double)] = {};
  for (size_t i = 0; i < n; i += lanes) {
    const float *a = now + i, *b = then + i, *c = kWithBefore ? before + i : nullptr;
    if (n - i < lanes) {
      a = std::copy(a, now + n, tail[0]) - (n - i);
      b = std::copy(b, then + n, tail[1]) - (n - i);
      if (kWithBefore) c = std::copy(c, before + n, tail[2]) - (n - i);
    }
    const auto x = hn::PromoteTo(d, hn::LoadU(df, a));
    const auto y = hn::PromoteTo(d, hn::LoadU(df, b));
    const auto delta = hn::Sub(x, y);
    now_sq = hn::MulAdd(x, x, now_sq);
    then_sq = hn::MulAdd(y, y, then_sq);
    dot = hn::MulAdd(x, y, dot);
    delta_sq = hn::MulAdd(delta, delta, delta_sq);
    if constexpr (kWithBefore) {
      const auto accel = hn::Sub(delta, hn::Sub(y, hn::PromoteTo(d, hn::LoadU(df, c))));
      accel_sq = hn::MulAdd(accel, accel, accel_sq);
    }
  }
  const auto total = [&](auto v) HWY_ATTR { return hn::GetLane(hn::SumOfLanes(d, v)); };
  return {total(now_sq), total(then_sq), total(dot), total(delta_sq), total(accel_sq)};
}

void displacement_sums(const float* now, const float* then, const float* before, size_t n,
                       Displacement& out) {
  out = before == nullptr ? displace<false>(now, then, before, n)
                          : displace<true>(now, then, before, n);
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(displacement_sums);

Displacement measure_displacement(std::span<const float> now, std::span<const float> then,
                                  std::span<const float> before) {
  PLUMB_CHECK(now.size() == then.size());
  PLUMB_CHECK(before.empty() || before.size() == now.size());
  Displacement out;
  HWY_DYNAMIC_DISPATCH(displacement_sums)
  (now.data(), then.data(), before.empty() ? nullptr : before.data(), now.size(), out);
  return out;
}

}  // namespace plumb
#endif
