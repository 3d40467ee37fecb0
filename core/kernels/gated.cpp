#include "core/kernels/gated.h"

#include <algorithm>

#include "core/kernels/elementwise.h"
#include "core/kernels/panel_tasks.h"

namespace plumb {
namespace {

constexpr size_t kPanel = PackedMatrix::kPanel;

// Gate panels of `task` with those of up, a few at a time: what many rows of those make stays in L2.
void gate_panels(MatView<const float> x, const PackedMatrix& gate_up, const PanelTask& task,
                 MatView<float> hidden) {
  constexpr size_t kAtOnce = 4, kFewRows = 16;
  const size_t gates = gate_up.panel_count() / 2, end = task.first_panel + task.n_panels;
  // Few rows are read by as long streams as there are.
  const size_t most = task.n_rows < kFewRows ? task.n_panels : kAtOnce;
  const MatView<const float> rows = x.rows_from(task.first_row, task.n_rows);
  thread_local Mat<float> sums;
  for (size_t panel = task.first_panel, n = 0; panel < end; panel += n) {
    n = std::min(most, end - panel);
    sums.resize(task.n_rows, 2 * n * kPanel);
    const MatView<float> both = sums.view();
    matmul_panels(rows, gate_up, panel, n, both.cols_from(0, n * kPanel));
    matmul_panels(rows, gate_up, gates + panel, n, both.cols_from(n * kPanel, n * kPanel));
    silu_gate(both, hidden.rows_from(task.first_row, task.n_rows).cols_from(panel * kPanel, n * kPanel));
  }
}

}  // namespace

bool can_gate(const PackedMatrix& gate_up) { return gate_up.n_out() % (2 * kPanel) == 0; }

void gated(Team& team, MatView<const float> x, const PackedMatrix& gate_up, const PackedMatrix& down,
           MatView<float> hidden, MatView<float> y, MatmulMode mode) {
  PLUMB_CHECK(can_gate(gate_up) && x.cols() == gate_up.n_in() && 2 * down.n_in() == gate_up.n_out());
  PLUMB_CHECK(hidden.rows() == x.rows() && hidden.cols() == down.n_in());
  if (x.rows() == 0) return;
  const PanelTasks tasks =
      plan_panel_tasks(gate_up.panel_count() / 2, x.rows(), static_cast<size_t>(team.size()));
  team.run(tasks.count(), [&](size_t task) { gate_panels(x, gate_up, tasks.at(task), hidden); });
  matmul(team, hidden, down, y, mode);
}

}  // namespace plumb
