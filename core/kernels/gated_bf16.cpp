#include "core/kernels/gated_bf16.h"

#include <algorithm>

#include "core/kernels/bf16_units.h"
#include "core/kernels/panel_tasks.h"
#include "core/kernels/rounded_rows.h"

// This file is read once for every instruction set; what they share is declared the first time.
#ifndef PLUMB_GATED_SHARED
#define PLUMB_GATED_SHARED
namespace plumb {
// Where 16 gates and 16 ups of each row lie among sums, and where their products go.
struct GateColumns {
  const float* gate;
  const float* up;
  size_t stride;  // of both, from row to row
  uint16_t* target;
  size_t block_step;  // of the target: from 16 rows to the next 16
  size_t row_step;    // and from row to row among those
};
}  // namespace plumb
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/gated_bf16.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/kernels/vector_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void gate_columns(const GateColumns& c, size_t n_rows) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t r = 0; r < n_rows; ++r) {
    uint16_t* out = c.target + r / 16 * c.block_step + r % 16 * c.row_step;
    for (size_t i = 0; i < 16; i += lanes) {
      const auto gate = silu_of(d, hn::LoadU(d, c.gate + r * c.stride + i));
      store_bf16(d, hn::Mul(gate, hn::LoadU(d, c.up + r * c.stride + i)), out + i);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(gate_columns);

namespace {

constexpr size_t kPanel = PackedMatrix::kPanel;
static_assert(kTileRows == 16 && kTileDepth == 32 && kPanel == 16);

// A task's rows: their sums, 16 KiB a pair of panels by tiles and 24 KiB two pairs by dots, stay in
// L1, and a task begins with a block of 16.
constexpr size_t rows_per_task(Bf16Unit unit) { return unit == Bf16Unit::kTiles ? 128 : 96; }

// Panels [first, + n) of the gate with those of up, for rows of one task: a part of `hidden`, laid
// out as round_inputs would.
void gate_panels(Bf16Unit unit, MatView<const BF16> x, const PackedMatrix& gate_up,
                 const PanelTask& task, Mat<BF16>& hidden) {
  const bool tiles = unit == Bf16Unit::kTiles;
  const size_t gates = gate_up.panel_count() / 2, most = tiles ? 1 : 2;
  thread_local Mat<float> sums;
  sums.resize(rows_per_task(unit), 2 * most * kPanel);
  PanelProduct product;
  product.x = x.row(task.first_row);
  product.n_rows = task.n_rows;
  product.depth = gate_up.padded_in();
  const size_t to_up = gates * product.depth * kPanel;
  product.y = sums.data();
  product.y_stride = sums.cols();
  const size_t end = task.first_panel + task.n_panels;
  for (size_t panel = task.first_panel, n = 0; panel < end; panel += n) {
    n = std::min(most, end - panel);
    product.n_panels = 2 * n;
    product.panels = gate_up.bf16_panel(panel);
    product.panel_stride = n == 1 ? to_up : 0;
    product.pair_stride = n == 2 ? to_up : 0;
    product.next = panel + n < gates ? gate_up.bf16_panel(panel + n) : nullptr;
    multiply(unit, product);
    for (size_t i = 0; i < n; ++i) {
      const size_t column = (panel + i) * kPanel;
      GateColumns columns;
      columns.gate = sums.data() + i * kPanel;
      columns.up = sums.data() + (n + i) * kPanel;
      columns.stride = sums.cols();
      BF16* target = rounded_row(unit, hidden, task.first_row) +
                     column / kTileDepth * chunk_step(unit) + column % kTileDepth;
      columns.target = &target->bits;
      columns.block_step = kTileRows * hidden.cols();
      columns.row_step = tiles ? kTileDepth : hidden.cols();
      HWY_DYNAMIC_DISPATCH(gate_columns)(columns, task.n_rows);
      if (panel + i + 1 < gates || gates % 2 == 0) continue;
      for (size_t r = 0; r < task.n_rows; ++r)  // what pads the depth
        std::fill_n(target + r / 16 * columns.block_step + r % 16 * columns.row_step + kPanel,
                    kPanel, BF16{});
    }
  }
}

}  // namespace

bool can_gate_bf16(size_t n_rows, const PackedMatrix& gate_up) {
  return dot_unit_available() && n_rows >= kTileRows && gate_up.type() == WeightType::kBF16 &&
         gate_up.n_out() % (2 * kPanel) == 0;
}

void gated_bf16(Team& team, MatView<const float> x, const PackedMatrix& gate_up,
                const PackedMatrix& down, MatView<float> y, MatmulMode mode) {
  PLUMB_CHECK(can_gate_bf16(x.rows(), gate_up) && down.type() == WeightType::kBF16);
  PLUMB_CHECK(x.cols() == gate_up.n_in() && 2 * down.n_in() == gate_up.n_out());
  PLUMB_CHECK(y.cols() == down.n_out() && y.rows() == x.rows());
  thread_local Mat<BF16> rounded, hidden;
  const Bf16Unit unit = bf16_unit();
  round_inputs(team, x, gate_up.padded_in(), unit, rounded);
  hidden.resize(rounded.rows(), down.padded_in());
  const MatView<const BF16> rows = rounded.view();
  Mat<BF16>& middle = hidden;  // the caller's, not that of the thread that runs a task
  const PanelTasks tasks{gate_up.panel_count() / 2, 4, x.rows(), rows_per_task(unit)};
  team.run(tasks.count(),
           [&](size_t task) { gate_panels(unit, rows, gate_up, tasks.at(task), middle); });
  multiply_rounded(team, middle, x.rows(), down, y, mode, unit);
}

}  // namespace plumb
#endif  // HWY_ONCE
