#include "core/kernels/matmul.h"

#include <algorithm>
#include <utility>

#include "core/kernels/panel_tasks.h"
#include "core/kernels/unroll.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/matmul.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// A tile is MR rows by NP panels of 16 outputs, all its sums in registers. Where many rows pass by,
// inputs are walked in blocks of kBlock so that the panels of one block stay close (L1 or L2) while all
// rows pass by; sums are parked in y between blocks, which leaves each chain as it was.
//
//              panel p        panel p+1
//   x row r  [ 16 sums ...  | 16 sums ... ]   += x[r][k] * w[p][k][0..15]
#ifndef PLUMB_MATMUL_SHARED
#define PLUMB_MATMUL_SHARED
namespace plumb {
constexpr size_t kBlock = 2048;  // inputs; even. Two panels of it are 256 KiB: at home in any L2
}
#endif

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr size_t kLanes = HWY_MAX_BYTES / 4 < 16 ? HWY_MAX_BYTES / 4 : 16;  // floats a vector
constexpr size_t kVectors = 16 / kLanes;                                    // vectors a panel
// Vectors of sums that fit the registers beside weights and an input: of 32 with AVX-512, of 16
// below it. As tall as wide loads least: 6 rows by 4 panels take 10 loads for 24 multiply-adds.
constexpr size_t kSums = kVectors == 1 ? 24 : 12;
constexpr size_t kMaxRows = kVectors == 1 ? 6 : kSums / kVectors;

// Panels that `n_rows` rows take at once: a sum's next link waits for its last, so few rows need
// many.
constexpr size_t kMostPanels = 4;
constexpr bool fits(size_t n_rows, size_t n_panels) {
  return n_rows * n_panels * kVectors <= kSums && n_panels <= kMostPanels;
}

struct Tile {
  const float* x;
  size_t x_stride;
  float* y;
  size_t y_stride;
  size_t first_panel;
  size_t spread;          // from one panel of the tile to the next, in panels
  size_t k_begin, k_end;  // k_begin even
  bool first_block, last_block;
  bool add;               // kAdd
  const float* old;       // with add: y's former content, same stride, saved by the caller
};

// The 16 weights of input k + kOdd of a panel, widened. REQUIRES k even.
template <WeightType kType, size_t kOdd>
HWY_INLINE void load_input(const PackedMatrix& w, size_t panel, size_t k, V (&out)[kVectors]) {
  const D d;
  if constexpr (kType == WeightType::kF32) {
    const float* source = w.f32_panel(panel) + (k + kOdd) * 16;
    PLUMB_UNROLL
    for (size_t v = 0; v < kVectors; ++v) out[v] = hn::Load(d, source + v * kLanes);
  } else if constexpr (kType == WeightType::kBF16) {
    // A pair of inputs lies in one 32-bit lane; a bf16 is the upper half of its f32.
    const hn::RebindToUnsigned<D> du;
    const auto* source = reinterpret_cast<const uint32_t*>(w.bf16_panel(panel) + k * 16);
    PLUMB_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      const auto pair = hn::Load(du, source + v * kLanes);
      out[v] = hn::BitCast(d, kOdd != 0 ? hn::And(pair, hn::Set(du, 0xFFFF0000U)) : hn::ShiftLeft<16>(pair));
    }
  } else {
    const hn::RebindToSigned<D> di;
    const hn::Rebind<int8_t, D> d8;
    const int8_t* source = w.i8_panel(panel) + (k + kOdd) * 16;
    PLUMB_UNROLL
    for (size_t v = 0; v < kVectors; ++v)
      out[v] = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, source + v * kLanes)));
  }
}

// Where the rows of a tile stand. Twelve pointers do not fit the registers beside the rest; every third one does, and the two rows
// after it are reached by a scaled stride.
template <size_t MR>
struct RowPointers {
  const float* third[(MR + 2) / 3];
  size_t stride;

  HWY_INLINE RowPointers(const Tile& t) : stride(t.x_stride) {
    PLUMB_UNROLL
    for (size_t i = 0; i < (MR + 2) / 3; ++i) third[i] = t.x + t.k_begin + 3 * i * stride;
  }
  HWY_INLINE float at(size_t r, size_t k) const { return third[r / 3][r % 3 * stride + k]; }
  HWY_INLINE void advance(size_t n) {
    PLUMB_UNROLL
    for (auto& pointer : third) pointer += n;
  }
};

