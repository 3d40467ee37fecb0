#include "core/kernels/distribution.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/distribution.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>  // after foreach_target, which reads this file again

// This file is read once for every instruction set; what they share is declared the first time.
#ifndef PLUMB_DISTRIBUTION_SHARED
#define PLUMB_DISTRIBUTION_SHARED
namespace plumb {

// The sums over tokens that both divergences are made of; "kept" is p >= 0.1 max p on that side.
struct PairSums {
  double diff = 0;          // e^old (old - now)
  double both_diff = 0;     // the same, kept on both sides
  double both_mass = 0;     // e^old, kept on both sides
  double lost_product = 0;  // e^old old, kept only before
  double gained_now = 0;    // now, kept only now
  size_t gained_count = 0;
};

}  // namespace plumb
#endif

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;
constexpr D d;
constexpr size_t kLanes = hn::MaxLanes(d);
constexpr size_t kBlock = 8 * kLanes;  // f32 partial sums hold at most 8 terms a lane

constexpr double kEntropyEpsilon = 1e-10;
constexpr float kKeepFrom = -2.30258509F;  // ln 0.1: min-p keeps p >= 0.1 max p

// A sum of many f32 terms: f32 within a block, double lanes across blocks.
struct Sum {
  V block;
#if HWY_TARGET == HWY_SCALAR
  double total = 0;
  HWY_INLINE Sum() : block(hn::Zero(d)) {}
  HWY_INLINE void end_block() {
    total += hn::GetLane(block);
    block = hn::Zero(d);
  }
  HWY_INLINE double value() const { return total; }
#else
  static constexpr hn::Repartition<double, D> dd{};
  static constexpr hn::Half<D> half{};
  hn::Vec<hn::Repartition<double, D> > low, high;
  // Written out: an implicit constructor would not be compiled for this instruction set.
  HWY_INLINE Sum() : block(hn::Zero(d)), low(hn::Zero(dd)), high(hn::Zero(dd)) {}
  HWY_INLINE void end_block() {
    low = hn::Add(low, hn::PromoteTo(dd, hn::LowerHalf(half, block)));
    high = hn::Add(high, hn::PromoteTo(dd, hn::UpperHalf(half, block)));
    block = hn::Zero(d);
  }
  HWY_INLINE double value() const { return hn::GetLane(hn::SumOfLanes(dd, hn::Add(low, high))); }
#endif
  HWY_INLINE void add(V term) { block = hn::Add(block, term); }
};

// Runs one(offset, count) over whole vectors, end_block() every 8 of them and at the end. The last
// call may have count < kLanes.
template <class One, class EndBlock>
HWY_INLINE void for_vectors(size_t n, const One& one, const EndBlock& end_block) {
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t end = std::min(n, begin + kBlock);
    for (size_t i = begin; i < end; i += kLanes) one(i, std::min(kLanes, end - i));
    end_block();
  }
}

// A short tail is padded with `pad`.
HWY_INLINE V load(const float* row, size_t count, float pad) {
  if (count == kLanes) return hn::LoadU(d, row);
  HWY_ALIGN float tail[kLanes];
  for (size_t i = 0; i < kLanes; ++i) tail[i] = i < count ? row[i] : pad;
  return hn::Load(d, tail);
}

HWY_INLINE void store(V v, size_t count, float* row) {
  if (count == kLanes) return hn::StoreU(v, d, row);
  HWY_ALIGN float tail[kLanes];
  hn::Store(v, d, tail);
  std::copy(tail, tail + count, row);
}

struct TopValues {
  float first, second;  // -infinity when there is none
  bool has_nan;
};

TopValues find_top_values(const float* row, size_t n) {
  const V none = hn::Set(d, -std::numeric_limits<float>::infinity());
  V first = none, second = none;
  M nan = hn::IsNaN(none);
  const auto one = [&](size_t i, size_t count) HWY_ATTR {
    const V x = load(row + i, count, -std::numeric_limits<float>::infinity());
    nan = hn::Or(nan, hn::IsNaN(x));
    second = hn::Max(second, hn::Min(first, x));
    first = hn::Max(first, x);
  };
  for_vectors(n, one, []() HWY_ATTR {});
  HWY_ALIGN float highest[kLanes], next[kLanes];
  hn::Store(first, d, highest);
  hn::Store(second, d, next);
  TopValues top{highest[0], next[0], !hn::AllFalse(d, nan)};
  for (size_t i = 1; i < kLanes; ++i) {
    top.second = std::max({top.second, next[i], std::min(top.first, highest[i])});
    top.first = std::max(top.first, highest[i]);
  }
  return top;
}

// The first index other than `except` that holds `value`; n when none does.
size_t find_value(const float* row, size_t n, float value, size_t except) {
  const V wanted = hn::Set(d, value);
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t count = std::min(kLanes, n - i);
    if (count == kLanes && hn::AllFalse(d, hn::Eq(hn::LoadU(d, row + i), wanted))) continue;
    for (size_t j = i; j < i + count; ++j) {
      if (row[j] == value && j != except) return j;
    }
  }
  return n;
}

