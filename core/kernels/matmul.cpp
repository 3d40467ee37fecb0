#include "core/kernels/matmul.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/matmul.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// A tile is MR rows by NP panels of 16 outputs, all its sums in registers. Inputs are walked in
// blocks of kBlock so that the panels of one block stay in L1/L2 while all rows pass by; sums are
// parked in y between blocks, which leaves each chain as it was.
//
//              panel p        panel p+1
//   x row r  [ 16 sums ...  | 16 sums ... ]   += x[r][k] * w[p][k][0..15]
HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr size_t kLanes = HWY_MAX_BYTES / 4 < 16 ? HWY_MAX_BYTES / 4 : 16;  // floats a vector
constexpr size_t kVectors = 16 / kLanes;                                    // vectors a panel
// Registers: 32 with AVX-512 (12 rows x 2 panels), 16 below it (6 rows x 1 panel of 2 vectors).
constexpr size_t kMaxRows = kVectors == 1 ? 12 : kVectors == 2 ? 6 : 3;
constexpr size_t kWidePanels = kVectors == 1 ? 8 : kVectors == 2 ? 4 : 2;  // for a single row
constexpr size_t kTilePanels = kVectors == 1 ? 2 : 1;
constexpr size_t kBlock = 1024;

struct Tile {
  const float* x;
  size_t x_stride;
  float* y;
  size_t y_stride;
  size_t first_panel;
  size_t k_begin, k_end;  // k_begin even
  bool first_block, last_block;
  bool add;               // kAdd
  const float* old;       // with add: y's former content, same stride, saved by the caller
};

template <WeightType kType>
HWY_INLINE void load_panel(const PackedMatrix& w, size_t panel, size_t k, V* HWY_RESTRICT even,
                           V* HWY_RESTRICT odd) {
  const D d;
  if constexpr (kType == WeightType::kF32) {
    const float* source = w.f32_panel(panel) + k * 16;
    for (size_t v = 0; v < kVectors; ++v) {
      even[v] = hn::Load(d, source + v * kLanes);
      odd[v] = hn::Load(d, source + 16 + v * kLanes);
    }
  } else if constexpr (kType == WeightType::kBF16) {
    const hn::RebindToUnsigned<D> du;
    const auto* source = reinterpret_cast<const uint32_t*>(w.bf16_panel(panel) + k * 16);
    for (size_t v = 0; v < kVectors; ++v) {
      const auto pair = hn::Load(du, source + v * kLanes);
      even[v] = hn::BitCast(d, hn::ShiftLeft<16>(pair));
      odd[v] = hn::BitCast(d, hn::And(pair, hn::Set(du, 0xFFFF0000U)));
    }
  } else {
    const hn::RebindToSigned<D> di;
    const hn::Rebind<int8_t, D> d8;
    const int8_t* source = w.i8_panel(panel) + k * 16;
    for (size_t v = 0; v < kVectors; ++v) {
      even[v] = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, source + v * kLanes)));
      odd[v] = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, source + 16 + v * kLanes)));
    }
  }
}

// One input only: the last of an odd count.
template <WeightType kType>
HWY_INLINE void load_single(const PackedMatrix& w, size_t panel, size_t k, V* HWY_RESTRICT even) {
  const D d;
  if constexpr (kType == WeightType::kBF16) {
    V odd[kVectors];
    load_panel<kType>(w, panel, k, even, odd);
  } else if constexpr (kType == WeightType::kF32) {
    for (size_t v = 0; v < kVectors; ++v) even[v] = hn::Load(d, w.f32_panel(panel) + k * 16 + v * kLanes);
  } else {
    const hn::RebindToSigned<D> di;
    const hn::Rebind<int8_t, D> d8;
    for (size_t v = 0; v < kVectors; ++v)
      even[v] = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, w.i8_panel(panel) + k * 16 + v * kLanes)));
  }
}

template <WeightType kType, size_t MR, size_t NP>
HWY_INLINE void run_tile(const PackedMatrix& w, const Tile& t) {
  const D d;
  V sum[MR][NP][kVectors];
  for (size_t r = 0; r < MR; ++r)
    for (size_t p = 0; p < NP; ++p)
      for (size_t v = 0; v < kVectors; ++v)
        sum[r][p][v] = t.first_block ? hn::Zero(d)
                                     : hn::LoadU(d, t.y + r * t.y_stride + p * 16 + v * kLanes);
  const size_t pairs_end = t.k_begin + (t.k_end - t.k_begin) / 2 * 2;
  for (size_t k = t.k_begin; k < pairs_end; k += 2) {
    for (size_t p = 0; p < NP; ++p) {
      V even[kVectors], odd[kVectors];
      load_panel<kType>(w, t.first_panel + p, k, even, odd);
      for (size_t r = 0; r < MR; ++r) {
        const V x0 = hn::Set(d, t.x[r * t.x_stride + k]);
        const V x1 = hn::Set(d, t.x[r * t.x_stride + k + 1]);
        for (size_t v = 0; v < kVectors; ++v) sum[r][p][v] = hn::MulAdd(x0, even[v], sum[r][p][v]);
        for (size_t v = 0; v < kVectors; ++v) sum[r][p][v] = hn::MulAdd(x1, odd[v], sum[r][p][v]);
      }
    }
  }
  if (pairs_end < t.k_end) {
    for (size_t p = 0; p < NP; ++p) {
      V even[kVectors];
      load_single<kType>(w, t.first_panel + p, pairs_end, even);
      for (size_t r = 0; r < MR; ++r) {
        const V x0 = hn::Set(d, t.x[r * t.x_stride + pairs_end]);
        for (size_t v = 0; v < kVectors; ++v) sum[r][p][v] = hn::MulAdd(x0, even[v], sum[r][p][v]);
      }
    }
  }
  for (size_t r = 0; r < MR; ++r)
    for (size_t p = 0; p < NP; ++p)
      for (size_t v = 0; v < kVectors; ++v) {
        V value = sum[r][p][v];
        if (t.last_block) {
          if constexpr (kType == WeightType::kI8)
            value = hn::Mul(value, hn::LoadU(d, w.scales(t.first_panel + p) + v * kLanes));
          if (t.add) value = hn::Add(hn::LoadU(d, t.old + r * t.y_stride + p * 16 + v * kLanes), value);
        }
        hn::StoreU(value, d, t.y + r * t.y_stride + p * 16 + v * kLanes);
      }
}

