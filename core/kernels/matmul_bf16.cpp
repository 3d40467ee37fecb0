#include "core/kernels/matmul_bf16.h"

#include <algorithm>

#include "core/kernels/bf16_rounding.h"
#include "core/kernels/bf16_units.h"
#include "core/kernels/panel_tasks.h"
#include "core/kernels/rounded_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/matmul_bf16.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/kernels/vector_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// store(rounded vector, where) for all of a row; its tail goes through a full vector too.
template <class T, class Store>
HWY_INLINE void round_all(const float* source, size_t n, T* target, const Store& store) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) store(hn::LoadU(d, source + i), target + i);
  if (i == n) return;
  float tail[HWY_MAX_BYTES / 4] = {};
  T rounded[HWY_MAX_BYTES / 4];
  std::copy(source + i, source + n, tail);
  store(hn::LoadU(d, tail), rounded);
  std::copy(rounded, rounded + (n - i), target + i);
}

void round_row(const float* source, size_t n, uint16_t* target) {
  const hn::ScalableTag<float> d;
  round_all(source, n, target, [d](auto x, uint16_t* at) HWY_ATTR { store_bf16(d, x, at); });
}

// The same, each result as a float.
void round_floats(const float* source, size_t n, float* target) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  round_all(source, n, target, [d, du](auto x, float* at) HWY_ATTR {
    const auto upper = hn::Set(du, 0xFFFF0000U);
    hn::StoreU(hn::BitCast(d, hn::And(bf16_bits_of(d, x), upper)), d, at);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(round_row);
HWY_EXPORT(round_floats);

namespace {

// Fewer rows than this leave most of a tile empty, and reading the weights is the work anyway.
constexpr size_t kFewestTileRows = 4;

Bf16Unit choose_unit(size_t n_rows) {
  if (tile_unit_available() && n_rows >= kFewestTileRows) return Bf16Unit::kTiles;
  return dot_unit_available() ? Bf16Unit::kDots : Bf16Unit::kWiden;
}

// Panels that end within y at once; a ragged last one by way of a buffer of its own.
void multiply_panels(Bf16Unit unit, PanelProduct product, size_t n_columns) {
  const size_t whole = std::min(product.n_panels, n_columns / PackedMatrix::kPanel);
  const size_t ragged = product.n_panels - whole;
  product.n_panels = whole;
  if (whole > 0) multiply(unit, product);
  if (ragged == 0) return;
  thread_local Mat<float> buffer;
  buffer.resize(product.n_rows, PackedMatrix::kPanel);
  const size_t done = whole * PackedMatrix::kPanel, columns = n_columns - done;
  float* y = product.y + done;
  const size_t y_stride = product.y_stride;
  const bool add = product.add;
  product.panels = product.panel(whole);
  product.n_panels = 1;
  product.y = buffer.data();
  product.y_stride = PackedMatrix::kPanel;
  product.add = false;
  multiply(unit, product);
  for (size_t r = 0; r < product.n_rows; ++r)
    for (size_t c = 0; c < columns; ++c)
      y[r * y_stride + c] = add ? y[r * y_stride + c] + buffer(r, c) : buffer(r, c);
}

void matmul_widened(Team& team, MatView<const float> x, const PackedMatrix& w, MatView<float> y,
                    MatmulMode mode) {
  constexpr size_t kRowsPerTask = 32;
  thread_local Mat<float> rounded;
  rounded.resize(x.rows(), x.cols());
  Mat<float>& target = rounded;
  team.run((x.rows() + kRowsPerTask - 1) / kRowsPerTask, [&](size_t task) {
    const size_t end = std::min(x.rows(), (task + 1) * kRowsPerTask);
    for (size_t r = task * kRowsPerTask; r < end; ++r)
      HWY_DYNAMIC_DISPATCH(round_floats)(x.row(r), x.cols(), target.row(r));
  });
  matmul(team, rounded, w, y, mode);
}

}  // namespace

std::string_view bf16_unit_name(Bf16Unit unit) {
  return unit == Bf16Unit::kTiles ? "tiles" : unit == Bf16Unit::kDots ? "dots" : "widen";
}

bool available(Bf16Unit unit) {
  return unit == Bf16Unit::kTiles  ? tile_unit_available()
         : unit == Bf16Unit::kDots ? dot_unit_available()
                                   : true;
}

Bf16Unit bf16_unit() { return choose_unit(kFewestTileRows); }

void round_row_to_bf16(std::span<const float> source, BF16* target) {
  static_assert(sizeof(BF16) == sizeof(uint16_t));
  HWY_DYNAMIC_DISPATCH(round_row)(source.data(), source.size(), &target->bits);
}

void matmul_bf16(Team& team, MatView<const float> x, const PackedMatrix& w, MatView<float> y,
                 MatmulMode mode, std::optional<Bf16Unit> wanted) {
  PLUMB_CHECK(w.type() == WeightType::kBF16);
  PLUMB_CHECK(x.cols() == w.n_in() && y.cols() == w.n_out() && x.rows() == y.rows());
  if (x.rows() == 0 || w.n_out() == 0) return;
  const Bf16Unit unit = wanted.value_or(choose_unit(x.rows()));
  PLUMB_CHECK(available(unit));
  if (unit == Bf16Unit::kWiden) return matmul_widened(team, x, w, y, mode);
  thread_local Mat<BF16> rounded;
  round_inputs(team, x, w.padded_in(), unit, rounded);
  multiply_rounded(team, rounded, x.rows(), w, y, mode, unit);
}

void round_inputs(Team& team, MatView<const float> x, size_t depth, Bf16Unit unit,
                  Mat<BF16>& rounded) {
  constexpr size_t kRowsPerTask = 2 * kTileRows;
  rounded.resize((x.rows() + kTileRows - 1) / kTileRows * kTileRows, depth);
  Mat<BF16>& target = rounded;
  team.run((x.rows() + kRowsPerTask - 1) / kRowsPerTask, [&](size_t task) {
    const size_t end = std::min(x.rows(), (task + 1) * kRowsPerTask);
    for (size_t r = task * kRowsPerTask; r < end; ++r) {
      round_chunks(x.row(r), x.cols(), depth, chunk_step(unit), rounded_row(unit, target, r));
    }
  });
}

void multiply_rounded(Team& team, MatView<const BF16> x, size_t n_rows, const PackedMatrix& w,
                      MatView<float> y, MatmulMode mode, Bf16Unit unit) {
  const auto n_threads = static_cast<size_t>(team.size());
  const PanelTasks tasks = unit == Bf16Unit::kTiles && n_rows >= kTileRows
                               ? plan_tile_tasks(w.panel_count(), n_rows, n_threads)
                               : plan_panel_tasks(w.panel_count(), n_rows, n_threads);
  team.run(tasks.count(), [&](size_t task) {
    const PanelTask part = tasks.at(task);
    const size_t column = part.first_panel * PackedMatrix::kPanel;
    PanelProduct product;
    product.x = x.row(part.first_row);
    product.n_rows = part.n_rows;
    product.panels = w.bf16_panel(part.first_panel);
    product.n_panels = part.n_panels;
    product.depth = w.padded_in();
    product.y = y.row(part.first_row) + column;
    product.y_stride = y.stride();
    product.add = mode == MatmulMode::kAdd;
    if (part.first_panel + part.n_panels < w.panel_count())
      product.next = w.bf16_panel(part.first_panel + part.n_panels);
    multiply_panels(unit, product, w.n_out() - column);
  });
}

}  // namespace plumb
#endif  // HWY_ONCE