// u ln(1 + 1/u) at u = e^x, rising from 0 to 1: a polynomial in x/7, within 0.006 everywhere. What
// it stands for is weighed with 1e-10, so 65536 tokens of it are still good to 4e-8.
HWY_INLINE V epsilon_share(V x) {
  constexpr float kTerms[] = {6.87911111e-01F, 1.32649941F, -1.04828265F, -2.59427429F,
                              2.46147978F,     3.97985952F, -2.60018123F, -3.31186454F,
                              1.00430685F,     1.09741622F};
  const V one = hn::Set(d, 1.0F);
  const V s = hn::Max(hn::Min(hn::Mul(x, hn::Set(d, 1.0F / 7.0F)), one), hn::Neg(one));
  V sum = hn::Set(d, kTerms[9]);
  for (int i = 8; i >= 0; --i) sum = hn::MulAdd(sum, s, hn::Set(d, kTerms[i]));
  return sum;
}

void read_row(const float* logits, size_t n, float* shifted, Distribution& out) {
  const TopValues top = find_top_values(logits, n);
  // max_logit NaN marks the failure; the caller turns it into an unmeasured Distribution.
  out.max_logit = top.has_nan ? std::numeric_limits<double>::quiet_NaN() : top.first;
  if (!std::isfinite(out.max_logit)) return;
  const size_t top1 = find_value(logits, n, top.first, n);
  const size_t top2 = find_value(logits, n, top.second, top1);
  out.top1 = static_cast<int32_t>(top1);
  out.top2 = n > 1 ? static_cast<int32_t>(top2) : -1;

  const V max = hn::Set(d, top.first), floor = hn::Set(d, kShiftedFloor);
  const V keep_from = hn::Set(d, kKeepFrom);
  Sum z, product, kept;
  size_t kept_count = 0;
  const auto shift = [&](size_t i, size_t count) HWY_ATTR {
    const V x = load(logits + i, count, -std::numeric_limits<float>::infinity());
    const V y = hn::Max(hn::Sub(x, max), floor);
    store(y, count, shifted + i);
    const V e = hn::Exp(d, y);
    z.add(e);
    product.add(hn::Mul(e, y));
    const M keep = hn::Ge(y, keep_from);
    if (!hn::AllFalse(d, keep)) {
      kept.add(hn::IfThenElseZero(keep, e));
      kept_count += hn::CountTrue(d, keep);
    }
  };
  for_vectors(n, shift, [&]() HWY_ATTR { z.end_block(), product.end_block(), kept.end_block(); });
  out.log_z = std::log(z.value());
  out.kept_sum = kept.value();
  out.kept_count = static_cast<int32_t>(kept_count);

  // ln(p + t) = ln p + ln(1 + t/p): the first part is a sum of the pass above, the second adds up
  // to t * sum u ln(1 + 1/u) with u = p/t, at most 1e-10 a token.
  const double shift_u = -out.log_z - std::log(kEntropyEpsilon);
  const V offset = hn::Set(d, static_cast<float>(shift_u));
  Sum correction;
  const auto correct = [&](size_t i, size_t count) HWY_ATTR {
    correction.add(epsilon_share(hn::Add(load(shifted + i, count, kShiftedFloor), offset)));
  };
  for_vectors(n, correct, [&]() HWY_ATTR { correction.end_block(); });
  out.entropy = out.log_z - product.value() / z.value() - kEntropyEpsilon * correction.value();
  out.p1 = 1.0 / z.value();
  out.p2 = n > 1 ? std::exp(static_cast<double>(shifted[top2])) / z.value() : 0.0;
  out.finite = true;
}

template <bool kUniform>
PairSums sum_pairs(const float* old, const float* now, size_t n) {
  const V keep_from = hn::Set(d, kKeepFrom);
  const V zero = hn::Zero(d);
  Sum diff, both_diff, both_mass, lost_product, gained_now;
  size_t gained_count = 0;
  const auto one = [&](size_t i, size_t count) HWY_ATTR {
    // The padding adds nothing: zero mass before, and kept on neither side.
    V a, e, b = load(now + i, count, kShiftedFloor);
    if constexpr (kUniform) {
      const M inside = hn::FirstN(d, count);
      a = hn::IfThenElse(inside, zero, hn::Set(d, kShiftedFloor));
      e = hn::IfThenElseZero(inside, hn::Set(d, 1.0F));
    } else {
      a = load(old + i, count, kShiftedFloor);
      e = hn::Exp(d, a);
    }
    const V term = hn::Mul(e, hn::Sub(a, b));
    diff.add(term);
    const M keep_a = hn::Ge(a, keep_from), keep_b = hn::Ge(b, keep_from);
    if (hn::AllFalse(d, hn::Or(keep_a, keep_b))) return;
    const M both = hn::And(keep_a, keep_b), gained = hn::AndNot(keep_a, keep_b);
    both_diff.add(hn::IfThenElseZero(both, term));
    both_mass.add(hn::IfThenElseZero(both, e));
    lost_product.add(hn::IfThenElseZero(hn::AndNot(keep_b, keep_a), hn::Mul(e, a)));
    gained_now.add(hn::IfThenElseZero(gained, b));
    gained_count += hn::CountTrue(d, gained);
  };
  for_vectors(n, one, [&]() HWY_ATTR {
    diff.end_block(), both_diff.end_block(), both_mass.end_block();
    lost_product.end_block(), gained_now.end_block();
  });
  return {diff.value(),         both_diff.value(),  both_mass.value(),
          lost_product.value(), gained_now.value(), gained_count};
}

