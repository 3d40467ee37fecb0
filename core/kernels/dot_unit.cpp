#include "core/base/check.h"
#include "core/kernels/bf16_units.h"
#include "core/kernels/unroll.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define PLUMB_HAS_DOTS 1
#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#endif

namespace plumb {

#if PLUMB_HAS_DOTS
namespace {

#define PLUMB_DOTS __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

bool ask_for_dots() {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) return false;
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16 = 1U << 5;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kBf16) != 0;
}

PLUMB_DOTS inline __m512bh two_inputs(const BF16* x) {
  int pair = 0;
  std::memcpy(&pair, x, sizeof(pair));
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}

// kRows rows by kPanels panels, all sums in registers.
template <size_t kRows, size_t kPanels>
PLUMB_DOTS void dot_tile(const PanelProduct& p, const BF16* x, const BF16* panel, float* y) {
  __m512 sum[kRows][kPanels];
  PLUMB_UNROLL
  for (auto& row : sum) PLUMB_UNROLL
  for (__m512& s : row) s = _mm512_setzero_ps();
  const size_t panel_size = p.depth * 16;
  for (size_t k = 0; k < p.depth; k += 2) {
    __m512bh weights[kPanels];
    PLUMB_UNROLL
    for (size_t q = 0; q < kPanels; ++q)
      weights[q] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + q * panel_size + k * 16));
    PLUMB_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const __m512bh pair = two_inputs(x + r * p.depth + k);
      PLUMB_UNROLL
      for (size_t q = 0; q < kPanels; ++q)
        sum[r][q] = _mm512_dpbf16_ps(sum[r][q], pair, weights[q]);
    }
  }
  PLUMB_UNROLL
  for (size_t r = 0; r < kRows; ++r) PLUMB_UNROLL
  for (size_t q = 0; q < kPanels; ++q) {
    float* target = y + r * p.y_stride + q * 16;
    const __m512 old = p.add ? _mm512_loadu_ps(target) : _mm512_setzero_ps();
    _mm512_storeu_ps(target, _mm512_add_ps(old, sum[r][q]));
  }
}

// All panels for kRows rows, kPanels at a time and the rest one by one.
template <size_t kRows, size_t kPanels>
PLUMB_DOTS void dot_rows(const PanelProduct& p, size_t row) {
  const BF16* x = p.x + row * p.depth;
  float* y = p.y + row * p.y_stride;
  size_t panel = 0;
  for (; panel + kPanels <= p.n_panels; panel += kPanels)
    dot_tile<kRows, kPanels>(p, x, p.panel(panel), y + panel * 16);
  for (; panel < p.n_panels; ++panel) dot_tile<kRows, 1>(p, x, p.panel(panel), y + panel * 16);
}

}  // namespace

bool dot_unit_available() {
  static const bool available = ask_for_dots();
  return available;
}

void multiply_dots(const PanelProduct& product) {
  // 12 rows by 2 panels fill the 32 registers; a few panels at a time keep them in L1 for all rows.
  constexpr size_t kPanelsAtOnce = 4;
  size_t row = 0;
  const size_t tall = product.n_rows / 12 * 12;
  for (size_t first = 0; first < product.n_panels && tall > 0; first += kPanelsAtOnce) {
    PanelProduct part = product;
    part.panels = product.panel(first);
    part.n_panels = std::min(kPanelsAtOnce, product.n_panels - first);
    part.y = product.y + first * 16;
    for (row = 0; row < tall; row += 12) dot_rows<12, 2>(part, row);
  }
  for (row = tall; row + 4 <= product.n_rows; row += 4) dot_rows<4, 4>(product, row);
  for (; row + 2 <= product.n_rows; row += 2) dot_rows<2, 8>(product, row);
  if (row < product.n_rows) dot_rows<1, 8>(product, row);
}

#else

bool dot_unit_available() { return false; }
void multiply_dots(const PanelProduct&) { PLUMB_CHECK(false && "this build has no dot unit"); }

#endif

}  // namespace plumb
