#include "core/kernels/bf16_rounding.h"

#include "core/base/check.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define PLUMB_ROUNDS 1
#include <immintrin.h>

#include <algorithm>
#include <limits>
#endif

namespace plumb {

#if PLUMB_ROUNDS
namespace {

#define PLUMB_ROUND __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

PLUMB_ROUND inline __mmask16 first_lanes(size_t n) {
  return n >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1U << n) - 1);
}

// 32 floats in a row become 32 bf16 in a row.
PLUMB_ROUND inline void round_32(__m512 low, __m512 high, BF16* target) {
  _mm512_storeu_si512(target, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
}

PLUMB_ROUND inline __m512i pair_order() {
  alignas(64) uint16_t order[32];
  for (uint16_t i = 0; i < 16; ++i) {
    order[2 * i] = i;
    order[2 * i + 1] = static_cast<uint16_t>(16 + i);
  }
  return _mm512_load_si512(order);
}

// Two rows of 16 side by side: the [16][2] of a panel.
PLUMB_ROUND inline void round_pairs(__m512 even, __m512 odd, __m512i order, BF16* target) {
  const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
  _mm512_storeu_si512(target, _mm512_permutexvar_epi16(order, both));
}

// The same of rows that are bf16 already.
PLUMB_ROUND inline void join_pairs(const BF16* even, __mmask16 even_lanes, const BF16* odd,
                                   __mmask16 odd_lanes, __m512i order, BF16* target) {
  const __m512i both =
      _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_loadu_epi16(even_lanes, even)),
                         _mm256_maskz_loadu_epi16(odd_lanes, odd), 1);
  _mm512_storeu_si512(target, _mm512_permutexvar_epi16(order, both));
}

// One or the other, of two rows that begin at `even_at` and `odd_at`. `kept` null: not rounded yet.
PLUMB_ROUND inline void pairs_of(const float* exact, const BF16* kept, size_t even_at,
                                 __mmask16 even_lanes, size_t odd_at, __mmask16 odd_lanes,
                                 __m512i order, BF16* target) {
  if (kept != nullptr)
    join_pairs(kept + even_at, even_lanes, kept + odd_at, odd_lanes, order, target);
  else
    round_pairs(_mm512_maskz_loadu_ps(even_lanes, exact + even_at),
                _mm512_maskz_loadu_ps(odd_lanes, exact + odd_at), order, target);
}

// 2^x, off by less than 2e-7 of itself; exactly 0 from -200 down. The polynomial interpolates 2^f
// at the Chebyshev nodes of [-1/2, 1/2].
PLUMB_ROUND inline __m512 exp2_of(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-200.0F), x);  // in this order a NaN stays one
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(0.00133908633F);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.00967603177F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0555035695F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240221068F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693147182F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000012F));
  return _mm512_scalef_ps(p, whole);
}