void pair_sums(const float* old, const float* now, size_t n, PairSums& out) {
  out = old == nullptr ? sum_pairs<true>(old, now, n) : sum_pairs<false>(old, now, n);
}

int32_t rank_of(const float* row, size_t n, size_t target) {
  const V wanted = hn::Set(d, row[target]);
  size_t above = 0;
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t count = std::min(kLanes, n - i);
    const V x = load(row + i, count, -std::numeric_limits<float>::infinity());
    // Equal logits count while their id is smaller.
    const bool all_before = i + count <= target;
    M ahead = hn::Gt(x, wanted);
    if (all_before) ahead = hn::Or(ahead, hn::Eq(x, wanted));
    above += hn::CountTrue(d, ahead);
    if (!all_before && i < target) {
      above += static_cast<size_t>(std::count(row + i, row + target, row[target]));
    }
  }
  return static_cast<int32_t>(above + 1);
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(read_row);
HWY_EXPORT(pair_sums);
HWY_EXPORT(rank_of);

namespace {

// Rounding may leave -1e-9 where the truth is 0; a term of the floor stands for infinity.
double clean_divergence(double value) {
  if (value > 1e20) return std::numeric_limits<double>::infinity();
  return value < 0 ? 0 : value;
}

}  // namespace

Distribution read_distribution(std::span<const float> logits, std::span<float> shifted) {
  PLUMB_CHECK(!logits.empty() && logits.size() == shifted.size());
  Distribution out;
  HWY_DYNAMIC_DISPATCH(read_row)(logits.data(), logits.size(), shifted.data(), out);
  if (!out.finite) {
    constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
    out = {.finite = false,
           .max_logit = kNaN,
           .log_z = kNaN,
           .kept_sum = kNaN,
           .entropy = kNaN,
           .p1 = kNaN,
           .p2 = kNaN};
  }
  return out;
}

void log_softmax(std::span<const float> logits, std::span<float> log_probs) {
  const Distribution distribution = read_distribution(logits, log_probs);
  for (float& value : log_probs) value = static_cast<float>(value - distribution.log_z);
}

Divergence compare_distributions(DistributionView old, DistributionView now) {
  const size_t n = now.shifted.size();
  const double vocab = static_cast<double>(n);
  if (old.shifted.empty()) {
    old.log_z = std::log(vocab);
    old.kept_sum = vocab;
    old.kept_count = static_cast<int32_t>(n);
  }
  PLUMB_CHECK(n > 0 && (old.shifted.empty() || old.shifted.size() == n));
  PairSums sums;
  const float* old_row = old.shifted.empty() ? nullptr : old.shifted.data();
  HWY_DYNAMIC_DISPATCH(pair_sums)(old_row, now.shifted.data(), n, sums);
  const double old_z = std::exp(old.log_z);
  Divergence out;
  out.kl = clean_divergence(sums.diff / old_z + now.log_z - old.log_z);

  // q = p where kept, 1/V where not, all over s. Four kinds of token by kept before / kept now:
  //   sum q_old (ln q_old - ln q_now),  ln q = y - log_z - ln s   or   -ln V - ln s.
  const double old_s = old.kept_sum / old_z + (vocab - old.kept_count) / vocab;
  const double now_s = now.kept_sum / std::exp(now.log_z) + (vocab - now.kept_count) / vocab;
  const double step_s = std::log(now_s) - std::log(old_s);
  const double lost_mass = old.kept_sum - sums.both_mass;
  const double gained = static_cast<double>(sums.gained_count);
  const double neither = vocab - old.kept_count - gained;
  const double both = sums.both_diff + sums.both_mass * (now.log_z - old.log_z + step_s);
  const double lost = sums.lost_product + lost_mass * (std::log(vocab) - old.log_z + step_s);
  const double late = gained * (now.log_z - std::log(vocab) + step_s) - sums.gained_now;
  out.minp_kl =
      clean_divergence(((both + lost) / old_z + (late + neither * step_s) / vocab) / old_s);
  return out;
}

int32_t rank_in_row(std::span<const float> row, int32_t target) {
  PLUMB_CHECK(target >= 0 && static_cast<size_t>(target) < row.size());
  return HWY_DYNAMIC_DISPATCH(rank_of)(row.data(), row.size(), static_cast<size_t>(target));
}

}  // namespace plumb
#endif
