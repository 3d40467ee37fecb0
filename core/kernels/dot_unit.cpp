#include "core/base/check.h"
#include "core/kernels/bf16_units.h"
#include "core/kernels/unroll.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define PLUMB_HAS_DOTS 1
#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>
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

// Where the panels of a tile lie: 0, 1, 2, 3 at 0, odd, pair, pair + odd.
struct Spread {
  size_t odd, pair;  // elements
  size_t columns;    // of y, from panel to panel
};

// kRows rows by kPanels panels, all sums in registers. kFetch panels, the first at `fetch`, are on
// their way to L2 when it is done.
template <size_t kRows, size_t kPanels, size_t kFetch>
PLUMB_DOTS void dot_tile(const PanelProduct& p, const BF16* x, const BF16* panel, float* y,
                         const Spread& spread, const BF16* fetch) {
  __m512 sum[kRows][kPanels];
  PLUMB_UNROLL
  for (auto& row : sum) PLUMB_UNROLL
  for (__m512& s : row) s = _mm512_setzero_ps();
  const size_t odd = spread.odd, pair = spread.pair, columns = spread.columns;
  const auto offset = [&](size_t q) { return q % 2 * odd + q / 2 * pair; };
  for (size_t k = 0; k < p.depth; k += 2) {
    __m512bh weights[kPanels];
    PLUMB_UNROLL
    for (size_t q = 0; q < kPanels; ++q)
      weights[q] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(panel + offset(q) + k * 16));
    PLUMB_UNROLL
    for (size_t q = 0; q < kFetch; ++q)
      _mm_prefetch(reinterpret_cast<const char*>(fetch + q * odd + k * 16), _MM_HINT_T1);
    PLUMB_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const __m512bh inputs = two_inputs(x + r * p.depth + k);
      PLUMB_UNROLL
      for (size_t q = 0; q < kPanels; ++q)
        sum[r][q] = _mm512_dpbf16_ps(sum[r][q], inputs, weights[q]);
    }
  }
  PLUMB_UNROLL
  for (size_t r = 0; r < kRows; ++r) PLUMB_UNROLL
  for (size_t q = 0; q < kPanels; ++q) {
    float* target = y + r * p.y_stride + q * columns;
    const __m512 old = p.add ? _mm512_loadu_ps(target) : _mm512_setzero_ps();
    _mm512_storeu_ps(target, _mm512_add_ps(old, sum[r][q]));
  }
}

// As tall as wide loads least: 6 rows by 4 panels take 10 loads for 24 dots.
constexpr size_t kMostRows = 6;

// One to six rows by kPanels panels.
template <size_t kPanels, size_t kFetch, size_t... kRow>
void dot_rows(const PanelProduct& p, size_t row, size_t n_rows, size_t panel, const Spread& spread,
              const BF16* fetch, std::index_sequence<kRow...>) {
  using Run = void (*)(const PanelProduct&, const BF16*, const BF16*, float*, const Spread&,
                       const BF16*);
  static constexpr Run kRuns[] = {dot_tile<kRow + 1, kPanels, kFetch>...};
  kRuns[n_rows - 1](p, p.x + row * p.depth, p.panel(panel), p.y + row * p.y_stride + panel * 16,
                    spread, fetch);
}

constexpr size_t kWide = 4;  // panels of a tile
constexpr auto kAnyRows = std::make_index_sequence<kMostRows>();

// Rows of one tile: reading the panels is the work, and goes fastest where each stream reads on and
// on. So a tile's panels lie a quarter of all apart.
void multiply_few(const PanelProduct& product) {
  const size_t quarter = product.n_panels / kWide, step = product.panel_step();
  const Spread apart{quarter * step, 2 * quarter * step, quarter * 16};
  for (size_t i = 0; i < quarter; ++i)
    dot_rows<kWide, 0>(product, 0, product.n_rows, i, apart, nullptr, kAnyRows);
  for (size_t i = kWide * quarter; i < product.n_panels; ++i)
    dot_rows<1, 0>(product, 0, product.n_rows, i, {}, nullptr, kAnyRows);
}

}  // namespace

bool dot_unit_available() {
  static const bool available = ask_for_dots();
  return available;
}

void multiply_dots(const PanelProduct& product) {
  const size_t n_tiles = (product.n_rows + kMostRows - 1) / kMostRows;
  if (n_tiles == 1 && product.pair_stride == 0) return multiply_few(product);
  const size_t tall = (product.n_rows + n_tiles - 1) / n_tiles;  // 7 rows are 4 and 3, not 6 and 1
  const size_t step = product.panel_step();
  const Spread beside{step, product.pair_stride > 0 ? product.pair_stride : 2 * step, 16};
  // All rows pass by a few panels, and meanwhile the next few are fetched, one or two a tile of
  // rows.
  const size_t fetched = n_tiles <= 3 ? 2 : 1;
  for (size_t panel = 0; panel < product.n_panels;) {
    const bool whole = panel + kWide <= product.n_panels;
    const bool more = panel + 2 * kWide <= product.n_panels;
    size_t to_fetch = panel + kWide;
    for (size_t row = 0; row < product.n_rows; row += tall) {
      const size_t n = std::min(tall, product.n_rows - row);
      const size_t fetch = more && to_fetch < panel + 2 * kWide ? fetched : 0;
      const BF16* next = product.panel(to_fetch);
      to_fetch += fetch;
      if (!whole)
        dot_rows<1, 0>(product, row, n, panel, beside, nullptr, kAnyRows);
      else if (fetch == 2)
        dot_rows<kWide, 2>(product, row, n, panel, beside, next, kAnyRows);
      else if (fetch == 1)
        dot_rows<kWide, 1>(product, row, n, panel, beside, next, kAnyRows);
      else
        dot_rows<kWide, 0>(product, row, n, panel, beside, nullptr, kAnyRows);
    }
    panel += whole ? kWide : 1;
  }
}

#else

bool dot_unit_available() { return false; }
void multiply_dots(const PanelProduct&) { PLUMB_CHECK(false && "this build has no dot unit"); }

#endif

}  // namespace plumb
