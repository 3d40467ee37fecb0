// What happens at each step? The distribution over tokens of how far the state moves, how much the
// prediction changes and how sure it is: medians with quantile bands, a row of panels a quantity, a
// column a setting.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "analysis/figures/all_figures.h"
#include "analysis/stats.h"

namespace plumb {
namespace {

constexpr size_t kMostColumns = 5;
constexpr size_t kPanels = 3;
enum Panel { kMovement, kChange, kEntropy };

struct PanelText {
  const char* name;  // of the columns
  const char* axis;  // the axis title
  bool is_log;
};
constexpr std::array<PanelText, kPanels> kPanelTexts = {{
    {"movement", "step size |Dₖ| / |sₖ|", true},
    {"kl", "KL(pₖ₋₁ ‖ pₖ), nats", true},
    {"entropy", "entropy H(pₖ), nats", false},
}};

// The values of every token, by panel and step (index step - 1).
using StepValues = std::array<std::vector<std::vector<float>>, kPanels>;

void add_rows(const StepTable& rows, StepValues& values) {
  const std::span<const float> state = rows.column(StepColumn::kStateNorm);
  const std::span<const float> delta = rows.column(StepColumn::kDeltaNorm);
  const std::span<const float> kl = rows.column(StepColumn::kKlPrev);
  const std::span<const float> entropy = rows.column(StepColumn::kEntropy);
  for (size_t i = 0; i < rows.n_rows(); ++i) {
    const size_t at = static_cast<size_t>(rows.step[i]) - 1;
    if (at >= values[0].size()) continue;  // beyond max_steps, or step < 1: a file edited by hand
    values[kMovement][at].push_back(delta[i] / state[i]);
    values[kChange][at].push_back(kl[i]);
    values[kEntropy][at].push_back(entropy[i]);
  }
}

// Positions are read in stretches, so that memory holds the columns by step and no more. Stretches
// grow over gaps, which therefore cost little however wide they are.
Result<StepValues> read_values(RunReader& reader, const TrajectoryInfo& trajectory) {
  constexpr int64_t kStretch = 4096;
  constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
  StepValues values;
  for (auto& panel : values) panel.resize(static_cast<size_t>(trajectory.record.max_steps));
  StepQuery query{.columns = {StepColumn::kStateNorm, StepColumn::kDeltaNorm, StepColumn::kKlPrev,
                              StepColumn::kEntropy}};
  int64_t rows_read = 0;
  for (int64_t stretch = kStretch; rows_read < trajectory.step_rows;) {
    query.end_pos = stretch < kEnd - query.first_pos ? query.first_pos + stretch : kEnd;
    PLUMB_ASSIGN(const StepTable rows, reader.read_steps(trajectory.id, query));
    add_rows(rows, values);
    rows_read += static_cast<int64_t>(rows.n_rows());
    if (query.end_pos == kEnd) break;
    stretch = rows.n_rows() > 0 ? kStretch : std::min(2 * stretch, kEnd / 2);
    query.first_pos = query.end_pos;
  }
  return values;
}

// One column of the figure.
struct Column {
  std::string label;
  std::array<std::vector<QuantileBand>, kPanels> bands;  // by step
  int64_t tokens = 0;                                    // most values of any step
};

Result<Column> column_of(RunReader& reader, const TrajectoryInfo& trajectory) {
  if (trajectory.record.max_steps < 1 || trajectory.record.max_steps > (1 << 20))
    return input_error("{}: trajectory {} has max_steps {}, expected 1 to {}",
                       reader.path().string(), trajectory.id, trajectory.record.max_steps, 1 << 20);
  PLUMB_ASSIGN(StepValues values, read_values(reader, trajectory));
  Column column;
  for (size_t panel = 0; panel < kPanels; ++panel)
    for (std::vector<float>& at_step : values[panel]) {
      column.bands[panel].push_back(quantile_band(at_step));
      column.tokens = std::max(column.tokens, column.bands[panel].back().n);
      std::vector<float>().swap(at_step);
    }
  return column;
}

// The range of a panel over all columns. A log panel starts no deeper than nine decades below its
// top; what is smaller (zero, where a step changed nothing) is drawn at its lower edge.
struct PanelRange {
  bool any = false;
  double low = 0, high = 0;
  bool cut = false;  // something lies below
};

PanelRange range_of(const std::vector<Column>& columns, size_t panel) {
  const bool is_log = kPanelTexts[panel].is_log;
  PanelRange range{false, std::numeric_limits<double>::infinity(), 0, false};
  range.high = -range.low;
  const auto each = [&](auto&& visit) {
    for (const Column& column : columns)
      for (const QuantileBand& band : column.bands[panel])
        if (band.n > 0) visit(band);
  };
  each([&](const QuantileBand& band) {
    range.high = std::max(range.high, band.p90);
    for (const double value : {band.p10, band.p25, band.median, band.p75, band.p90})
      if (!is_log || value > 0) range.low = std::min(range.low, value), range.any = true;
  });
  if (!range.any || !is_log) return range;
  range.low = std::max(range.low, range.high * 1e-9);
  each([&](const QuantileBand& band) { range.cut |= band.p10 < range.low; });
  return range;
}

Table table_of(const Column& column) {
  std::vector<TableColumn> names = {{.name = "step", .type = CellType::kInteger}};
  for (const PanelText& panel : kPanelTexts) {
    for (const char* part : {"p10", "p25", "median", "p75", "p90"})
      names.push_back({.name = fmt::format("{}_{}", panel.name, part)});
    names.push_back({.name = fmt::format("{}_n", panel.name), .type = CellType::kInteger});
  }
  Table table(std::move(names));
  for (size_t step = 0; step < column.bands[0].size(); ++step) {
    std::vector<Cell> cells = {static_cast<int64_t>(step + 1)};
    for (const auto& bands : column.bands) {
      const QuantileBand& band = bands[step];
      for (const double value : {band.p10, band.p25, band.median, band.p75, band.p90})
        cells.emplace_back(value);
      cells.emplace_back(band.n);
    }
    table.add_row(std::move(cells));
  }
  return table;
}

// Everything about the page that panels share.
struct Layout {
  const Plot* plot;
  std::vector<size_t> panels;  // those with numbers
  double top_px, bottom_px;    // taken by texts, above and below all panels
  size_t n_columns;
};

// Screen margins of a panel: columns share the width, rows the height between the texts.
std::string margins_of(const Layout& layout, size_t row, size_t column) {
  constexpr double kLeft = 78, kRight = 22, kGap = 16;
  const double width = layout.plot->width, height = layout.plot->height;
  const double columns = static_cast<double>(layout.n_columns);
  const double rows = static_cast<double>(layout.panels.size());
  const double panel_width = (width - kLeft - kRight - kGap * (columns - 1)) / columns;
  const double panel_height =
      (height - layout.top_px - layout.bottom_px - kGap * (rows - 1)) / rows;
  const double left = kLeft + static_cast<double>(column) * (panel_width + kGap);
  const double top = layout.top_px + static_cast<double>(row) * (panel_height + kGap);
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\n"
      "set tmargin at screen {:.4f}\nset bmargin at screen {:.4f}\n",
      left / width, (left + panel_width) / width, 1 - top / height,
      1 - (top + panel_height) / height);
}

std::string y_commands(const Plot& plot, const PanelText& panel, const PanelRange& range,
                       bool labelled) {
  Axis axis = panel.is_log ? log_axis(range.low, range.high) : linear_axis(range.low, range.high);
  if (!labelled)
    for (Tick& tick : axis.ticks) tick.label.clear();
  std::string text =
      fmt::format("{}set logscale y\n{}{}floor_y = {}\n", panel.is_log ? "" : "un",
                  range_command('y', axis.low, axis.high), tick_command('y', axis.ticks), axis.low);
  return labelled ? text + y_title_command(plot, panel.axis) : text;
}

std::string x_commands(int64_t max_steps, bool labelled) {
  std::vector<Tick> ticks = step_ticks(max_steps);
  if (!labelled)
    for (Tick& tick : ticks) tick.label.clear();
  const double margin = std::max(0.5, 0.02 * static_cast<double>(max_steps));
  return range_command('x', 1 - margin, static_cast<double>(max_steps) + margin) +
         tick_command('x', ticks) +
         fmt::format("set xlabel {} offset 0,0.4\n", gnuplot_string(labelled ? "step k" : ""));
}

std::string curves_of(size_t column, size_t panel, bool points) {
  const int first = static_cast<int>(2 + 6 * panel);  // column of p10 in the data
  const std::string color = curve_style(column).color;
  const std::string source = fmt::format("data index {} using 1:", column);
  const auto cut = [](int c) { return fmt::format("(shown(${}))", c); };
  const auto band = [&](int low, int high, double alpha) {
    return fmt::format(
        "  {}{}:{} with filledcurves fillcolor rgb '{}' fillstyle transparent solid "
        "{} noborder, \\\n",
        source, cut(low), cut(high), color, alpha);
  };
  return "plot \\\n" + band(first, first + 4, 0.15) + band(first + 1, first + 3, 0.25) +
         fmt::format("  {}{} with {} linecolor rgb '{}' linewidth 1.8 pointtype 7 pointsize 0.5\n",
                     source, cut(first + 2), points ? "linespoints" : "lines", color);
}

std::string column_heading(const std::string& label) {
  return fmt::format(
      "set label 80 {} at graph 0.5,graph 1 center offset 0,0.8 font ',9' "
      "textcolor '#222222'\n",
      gnuplot_string(label));
}

std::string caption_of(const std::vector<Column>& columns, bool cut) {
  int64_t fewest = std::numeric_limits<int64_t>::max(), most = 0;
  for (const Column& column : columns)
    fewest = std::min(fewest, column.tokens), most = std::max(most, column.tokens);
  std::string text = "Line: median over tokens. Bands: 25–75 % and 10–90 % of them. ";
  text += fewest == most ? fmt::format("{} tokens", grouped(most))
                         : fmt::format("{} to {} tokens", grouped(fewest), grouped(most));
  text += columns.size() > 1 ? " a column." : ".";
  if (cut) text += " Values below a panel are drawn at its edge.";
  return text;
}

std::string script_of(const Plot& plot, const std::vector<Column>& columns,
                      const std::array<PanelRange, kPanels>& ranges, const SeriesSplit& split) {
  const bool cut = std::any_of(ranges.begin(), ranges.end(),
                               [](const PanelRange& range) { return range.any && range.cut; });
  const PageText page =
      page_text(plot, "State and prediction, step by step", split.common, caption_of(columns, cut));
  Layout layout{
      &plot, {}, page.top_px + (columns.size() > 1 ? 28 : 10), page.bottom_px + 54, columns.size()};
  for (size_t panel = 0; panel < kPanels; ++panel)
    if (ranges[panel].any) layout.panels.push_back(panel);
  size_t max_steps = 1;
  for (const Column& column : columns) max_steps = std::max(max_steps, column.bands[0].size());

  std::string text = "unset key\nshown(y) = y < floor_y ? floor_y : y\nset multiplot\n";
  text += page.commands;
  for (size_t column = 0; column < columns.size(); ++column)
    for (size_t row = 0; row < layout.panels.size(); ++row) {
      const size_t panel = layout.panels[row];
      text += fmt::format("\n# {}: {}\n", one_line(columns[column].label), kPanelTexts[panel].name);
      if (row == 0 && columns.size() > 1) text += column_heading(columns[column].label);
      text += margins_of(layout, row, column);
      text += y_commands(plot, kPanelTexts[panel], ranges[panel], column == 0);
      text += x_commands(static_cast<int64_t>(max_steps), row + 1 == layout.panels.size());
      text += curves_of(column, panel, max_steps <= 16) + "unset label\n";
    }
  return text + "unset multiplot\n";
}

}  // namespace