PLUMB_ROUND inline __m512 widen(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

PLUMB_ROUND inline float largest_of(const float* scores, size_t n) {
  __m512 a = _mm512_loadu_ps(scores), b = _mm512_loadu_ps(scores + 16);
  for (size_t j = 32; j < n; j += 32) {
    a = _mm512_max_ps(a, _mm512_loadu_ps(scores + j));
    b = _mm512_max_ps(b, _mm512_loadu_ps(scores + j + 16));
  }
  return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

}  // namespace

PLUMB_ROUND void round_keys(const HeadSource& head, size_t from, size_t to, size_t depth,
                            BF16* target) {
  const __m512i order = pair_order();
  const KvHead<float> exact = head_of<float>(head.kv, head.head, head.head_dim);
  const KvHead<BF16> kept = head_of<BF16>(head.kv, head.head, head.head_dim);
  for (size_t j = from; j < to; j += kKeyPanel) {
    // A panel that holds no key need not exist; one that holds some has sixteen columns of which
    // only the scores of those that are seen are looked at.
    const bool exists = j < head.end;
    const size_t panel = j / kKeyPanel * exact.panel_step;
    for (size_t c = 0; c < depth; c += 2, target += 32) {
      const __mmask16 even = exists && c < head.head_dim ? 0xFFFF : 0;
      const __mmask16 odd = exists && c + 1 < head.head_dim ? 0xFFFF : 0;
      const size_t at = panel + c * kKeyPanel;
      pairs_of(exact.keys, kept.keys, at, even, at + kKeyPanel, odd, order, target);
    }
  }
}

PLUMB_ROUND void round_values(const HeadSource& head, size_t from, size_t to, size_t panel_stride,
                              BF16* target) {
  const __m512i order = pair_order();
  const KvHead<float> exact = head_of<float>(head.kv, head.head, head.head_dim);
  const KvHead<BF16> kept = head_of<BF16>(head.kv, head.head, head.head_dim);
  const size_t step = exact.value_step;
  for (size_t j = from; j < to; j += 2, target += 32) {
    // A weight of 0 does not hide a value that is no number: what nobody sees is 0 itself.
    const bool even = j >= head.first && j < head.end;
    const bool odd = j + 1 >= head.first && j + 1 < head.end;
    for (size_t c = 0; c < head.head_dim; c += 16) {
      const __mmask16 lanes = first_lanes(head.head_dim - c);
      const __mmask16 a = even ? lanes : __mmask16{0}, b = odd ? lanes : __mmask16{0};
      const size_t at = j * step + c;
      pairs_of(exact.values, kept.values, at, a, at + step, b, order,
               target + c / 16 * panel_stride);
    }
  }
}

PLUMB_ROUND void round_chunks(const float* row, size_t n, size_t depth, size_t step, BF16* target) {
  for (size_t c = 0; c < depth; c += 32, target += step) {
    const size_t left = n > c ? n - c : 0;
    round_32(_mm512_maskz_loadu_ps(first_lanes(left), row + c),
             _mm512_maskz_loadu_ps(first_lanes(left > 16 ? left - 16 : 0), row + c + 16), target);
  }
}

PLUMB_ROUND float softmax_chunks(float* scores, size_t begin, size_t end, size_t n, float scale,
                                 size_t step, BF16* target) {
  constexpr float kUnseen = -std::numeric_limits<float>::infinity();
  std::fill(scores, scores + begin, kUnseen);
  std::fill(scores + end, scores + n, kUnseen);
  const __m512 s = _mm512_set1_ps(scale);
  const __m512 top = _mm512_set1_ps(largest_of(scores, n));
  __m512 sum_low = _mm512_setzero_ps(), sum_high = sum_low;
  for (size_t j = 0; j < n; j += 32, target += step) {
    const __m512 low = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + j), top), s);
    const __m512 high = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + j + 16), top), s);
    const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(exp2_of(high), exp2_of(low)));
    _mm512_storeu_si512(target, both);
    sum_low = _mm512_add_ps(sum_low, widen(_mm512_castsi512_si256(both)));
    sum_high = _mm512_add_ps(sum_high, widen(_mm512_extracti64x4_epi64(both, 1)));
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sum_low, sum_high));
}

PLUMB_ROUND void write_scaled(const float* sums, size_t n, float factor, float* out) {
  for (size_t c = 0; c < n; c += 16) {
    const __mmask16 lanes = first_lanes(n - c);
    const __m512 row = _mm512_maskz_loadu_ps(lanes, sums + c);
    _mm512_mask_storeu_ps(out + c, lanes, _mm512_mul_ps(row, _mm512_set1_ps(factor)));
  }
}

#else

void round_keys(const HeadSource&, size_t, size_t, size_t, BF16*) { PLUMB_CHECK(false); }
void round_values(const HeadSource&, size_t, size_t, size_t, BF16*) { PLUMB_CHECK(false); }
void round_chunks(const float*, size_t, size_t, size_t, BF16*) { PLUMB_CHECK(false); }
float softmax_chunks(float*, size_t, size_t, size_t, float, size_t, BF16*) {
  PLUMB_CHECK(false);
  return 0;
}
void write_scaled(const float*, size_t, float, float*) { PLUMB_CHECK(false); }

#endif

}  // namespace plumb
