#include "core/kernels/matmul.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "core/kernels/panel_tasks.h"
#include "core/kernels/unroll.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/matmul.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "core/kernels/vector_rows-inl.h"

// A tile is MR rows by NP panels of 16 outputs, all its sums in registers. Where many rows pass by,
// inputs are walked in blocks so that the panels of one block stay close (L1 or L2) while all rows
// pass by; sums are parked in y between blocks, which leaves each chain as it was. Rounded weights
// are widened once for a block then, not once for every tile of rows.
//
//              panel p        panel p+1
//   x row r  [ 16 sums ...  | 16 sums ... ]   += x[r][k] * w[p][k][0..15]

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());  // floats a vector
constexpr size_t kVectors = 16 / kLanes;                                    // vectors a panel
// Vectors of sums that fit the registers beside weights and an input: of 32 with AVX-512, of 16
// below it; one panel's, where a vector is one number. As tall as wide loads least: 6 rows by 4
// panels take 10 loads for 24 multiply-adds.
constexpr size_t kSums = kVectors == 1 ? 24 : std::max<size_t>(12, kVectors);
constexpr size_t kMaxRows = kVectors == 1 ? 6 : kSums / kVectors;

// Panels that `n_rows` rows take at once: a sum's next link waits for its last, so few rows need
// many.
constexpr size_t kMostPanels = 4;
constexpr bool fits(size_t n_rows, size_t n_panels) {
  return n_rows * n_panels * kVectors <= kSums && n_panels <= kMostPanels;
}

// Inputs of a block; even. Below AVX-512 a tile is one panel wide and reads it again for every six
// rows, so the panel's block should live in L1 (16 KiB); wider tiles have theirs in L2. So do widened
// weights, which a block also bounds.
constexpr size_t kBlock = kVectors == 1 ? 2048 : 256;
constexpr size_t kWidenedBlock = 256;

template <WeightType kType>
using Weight = std::conditional_t<kType == WeightType::kF32, float,
                                  std::conditional_t<kType == WeightType::kBF16, BF16, int8_t>>;

// The panels that tiles read: packed weights, or a part of them widened.
template <WeightType kType>
struct Panels {
  const Weight<kType>* data;  // input `first_input` of panel `first_panel`
  size_t step;                // elements from a panel to the next
  size_t first_panel, first_input;
  const float* scales;        // of panel 0 and all that follow; null: none

  HWY_INLINE const Weight<kType>* at(size_t panel, size_t k) const {
    return data + (panel - first_panel) * step + (k - first_input) * 16;
  }
};

template <WeightType kType>
Panels<kType> panels_of(const PackedMatrix& w) {
  if constexpr (kType == WeightType::kF32)
    return {w.f32_panel(0), w.n_in() * 16, 0, 0, nullptr};
  else if constexpr (kType == WeightType::kBF16)
    return {w.bf16_panel(0), w.padded_in() * 16, 0, 0, nullptr};
  else
    return {w.i8_panel(0), w.n_in() * 16, 0, 0, w.scales(0)};
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
  const float* old;       // what the last block adds to y; null: nothing
  size_t old_stride;
  const std::byte* next;  // a share of the panels after these; never null
  size_t next_step;       // bytes of it to fetch a pair of inputs; 0: nothing is wanted
};

// The 16 weights of input kOdd of the pair at `pair`, widened.
template <WeightType kType, size_t kOdd>
HWY_INLINE void load_input(const Weight<kType>* pair, V (&out)[kVectors]) {
  const D d;
  if constexpr (kType == WeightType::kF32) {
    PLUMB_UNROLL
    for (size_t v = 0; v < kVectors; ++v) out[v] = hn::Load(d, pair + kOdd * 16 + v * kLanes);
  } else if constexpr (kType == WeightType::kBF16) {
    // A pair of inputs lies in one 32-bit lane; a bf16 is the upper half of its f32.
    const hn::RebindToUnsigned<D> du;
    const auto* source = reinterpret_cast<const uint32_t*>(pair);
    PLUMB_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      const auto both = hn::Load(du, source + v * kLanes);
      out[v] = hn::BitCast(d, kOdd != 0 ? hn::And(both, hn::Set(du, 0xFFFF0000U)) : hn::ShiftLeft<16>(both));
    }
  } else {
    const hn::RebindToSigned<D> di;
    const hn::Rebind<int8_t, D> d8;
    PLUMB_UNROLL
    for (size_t v = 0; v < kVectors; ++v)
      out[v] = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, pair + kOdd * 16 + v * kLanes)));
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