Result<Plot> steps_figure(RunReader& reader, const FigureOptions& options) {
  PLUMB_ASSIGN(const std::vector<TrajectoryInfo> trajectories,
               recorded_trajectories(reader, options.selection));
  const std::string file = reader.path().string();
  std::vector<Setting> settings;
  for (const TrajectoryInfo& row : trajectories) settings.push_back(row.record.setting);
  const SeriesSplit split = split_by_setting(settings);
  if (trajectories.size() > kMostColumns)
    return input_error(
        "{}: found {} recordings that differ in {}, expected at most {} side by "
        "side: choose with --model, --text or --run",
        file, trajectories.size(), split.varies, kMostColumns);
  std::vector<Column> columns;
  for (const Series& series : split.series) {
    PLUMB_ASSIGN(Column column, column_of(reader, trajectories[series.rows.front()]));
    column.label = series.label;
    columns.push_back(std::move(column));
  }
  std::array<PanelRange, kPanels> ranges;
  for (size_t panel = 0; panel < kPanels; ++panel) ranges[panel] = range_of(columns, panel);
  const int64_t n_panels = std::count_if(ranges.begin(), ranges.end(),
                                         [](const PanelRange& range) { return range.any; });
  if (n_panels == 0)
    return input_error(
        "{}: the recorded steps have no state_norm and delta_norm, kl_prev or "
        "entropy, expected at least one of them",
        file);
  Plot plot;
  plot.width = columns.size() == 1 ? 560 : 130 + 240 * static_cast<int>(columns.size());
  plot.height = 130 + 165 * static_cast<int>(n_panels);
  for (const Column& column : columns)
    plot.data.push_back(
        {fmt::format("column: {}", column.label.empty() ? split.common : column.label),
         table_of(column)});
  plot.script = script_of(plot, columns, ranges, split);
  return plot;
}

}  // namespace plumb