// Adds the products of input k + kOdd, to which `rows` point but for kOdd, to all sums of a tile.
template <WeightType kType, size_t kOdd, size_t MR, size_t NP>
HWY_INLINE void add_products(const PackedMatrix& w, const Tile& t, size_t k, const RowPointers<MR>& rows,
                             V (&sum)[MR][NP][kVectors]) {
  const D d;
  V weights[NP][kVectors];
  PLUMB_UNROLL
  for (size_t p = 0; p < NP; ++p) load_input<kType, kOdd>(w, t.first_panel + p * t.spread, k, weights[p]);
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r) {
    const V input = hn::Set(d, rows.at(r, kOdd));
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p)
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v) sum[r][p][v] = hn::MulAdd(input, weights[p][v], sum[r][p][v]);
  }
}

// Not inlined: dozens of these in one function leave the compiler short of registers.
template <WeightType kType, size_t MR, size_t NP>
HWY_NOINLINE void run_tile(const PackedMatrix& w, const Tile& t) {
  const D d;
  V sum[MR][NP][kVectors];
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r)
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p)
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v)
        sum[r][p][v] = t.first_block ? hn::Zero(d)
                                     : hn::LoadU(d, t.y + r * t.y_stride + p * t.spread * 16 + v * kLanes);
  const size_t pairs_end = t.k_begin + (t.k_end - t.k_begin) / 2 * 2;
  RowPointers<MR> rows(t);
  for (size_t k = t.k_begin; k < pairs_end; k += 2, rows.advance(2)) {
    add_products<kType, 0>(w, t, k, rows, sum);
    add_products<kType, 1>(w, t, k, rows, sum);
  }
  if (pairs_end < t.k_end) add_products<kType, 0>(w, t, pairs_end, rows, sum);
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r)
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p)
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v) {
        V value = sum[r][p][v];
        if (t.last_block) {
          if constexpr (kType == WeightType::kI8)
            value = hn::Mul(value, hn::LoadU(d, w.scales(t.first_panel + p * t.spread) + v * kLanes));
          if (t.add) value = hn::Add(hn::LoadU(d, t.old + r * t.y_stride + p * t.spread * 16 + v * kLanes), value);
        }
        hn::StoreU(value, d, t.y + r * t.y_stride + p * t.spread * 16 + v * kLanes);
      }
}

// run_tile of 1, 2, ... kMaxRows rows by NP panels; where they do not fit, of one panel.
template <WeightType kType, size_t NP, size_t... kRow>
HWY_INLINE void run_rows(const PackedMatrix& w, const Tile& t, size_t rows,
                         std::index_sequence<kRow...>) {
  using Run = void (*)(const PackedMatrix&, const Tile&);
  static constexpr Run kRuns[] = {run_tile<kType, kRow + 1, fits(kRow + 1, NP) ? NP : 1>...};
  kRuns[rows - 1](w, t);
}

// Panels from `t.first_panel` that one pass over t's rows takes; returns how many.
template <WeightType kType, size_t NP = kMostPanels>
HWY_INLINE size_t run_some_panels(const PackedMatrix& w, const Tile& t, size_t rows,
                                  size_t n_left) {
  if constexpr (NP > 1) {
    if (n_left < NP || !fits(rows, NP)) return run_some_panels<kType, NP / 2>(w, t, rows, n_left);
  }
  run_rows<kType, NP>(w, t, rows, std::make_index_sequence<kMaxRows>());
  return NP;
}

// Moves `t` along. (A copy of it would wait for all the stores before it: they are forwarded one by one only.)
template <WeightType kType>
HWY_INLINE void run_exactly(const PackedMatrix& w, Tile& t, size_t rows, size_t n_panels) {
  for (size_t done = 0; done < n_panels;) {
    const size_t taken = run_some_panels<kType>(w, t, rows, n_panels - done);
    done += taken;
    t.first_panel += taken;
    t.y += taken * 16;
    if (t.old != nullptr) t.old += taken * 16;
  }
}

// Rows of one tile by a stretch of panels: reading the panels is the work, and goes fastest where
// each stream reads on and on. So a tile's panels lie a share of the stretch apart. Returns how
// many panels were taken, as many as make whole shares.
template <WeightType kType, size_t NP = kMostPanels>
HWY_INLINE size_t run_shares(const PackedMatrix& w, Tile& t, size_t rows, size_t n_panels) {
  if constexpr (NP > 1) {
    if (!fits(rows, NP)) return run_shares<kType, NP / 2>(w, t, rows, n_panels);
    t.spread = n_panels / NP;
    for (size_t i = 0; i < t.spread; ++i, ++t.first_panel, t.y += 16) {
      run_rows<kType, NP>(w, t, rows, std::make_index_sequence<kMaxRows>());
      if (t.old != nullptr) t.old += 16;
    }
    const size_t taken = t.spread * NP;
    t.spread = 1;
    return taken;
  }
  return 0;
}