// Adds the products of input kOdd of a pair, to which `rows` (but for kOdd) and `panels` point, to
// all sums of a tile.
template <WeightType kType, size_t kOdd, size_t MR, size_t NP>
HWY_INLINE void add_products(const Weight<kType>* const (&panels)[NP], const RowPointers<MR>& rows,
                             V (&sum)[MR][NP][kVectors]) {
  const D d;
  V weights[NP][kVectors];
  PLUMB_UNROLL
  for (size_t p = 0; p < NP; ++p) load_input<kType, kOdd>(panels[p], weights[p]);
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r) {
    const V input = hn::Set(d, rows.at(r, kOdd));
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p)
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v) sum[r][p][v] = fused_multiply_add(d, input, weights[p][v], sum[r][p][v]);
  }
}

// Tall tiles below AVX-512 have loads to spare: on their way they fetch what is wanted after them.
template <size_t MR>
constexpr bool kFetches = kVectors > 1 && MR > 3;

// Not inlined: dozens of these in one function leave the compiler short of registers.
template <WeightType kType, size_t MR, size_t NP>
HWY_NOINLINE void run_tile(const Panels<kType>& w, const Tile& t) {
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
  const Weight<kType>* panels[NP];
  PLUMB_UNROLL
  for (size_t p = 0; p < NP; ++p) panels[p] = w.at(t.first_panel + p * t.spread, t.k_begin);
  RowPointers<MR> rows(t);
  const std::byte* next = t.next;
  for (size_t n_pairs = (t.k_end - t.k_begin) / 2; n_pairs > 0; --n_pairs, rows.advance(2)) {
    add_products<kType, 0>(panels, rows, sum);
    add_products<kType, 1>(panels, rows, sum);
    PLUMB_UNROLL
    for (auto& panel : panels) panel += 32;
    if constexpr (kFetches<MR>) {
      hwy::Prefetch(next);
      next += t.next_step;
    }
  }
  if ((t.k_end - t.k_begin) % 2 != 0) add_products<kType, 0>(panels, rows, sum);
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r)
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p)
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v) {
        V value = sum[r][p][v];
        if (t.last_block) {
          if (w.scales != nullptr)
            value = hn::Mul(value, hn::LoadU(d, w.scales + (t.first_panel + p * t.spread) * 16 + v * kLanes));
          if (t.old != nullptr)
            value = hn::Add(hn::LoadU(d, t.old + r * t.old_stride + p * t.spread * 16 + v * kLanes), value);
        }
        hn::StoreU(value, d, t.y + r * t.y_stride + p * t.spread * 16 + v * kLanes);
      }
}

// run_tile of 1, 2, ... kMaxRows rows by NP panels; where they do not fit, of one panel.
template <WeightType kType, size_t NP, size_t... kRow>
HWY_INLINE void run_rows(const Panels<kType>& w, const Tile& t, size_t rows, std::index_sequence<kRow...>) {
  using Run = void (*)(const Panels<kType>&, const Tile&);
  static constexpr Run kRuns[] = {run_tile<kType, kRow + 1, fits(kRow + 1, NP) ? NP : 1>...};
  kRuns[rows - 1](w, t);
}

// Panels that one pass over a tile of `rows` rows takes, of `n_left`.
HWY_INLINE size_t panels_at_once(size_t rows, size_t n_left) {
  size_t n = kMostPanels;
  while (n > 1 && (n > n_left || !fits(rows, n))) n /= 2;
  return n;
}

// n_panels: 4, 2 or 1, as panels_at_once says.
template <WeightType kType>
HWY_INLINE void run_some_panels(const Panels<kType>& w, const Tile& t, size_t rows, size_t n_panels) {
  constexpr auto kRows = std::make_index_sequence<kMaxRows>();
  if (n_panels == 4) return run_rows<kType, 4>(w, t, rows, kRows);
  if (n_panels == 2) return run_rows<kType, 2>(w, t, rows, kRows);
  run_rows<kType, 1>(w, t, rows, kRows);
}