template <WeightType kType, size_t NP>
HWY_INLINE void run_rows(const PackedMatrix& w, const Tile& t, size_t rows) {
  switch (rows) {
    case 1: return run_tile<kType, 1, NP>(w, t);
    case 2: return run_tile<kType, 2, NP>(w, t);
    case 3: return run_tile<kType, 3, NP>(w, t);
    case 4: if constexpr (kMaxRows >= 4) return run_tile<kType, 4, NP>(w, t); break;
    case 5: if constexpr (kMaxRows >= 4) return run_tile<kType, 5, NP>(w, t); break;
    case 6: if constexpr (kMaxRows >= 4) return run_tile<kType, 6, NP>(w, t); break;
    case 7: if constexpr (kMaxRows >= 8) return run_tile<kType, 7, NP>(w, t); break;
    case 8: if constexpr (kMaxRows >= 8) return run_tile<kType, 8, NP>(w, t); break;
    case 9: if constexpr (kMaxRows >= 8) return run_tile<kType, 9, NP>(w, t); break;
    case 10: if constexpr (kMaxRows >= 8) return run_tile<kType, 10, NP>(w, t); break;
    case 11: if constexpr (kMaxRows >= 8) return run_tile<kType, 11, NP>(w, t); break;
    case 12: if constexpr (kMaxRows >= 8) return run_tile<kType, 12, NP>(w, t); break;
    default: break;
  }
}

// Panels [first, last) of all rows. `y` has 16-padded rows of its own (see matmul below).
template <WeightType kType>
void run_panels(const PackedMatrix& w, MatView<const float> x, MatView<float> y,
                MatView<const float> old, size_t first, size_t last, bool add) {
  const size_t n_in = w.n_in();
  for (size_t k = 0; k < n_in; k += kBlock) {
    Tile t;
    t.x_stride = x.stride();
    t.y_stride = y.stride();
    t.k_begin = k;
    t.k_end = std::min(n_in, k + kBlock);
    t.first_block = k == 0;
    t.last_block = t.k_end == n_in;
    t.add = add;
    for (size_t row = 0; row < x.rows();) {
      const size_t rows = std::min(kMaxRows, x.rows() - row);
      t.x = x.row(row);
      for (size_t p = first; p < last;) {
        t.first_panel = p;
        t.y = y.row(row) + (p - first) * 16;
        t.old = add ? old.row(row) + (p - first) * 16 : nullptr;
        if (rows == 1 && last - p >= kWidePanels) {
          run_tile<kType, 1, kWidePanels>(w, t);
          p += kWidePanels;
        } else if (rows <= 3 && last - p >= 2) {
          run_rows<kType, 2>(w, t, rows);
          p += 2;
        } else if (last - p >= kTilePanels) {
          run_rows<kType, kTilePanels>(w, t, rows);
          p += kTilePanels;
        } else {
          run_rows<kType, 1>(w, t, rows);
          p += 1;
        }
      }
      row += rows;
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

// Panels a task: enough that a task outlasts its hand-over, few enough to share among threads.
size_t panels_per_task(const PackedMatrix& w, size_t rows, size_t threads) {
  const size_t panels = w.panel_count();
  const size_t wanted_tasks = rows >= 16 ? 8 * threads : threads;
  size_t per_task = (panels + wanted_tasks - 1) / wanted_tasks;
  per_task = (per_task + 7) / 8 * 8;  // whole wide tiles
  return rows >= 16 ? std::min<size_t>(per_task, 16) : per_task;
}

// The last panel may be ragged, and kAdd needs y's old content after y was used for parking:
// both go through a small private copy.
void run_task(MatView<const float> x, const PackedMatrix& w, MatView<float> y, MatmulMode mode,
              size_t first, size_t last) {
  const size_t begin = first * 16, end = std::min(last * 16, w.n_out());
  const bool ragged = last * 16 > w.n_out();
  const bool add = mode == MatmulMode::kAdd;
  if (!ragged && !add) {
    HWY_DYNAMIC_DISPATCH(run_range)(w, x, {y.data() + begin, y.rows(), end - begin, y.stride()}, {},
                                    first, last, false);
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
  const size_t panels = w.panel_count();
  const size_t per_task = panels_per_task(w, x.rows(), static_cast<size_t>(team.size()));
  const size_t column_tasks = (panels + per_task - 1) / per_task;
  // Tall inputs are cut into row groups too, so that a narrow matrix still feeds every thread.
  constexpr size_t kRowGroup = 192;
  const size_t row_tasks = (x.rows() + kRowGroup - 1) / kRowGroup;
  team.run(column_tasks * row_tasks, [&](size_t task) {
    const size_t first = task / row_tasks * per_task;
    const size_t last = std::min(panels, first + per_task);
    const size_t row = task % row_tasks * kRowGroup;
    const size_t rows = std::min(kRowGroup, x.rows() - row);
    run_task(x.rows_from(row, rows), w, y.rows_from(row, rows), mode, first, last);
  });
}

}  // namespace plumb
#endif  // HWY_ONCE
