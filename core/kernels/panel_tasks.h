// How a product of rows with packed panels is cut into tasks for the team: all panels of some rows,
// then of the next, so that a thread's share of the tasks is a stretch of rows, as in other loops.
#pragma once

#include <algorithm>
#include <cstddef>

namespace plumb {

struct PanelTask {
  size_t first_panel = 0, n_panels = 0;
  size_t first_row = 0, n_rows = 0;
};

struct PanelTasks {
  size_t n_panels = 0, panels_per_task = 1;
  size_t n_rows = 0, rows_per_task = 1;

  size_t panel_tasks() const { return (n_panels + panels_per_task - 1) / panels_per_task; }
  size_t count() const { return (n_rows + rows_per_task - 1) / rows_per_task * panel_tasks(); }
  PanelTask at(size_t task) const {
    PanelTask part;
    part.first_panel = task % panel_tasks() * panels_per_task;
    part.n_panels = std::min(panels_per_task, n_panels - part.first_panel);
    part.first_row = task / panel_tasks() * rows_per_task;
    part.n_rows = std::min(rows_per_task, n_rows - part.first_row);
    return part;
  }
};

// Panels a task: enough that a task outlasts its hand-over, few enough to share among threads. Tall
// inputs are cut into row groups too, so that a narrow matrix still feeds every thread.
inline PanelTasks plan_panel_tasks(size_t n_panels, size_t n_rows, size_t n_threads) {
  constexpr size_t kWholeTiles = 8, kTall = 6;  // panels, rows
  // Rows that L2 holds: every further group of rows reads all weights again.
  constexpr size_t kMostRows = 256;
  const size_t wanted_tasks = n_rows >= 16 ? 8 * n_threads : n_threads;
  size_t per_task = (n_panels + wanted_tasks - 1) / wanted_tasks;
  per_task = (per_task + kWholeTiles - 1) / kWholeTiles * kWholeTiles;
  if (n_rows >= 16) per_task = std::min<size_t>(per_task, 16);
  // As many groups for every thread.
  const size_t rounds = (n_rows + n_threads * kMostRows - 1) / (n_threads * kMostRows);
  const size_t groups = n_rows <= kMostRows ? 1 : rounds * n_threads;
  const size_t rows = (n_rows + groups - 1) / groups;
  return {n_panels, per_task, n_rows, (rows + kTall - 1) / kTall * kTall};
}

// The same for products by tiles of at least one tile's rows: all rows that L2 holds pass by a pair
// of panels, so that each panel is fetched once or twice; fewer where threads would go without.
inline PanelTasks plan_tile_tasks(size_t n_panels, size_t n_rows, size_t n_threads) {
  constexpr size_t kMostRows = 256, kFewestRows = 64;
  PanelTasks tasks{n_panels, 8, n_rows, kMostRows};
  while (tasks.count() < 4 * n_threads && tasks.rows_per_task > kFewestRows)
    tasks.rows_per_task /= 2;
  while (tasks.count() < 2 * n_threads && tasks.panels_per_task > 2) tasks.panels_per_task /= 2;
  return tasks;
}

}  // namespace plumb