// Moves `t` along. (A copy of it would wait for all the stores before it: they are forwarded one by one only.)
template <WeightType kType>
HWY_INLINE void run_exactly(const Panels<kType>& w, Tile& t, size_t rows, size_t n_panels) {
  for (size_t done = 0; done < n_panels;) {
    const size_t taken = panels_at_once(rows, n_panels - done);
    run_some_panels(w, t, rows, taken);
    done += taken;
    t.first_panel += taken;
    t.y += taken * 16;
    if (t.old != nullptr) t.old += taken * 16;
  }
}

// Rows of one tile by a stretch of panels: reading the panels is the work, and goes fastest where
// each stream reads on and on. So a tile's panels lie a share of the stretch apart. Returns how
// many panels were taken, as many as make whole shares.
template <WeightType kType>
HWY_INLINE size_t run_shares(const Panels<kType>& w, Tile& t, size_t rows, size_t n_panels) {
  const size_t n_shares = panels_at_once(rows, kMostPanels);
  if (n_shares == 1) return 0;
  t.spread = n_panels / n_shares;
  for (size_t i = 0; i < t.spread; ++i, ++t.first_panel, t.y += 16) {
    run_some_panels(w, t, rows, n_shares);
    if (t.old != nullptr) t.old += 16;
  }
  const size_t taken = t.spread * n_shares;
  t.spread = 1;
  return taken;
}

// Inputs [t.k_begin, t.k_end) of `n_panels` panels from `first` on, in f32.
template <WeightType kType>
Panels<WeightType::kF32> widen(const Panels<kType>& w, const Tile& t, size_t first, size_t n_panels) {
  const D d;
  thread_local Mat<float> widened;
  widened.resize(kMostPanels, kWidenedBlock * 16);
  for (size_t p = 0; p < n_panels; ++p) {
    const auto* pair = w.at(first + p, t.k_begin);
    float* target = widened.row(p);
    V out[kVectors];
    for (size_t k = t.k_begin; k < t.k_end; k += 2, pair += 32, target += 32) {
      load_input<kType, 0>(pair, out);
      for (size_t v = 0; v < kVectors; ++v) hn::Store(out[v], d, target + v * kLanes);
      if (k + 1 == t.k_end) break;
      load_input<kType, 1>(pair, out);
      for (size_t v = 0; v < kVectors; ++v) hn::Store(out[v], d, target + 16 + v * kLanes);
    }
  }
  return {widened.data(), kWidenedBlock * 16, first, t.k_begin, w.scales};
}

// Panels [first, last) of all rows. `y` has room for whole panels. With `add`, they are added to it.
template <WeightType kType>
void run_panels(const PackedMatrix& weights, MatView<const float> x, MatView<float> y, size_t first,
                size_t last, bool add) {
  constexpr size_t kTilesThatWiden = 4;
  const Panels<kType> w = panels_of<kType>(weights);
  const size_t n_in = weights.n_in();
  const size_t n_tiles = (x.rows() + kMaxRows - 1) / kMaxRows;
  const size_t t_rows = (x.rows() + n_tiles - 1) / n_tiles;  // 13 rows are 5, 5 and 3, not 6, 6 and 1
  const bool widening = kType != WeightType::kF32 && n_tiles >= kTilesThatWiden;
  const size_t block = n_tiles == 1 ? n_in : widening ? kWidenedBlock : kBlock;
  MatView<const float> old = y;
  if (add && block < n_in) {  // y holds parked sums meanwhile
    thread_local Mat<float> saved;
    const size_t width = (last - first) * 16;
    saved.resize(y.rows(), width);
    for (size_t r = 0; r < y.rows(); ++r) std::copy(y.row(r), y.row(r) + width, saved.row(r));
    old = saved;
  }
  Tile t;
  t.x_stride = x.stride();
  t.y_stride = y.stride();
  t.old_stride = old.stride();
  t.spread = 1;
  t.next = reinterpret_cast<const std::byte*>(x.data());
  t.next_step = 0;
  for (size_t k = 0; k < n_in; k += block) {
    t.k_begin = k;
    t.k_end = std::min(n_in, k + block);
    t.first_block = k == 0;
    t.last_block = t.k_end == n_in;
    size_t p = first;
    const auto stand_at = [&](size_t row) {
      t.first_panel = p;
      t.x = x.row(row);
      t.y = y.row(row) + (p - first) * 16;
      t.old = add ? old.row(row) + (p - first) * 16 : nullptr;
    };
    if (n_tiles == 1) {
      stand_at(0);
      p += run_shares(w, t, x.rows(), last - first);
    }
    while (p < last) {
      // What the first rows cannot take at once is left for the next turn.
      const size_t taken = panels_at_once(std::min(t_rows, x.rows()), last - p);
      // Weights of the next panel come from afar: each tile of rows fetches a share of them.
      const bool fetching = n_tiles > 1 && p + taken < last;
      t.next_step = fetching ? 32 * sizeof(Weight<kType>) / n_tiles : 0;
      const auto* next = reinterpret_cast<const std::byte*>(w.at(fetching ? p + taken : p, t.k_begin));
      const auto run_all_rows = [&](const auto& panels) HWY_ATTR {
        for (size_t row = 0; row < x.rows(); row += t_rows) {
          stand_at(row);
          t.next = next;
          next += (t.k_end - t.k_begin) / 2 * t.next_step;
          run_exactly(panels, t, std::min(t_rows, x.rows() - row), taken);
        }
      };
      if (widening)
        run_all_rows(widen(w, t, p, taken));
      else
        run_all_rows(w);
      p += taken;
    }
  }
}

