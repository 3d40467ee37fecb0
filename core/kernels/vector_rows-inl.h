// Vector arithmetic that several kernels share to the bit. Read once for every instruction set.
#if defined(PLUMB_VECTOR_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PLUMB_VECTOR_ROWS_INL_H_
#undef PLUMB_VECTOR_ROWS_INL_H_
#else
#define PLUMB_VECTOR_ROWS_INL_H_
#endif

#include <cmath>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {

// a * b + c, rounded once on every processor.
template <class D, class V>
HWY_INLINE V fused_multiply_add([[maybe_unused]] D d, V a, V b, V c) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, std::fma(hn::GetLane(a), hn::GetLane(b), hn::GetLane(c)));
#else
  return hn::MulAdd(a, b, c);
#endif
}

// x / (1 + e^-x). e^-x overflows to +inf for very negative x, and x / inf = -0: the right limit.
template <class D, class V>
HWY_INLINE V silu_of(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto exponent = hn::Min(hn::Neg(x), hn::Set(d, 88.0F));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0F), hn::Exp(d, exponent)));
}

// The bits of bf16(x), ties to even, in the upper half of each lane; a NaN keeps its sign and
// becomes quiet.
template <class D, class V>
HWY_INLINE auto bf16_bits_of(D /*d*/, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFF)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x00400000));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(x)), quiet, rounded);
}

// bf16(x), one lane after the other.
template <class D, class V>
HWY_INLINE void store_bf16(D d, V x, uint16_t* target) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> du16;
  const auto upper = hn::BitCast(di, hn::ShiftRight<16>(bf16_bits_of(d, x)));
  hn::StoreU(hn::DemoteTo(du16, upper), du16, target);
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#endif
