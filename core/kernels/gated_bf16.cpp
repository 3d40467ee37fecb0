#include "core/kernels/gated_bf16.h"

#include <algorithm>

#include "core/kernels/bf16_units.h"
#include "core/kernels/panel_tasks.h"
#include "core/kernels/rounded_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/gated_bf16.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/kernels/vector_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// sums [n_rows][16 of gate, 16 of up] become half of a column of tiles: row r's 16 numbers lie at
// target + r / 16 * tile_step + r % 16 * 32.
void gate_half_tiles(const float* sums, size_t n_rows, size_t tile_step, uint16_t* target) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t r = 0; r < n_rows; ++r) {
    const float* row = sums + r * 32;
    uint16_t* out = target + r / 16 * tile_step + r % 16 * 32;
    for (size_t c = 0; c < 16; c += lanes) {
      const auto gate = silu_of(d, hn::LoadU(d, row + c));
      store_bf16(d, hn::Mul(gate, hn::LoadU(d, row + 16 + c)), out + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(gate_half_tiles);

namespace {

constexpr size_t kPanel = PackedMatrix::kPanel;
constexpr size_t kRowsPerTask = 128;  // their sums, 16 KiB a pair of panels, stay in L1
static_assert(kTileRows == 16 && kTileDepth == 32 && kPanel == 16);

// Panels [first, + n) of the gate with those of up, for rows of one task: a part of `hidden`, laid
// out as round_inputs would.
void gate_panels(MatView<const BF16> x, const PackedMatrix& gate_up, const PanelTask& task,
                 Mat<BF16>& hidden) {
  const size_t gates = gate_up.panel_count() / 2;
  thread_local Mat<float> sums;
  sums.resize(kRowsPerTask, 2 * kPanel);
  PanelProduct product;
  product.x = x.row(task.first_row);
  product.n_rows = task.n_rows;
  product.n_panels = 2;
  product.depth = gate_up.padded_in();
  product.panel_stride = gates * product.depth * kPanel;
  product.y = sums.data();
  product.y_stride = sums.cols();
  for (size_t panel = task.first_panel; panel < task.first_panel + task.n_panels; ++panel) {
    product.panels = gate_up.bf16_panel(panel);
    product.next = panel + 1 < gates ? gate_up.bf16_panel(panel + 1) : nullptr;
    multiply_tiles(product);
    BF16* target =
        hidden.row(task.first_row) + panel / 2 * kTileRows * kTileDepth + panel % 2 * kPanel;
    HWY_DYNAMIC_DISPATCH(gate_half_tiles)
    (sums.data(), task.n_rows, kTileRows * hidden.cols(), &target->bits);
    if (panel + 1 < gates || gates % 2 == 0) continue;
    for (size_t r = 0; r < task.n_rows; ++r)  // the half of a tile that pads the depth
      std::fill_n(
          target + r / kTileRows * kTileRows * hidden.cols() + r % kTileRows * kTileDepth + kPanel,
          kPanel, BF16{});
  }
}

}  // namespace

bool can_gate_by_tiles(size_t n_rows, const PackedMatrix& gate_up) {
  return tile_unit_available() && n_rows >= kTileRows && gate_up.type() == WeightType::kBF16 &&
         gate_up.n_out() % (2 * kPanel) == 0;
}

void gated_bf16(Team& team, MatView<const float> x, const PackedMatrix& gate_up,
                const PackedMatrix& down, MatView<float> y, MatmulMode mode) {
  PLUMB_CHECK(can_gate_by_tiles(x.rows(), gate_up) && down.type() == WeightType::kBF16);
  PLUMB_CHECK(x.cols() == gate_up.n_in() && 2 * down.n_in() == gate_up.n_out());
  PLUMB_CHECK(y.cols() == down.n_out() && y.rows() == x.rows());
  thread_local Mat<BF16> rounded, hidden;
  round_inputs(team, x, gate_up.padded_in(), Bf16Unit::kTiles, rounded);
  hidden.resize(rounded.rows(), down.padded_in());
  const MatView<const BF16> rows = rounded.view();
  Mat<BF16>& middle = hidden;  // the caller's, not that of the thread that runs a task
  const PanelTasks tasks{gate_up.panel_count() / 2, 4, x.rows(), kRowsPerTask};
  team.run(tasks.count(), [&](size_t task) { gate_panels(rows, gate_up, tasks.at(task), middle); });
  multiply_rounded(team, middle, x.rows(), down, y, mode, Bf16Unit::kTiles);
}

}  // namespace plumb
#endif  // HWY_ONCE