void run_range(const PackedMatrix& w, MatView<const float> x, MatView<float> y, size_t first, size_t last,
               bool add) {
  switch (w.type()) {
    case WeightType::kF32: return run_panels<WeightType::kF32>(w, x, y, first, last, add);
    case WeightType::kBF16: return run_panels<WeightType::kBF16>(w, x, y, first, last, add);
    case WeightType::kI8: return run_panels<WeightType::kI8>(w, x, y, first, last, add);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(run_range);

namespace {

// A ragged last panel goes through a private copy.
void run_task(MatView<const float> x, const PackedMatrix& w, MatView<float> y, MatmulMode mode,
              size_t first, size_t last) {
  const size_t begin = first * 16, end = std::min(last * 16, w.n_out());
  const bool add = mode == MatmulMode::kAdd;
  const MatView<float> part = y.cols_from(begin, end - begin);
  if (last * 16 <= w.n_out()) {
    HWY_DYNAMIC_DISPATCH(run_range)(w, x, part, first, last, add);
    return;
  }
  thread_local Mat<float> whole;
  whole.resize(x.rows(), (last - first) * 16);
  for (size_t r = 0; r < x.rows() && add; ++r) {
    std::copy(part.row(r), part.row(r) + part.cols(), whole.row(r));
    std::fill(whole.row(r) + part.cols(), whole.row(r) + whole.cols(), 0.0F);
  }
  HWY_DYNAMIC_DISPATCH(run_range)(w, x, whole, first, last, add);
  for (size_t r = 0; r < x.rows(); ++r)
    std::copy(whole.row(r), whole.row(r) + part.cols(), part.row(r));
}

}  // namespace

void matmul_panels(MatView<const float> x, const PackedMatrix& w, size_t first, size_t n, MatView<float> y) {
  PLUMB_CHECK(x.cols() == w.n_in() && x.rows() == y.rows() && y.cols() == n * PackedMatrix::kPanel);
  PLUMB_CHECK((first + n) * PackedMatrix::kPanel <= w.n_out());
  HWY_DYNAMIC_DISPATCH(run_range)(w, x, y, first, first + n, false);
}

void matmul(Team& team, MatView<const float> x, const PackedMatrix& w, MatView<float> y,
            MatmulMode mode) {
  PLUMB_CHECK(x.cols() == w.n_in() && y.cols() == w.n_out() && x.rows() == y.rows());
  if (x.rows() == 0 || w.n_out() == 0) return;
  const PanelTasks tasks = plan_panel_tasks(w.panel_count(), x.rows(), static_cast<size_t>(team.size()));
  team.run(tasks.count(), [&](size_t task) {
    const PanelTask part = tasks.at(task);
    run_task(x.rows_from(part.first_row, part.n_rows), w, y.rows_from(part.first_row, part.n_rows), mode,
             part.first_panel, part.first_panel + part.n_panels);
  });
}

}  // namespace plumb
#endif  // HWY_ONCE
