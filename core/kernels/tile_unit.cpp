
#include "core/base/check.h"
#include "core/kernels/bf16_units.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(PLUMB_WITHOUT_TILES)
#define PLUMB_HAS_TILES 1
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#endif

namespace plumb {

#if PLUMB_HAS_TILES
namespace {

#define PLUMB_TILES __attribute__((target("amx-tile,amx-bf16,avx512f,prfchw")))

constexpr size_t kTile = kTileRows;           // rows, and f32 columns, of a tile
constexpr size_t kStep = kTileDepth * kTile;  // elements of a tile of x or of a panel

bool ask_for_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1U << 22, kTiles = 1U << 24;
  if ((d & kBf16) == 0 || (d & kTiles) == 0) return false;
  // Linux keeps the 8 KiB of tile registers from a process until it asks (arch_prctl(2)).
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// The memory layout of LDTILECFG.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0..3 are sums, 4 and 5 rows of x, 6 and 7 panels. Sums 0 and 1 belong to x tile 4, sums 2
// and 3 to x tile 5; with `one_row_tile` all four sums belong to x tile 4 and tile 5 is a panel.
PLUMB_TILES void configure(size_t rows_a, size_t rows_b, bool one_row_tile) {
  TileConfig config;
  for (int t = 0; t < 8; ++t) config.row_bytes[t] = 64;
  const auto a = static_cast<uint8_t>(rows_a), b = static_cast<uint8_t>(rows_b);
  config.rows[0] = config.rows[1] = config.rows[4] = a;
  config.rows[2] = config.rows[3] = one_row_tile ? a : b;
  config.rows[5] = one_row_tile ? kTile : b;
  config.rows[6] = config.rows[7] = kTile;
  // GCC's intrinsic names only the first bytes that the instruction reads.
  asm volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

// What the next blocks will touch, fetched while this one computes: a tile is stored in sixteen
// places far apart, and waits for each of them; panels come from beyond L2.
struct Ahead {
  const float* y = nullptr;     // the next block of sums
  const BF16* panel = nullptr;  // this block's share of the next two panels
  size_t lines = 0;             // of each of them, a step
};

PLUMB_TILES inline void fetch_ahead(const Ahead& ahead, const PanelProduct& p, size_t step) {
  const auto line = [](const BF16* first, size_t i) { return first + i * 32; };
  for (size_t i = step * ahead.lines; i < (step + 1) * ahead.lines; ++i) {
    __builtin_prefetch(line(ahead.panel, i), 0, 2);
    __builtin_prefetch(line(ahead.panel + p.panel_step(), i), 0, 2);
  }
  if (step >= kTile) return;
  for (const size_t row : {2 * step, 2 * step + 1}) {
    __builtin_prefetch(ahead.y + row * p.y_stride, 1, 3);
    __builtin_prefetch(ahead.y + row * p.y_stride + kTile, 1, 3);
  }
}

// Two tiles of rows by two panels: every load serves two products.
PLUMB_TILES void two_by_two(const PanelProduct& p, const BF16* x, const BF16* panel, float* y,
                            const Ahead& ahead) {
  const size_t panel_size = p.depth * kTile, step = p.panel_step();
  const size_t y_bytes = p.y_stride * sizeof(float);
  float* y_low = y + kTile * p.y_stride;
  if (p.add) {
    _tile_loadd(0, y, y_bytes);
    _tile_loadd(1, y + kTile, y_bytes);
    _tile_loadd(2, y_low, y_bytes);
    _tile_loadd(3, y_low + kTile, y_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const BF16* x_low = x + kTile * p.depth;
  for (size_t i = 0; i < panel_size; i += kStep) {
    _tile_loadd(4, x + i, 64);
    _tile_loadd(6, panel + i, 64);
    _tile_loadd(5, x_low + i, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, panel + step + i, 64);
    fetch_ahead(ahead, p, i / kStep);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, y, y_bytes);
  _tile_stored(1, y + kTile, y_bytes);
  _tile_stored(2, y_low, y_bytes);
  _tile_stored(3, y_low + kTile, y_bytes);
}

// The block after (panel, row), and the row's share of the lines of the two panels after these.
Ahead look_ahead(const PanelProduct& p, size_t panel, size_t row, size_t n_rows) {
  constexpr size_t kFewestRows = 128;  // with fewer, reading the panels is the work whoever does it
  const bool last = row + 2 * kTile >= n_rows;
  const bool more = panel + 4 <= p.n_panels;
  const size_t next_panel = last ? (more ? panel + 2 : 0) : panel;
  const BF16* fetched = more ? p.panel(panel + 2) : p.next;
  Ahead ahead{p.y + (last ? 0 : row + 2 * kTile) * p.y_stride + next_panel * kTile};
  if (n_rows < kFewestRows || fetched == nullptr) return ahead;
  // depth / 2 lines a panel, over n_rows / 32 blocks of depth / 32 steps.
  ahead.lines = (512 + n_rows - 1) / n_rows;
  ahead.panel = fetched + row * p.depth / 32 * ahead.lines;
  return ahead;
}

// One tile of rows by four panels: few rows, so the panels are what is read.
PLUMB_TILES void one_by_four(const PanelProduct& p, const BF16* x, const BF16* panel, float* y) {
  const size_t panel_size = p.depth * kTile, step = p.panel_step();
  const size_t y_bytes = p.y_stride * sizeof(float);
  if (p.add) {
    _tile_loadd(0, y, y_bytes);
    _tile_loadd(1, y + kTile, y_bytes);
    _tile_loadd(2, y + 2 * kTile, y_bytes);
    _tile_loadd(3, y + 3 * kTile, y_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (size_t i = 0; i < panel_size; i += kStep) {
    const BF16* here = panel + i;
    _tile_loadd(4, x + i, 64);
    _tile_loadd(5, here, 64);
    _tile_loadd(6, here + step, 64);
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(7, here + 2 * step, 64);
    _tile_dpbf16ps(1, 4, 6);
    _tile_loadd(5, here + 3 * step, 64);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_stored(0, y, y_bytes);
  _tile_stored(1, y + kTile, y_bytes);
  _tile_stored(2, y + 2 * kTile, y_bytes);
  _tile_stored(3, y + 3 * kTile, y_bytes);
}

// Whatever is left: one tile of rows by one panel.
PLUMB_TILES void one_by_one(const PanelProduct& p, const BF16* x, const BF16* panel, float* y) {
  const size_t y_bytes = p.y_stride * sizeof(float);
  if (p.add)
    _tile_loadd(0, y, y_bytes);
  else
    _tile_zero(0);
  for (size_t i = 0; i < p.depth * kTile; i += kStep) {
    _tile_loadd(4, x + i, 64);
    _tile_loadd(6, panel + i, 64);
    _tile_dpbf16ps(0, 4, 6);
  }
  _tile_stored(0, y, y_bytes);
}

PLUMB_TILES void single_row_tile(const PanelProduct& p, size_t first_row, size_t n_rows) {
  configure(n_rows, 1, true);
  const BF16* x = p.x + first_row * p.depth;
  float* y = p.y + first_row * p.y_stride;
  size_t panel = 0;
  for (; panel + 4 <= p.n_panels; panel += 4) one_by_four(p, x, p.panel(panel), y + panel * kTile);
  for (; panel < p.n_panels; ++panel) one_by_one(p, x, p.panel(panel), y + panel * kTile);
}

}  // namespace

bool tile_unit_available() {
  // No processor has tiles alone; what prepares their operands rounds by the dots' instructions.
  static const bool available = dot_unit_available() && ask_for_tiles();
  return available;
}

PLUMB_TILES void multiply_tiles(const PanelProduct& p) {
  PLUMB_CHECK(p.depth % kTileDepth == 0);
  // Pairs of full row tiles first: two panels stay in L1 while all rows pass by.
  const size_t paired = p.n_rows / (2 * kTile) * (2 * kTile);
  if (paired > 0) {
    configure(kTile, kTile, false);
    size_t panel = 0;
    for (; panel + 2 <= p.n_panels; panel += 2)
      for (size_t row = 0; row < paired; row += 2 * kTile)
        two_by_two(p, p.x + row * p.depth, p.panel(panel), p.y + row * p.y_stride + panel * kTile,
                   look_ahead(p, panel, row, paired));
    for (; panel < p.n_panels; ++panel)
      for (size_t row = 0; row < paired; row += kTile)
        one_by_one(p, p.x + row * p.depth, p.panel(panel), p.y + row * p.y_stride + panel * kTile);
  }
  for (size_t row = paired; row < p.n_rows; row += kTile)
    single_row_tile(p, row, std::min(kTile, p.n_rows - row));
  _tile_release();
}

#else

bool tile_unit_available() { return false; }
void multiply_tiles(const PanelProduct&) { PLUMB_CHECK(false && "this build has no tile unit"); }

#endif

}  // namespace plumb