// Panels [first, last) of all rows. `y` has 16-padded rows of its own (see matmul below).
template <WeightType kType>
void run_panels(const PackedMatrix& w, MatView<const float> x, MatView<float> y,
                MatView<const float> old, size_t first, size_t last, bool add) {
  const size_t n_in = w.n_in();
  const size_t n_tiles = (x.rows() + kMaxRows - 1) / kMaxRows;
  const size_t t_rows = (x.rows() + n_tiles - 1) / n_tiles;  // 13 rows are 5, 5 and 3, not 6, 6 and 1
  const size_t block = n_tiles > 1 ? kBlock : n_in;
  Tile t;
  t.x_stride = x.stride();
  t.y_stride = y.stride();
  t.spread = 1;
  t.add = add;
  for (size_t k = 0; k < n_in; k += block) {
    t.k_begin = k;
    t.k_end = std::min(n_in, k + block);
    t.first_block = k == 0;
    t.last_block = t.k_end == n_in;
    size_t taken = 0;
    size_t p = first;
    const auto stand_at = [&](size_t row) {
      t.first_panel = p;
      t.x = x.row(row);
      t.y = y.row(row) + (p - first) * 16;
      t.old = add ? old.row(row) + (p - first) * 16 : nullptr;
    };
    if (n_tiles == 1) {
      stand_at(0);
      p += run_shares<kType>(w, t, x.rows(), last - first);
    }
    for (; p < last; p += taken) {
      taken = last - p;  // what the first rows cannot take at once is left for the next turn
      for (size_t row = 0; row < x.rows(); row += t_rows) {
        const size_t rows = std::min(t_rows, x.rows() - row);
        stand_at(row);
        if (row == 0)
          taken = run_some_panels<kType>(w, t, rows, taken);
        else
          run_exactly<kType>(w, t, rows, taken);
      }
    }
  }
}

void run_range(const PackedMatrix& w, MatView<const float> x, MatView<float> y,
               MatView<const float> old, size_t first, size_t last, bool add) {
  switch (w.type()) {
    case WeightType::kF32: return run_panels<WeightType::kF32>(w, x, y, old, first, last, add);
    case WeightType::kBF16: return run_panels<WeightType::kBF16>(w, x, y, old, first, last, add);
    case WeightType::kI8: return run_panels<WeightType::kI8>(w, x, y, old, first, last, add);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(run_range);

namespace {

// A ragged last panel, and kAdd where y holds parked sums meanwhile, go through a private copy.
void run_task(MatView<const float> x, const PackedMatrix& w, MatView<float> y, MatmulMode mode,
              size_t first, size_t last) {
  const size_t begin = first * 16, end = std::min(last * 16, w.n_out());
  const bool ragged = last * 16 > w.n_out();
  const bool add = mode == MatmulMode::kAdd;
  if (!ragged && (!add || w.n_in() <= kBlock)) {
    const MatView<float> part = y.cols_from(begin, end - begin);
    HWY_DYNAMIC_DISPATCH(run_range)(w, x, part, part, first, last, add);
    return;
  }
  thread_local Mat<float> scratch, old;
  const size_t width = (last - first) * 16;
  scratch.resize(x.rows(), width);
  if (add) {
    old.resize(x.rows(), width);
    for (size_t r = 0; r < x.rows(); ++r) {
      std::copy(y.row(r) + begin, y.row(r) + end, old.row(r));
      std::fill(old.row(r) + (end - begin), old.row(r) + width, 0.0F);
    }
  }
  HWY_DYNAMIC_DISPATCH(run_range)(w, x, scratch, add ? MatView<const float>(old) : MatView<const float>(),
                                  first, last, add);
  for (size_t r = 0; r < x.rows(); ++r)
    std::copy(scratch.row(r), scratch.row(r) + (end - begin), y.row(r) + begin);
}

}  // namespace

void matmul(Team& team, MatView<const float> x, const PackedMatrix& w, MatView<float> y,
            MatmulMode mode) {
  PLUMB_CHECK(x.cols() == w.n_in() && y.cols() == w.n_out() && x.rows() == y.rows());
  if (x.rows() == 0 || w.n_out() == 0) return;
  const PanelTasks tasks = plan_panel_tasks(w, x.rows(), static_cast<size_t>(team.size()));
  team.run(tasks.count(), [&](size_t task) {
    const PanelTask part = tasks.at(task);
    run_task(x.rows_from(part.first_row, part.n_rows), w, y.rows_from(part.first_row, part.n_rows), mode,
             part.first_panel, part.first_panel + part.n_panels);
  });
}

}  // namespace plumb
#endif  // HWY_ONCE
