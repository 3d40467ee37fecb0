// How does the prediction of each token settle? Token by step, colour the distance to the end, and
// where exit rules leave.
#include <algorithm>
#include <array>
#include <cmath>

#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/replay.h"

namespace plumb {
namespace {

constexpr size_t kMostRules = 5;
constexpr int64_t kMostTokens = 200;

struct Quantity {
  std::string_view name;
  const char* title;
  bool is_log;
  std::array<StepColumn, 2> columns;  // the second divides the first where it differs
};
constexpr Quantity kQuantities[] = {
    {"kl-final", "KL(p_R ‖ p_k), nats", true, {StepColumn::kKlFinal, StepColumn::kKlFinal}},
    {"kl", "KL(p_k-1 ‖ p_k), nats", true, {StepColumn::kKlPrev, StepColumn::kKlPrev}},
    {"latent-diff",
     "step size |D_k| / |s_k|",
     true,
     {StepColumn::kDeltaNorm, StepColumn::kStateNorm}},
    {"entropy", "entropy H(p_k), nats", false, {StepColumn::kEntropy, StepColumn::kEntropy}},
    {"nll", "loss −ln p_k(target), nats", false, {StepColumn::kNll, StepColumn::kNll}},
};

const Quantity& quantity_of(const std::string& name) {
  for (const Quantity& quantity : kQuantities)
    if (quantity.name == name) return quantity;
  return kQuantities[0];
}

// The first token drawn and how many.
struct Slice {
  size_t first = 0, n = 0;
};

Result<Slice> slice_of(const Recording& recording, const FigureOptions& options) {
  if (options.n_tokens < 1 || options.n_tokens > kMostTokens)
    return input_error("figure heatmap: found --tokens {}, expected 1 to {}", options.n_tokens,
                       kMostTokens);
  const auto found =
      std::lower_bound(recording.pos.begin(), recording.pos.end(), options.first_pos);
  if (found == recording.pos.end())
    return input_error("figure heatmap: found --first {}, expected a position up to {}",
                       options.first_pos, recording.pos.back());
  const auto first = static_cast<size_t>(found - recording.pos.begin());
  return Slice{first,
               std::min(static_cast<size_t>(options.n_tokens), recording.n_tokens() - first)};
}

double value_at(const Recording& recording, const Quantity& quantity, size_t token, size_t k) {
  const double value = recording.column(quantity.columns[0], token)[k];
  if (quantity.columns[1] == quantity.columns[0]) return value;
  return value / recording.column(quantity.columns[1], token)[k];
}

Table cells_of(const Recording& recording, const Quantity& quantity, const Slice& slice) {
  Table table({{.name = "step", .type = CellType::kInteger},
               {.name = "row", .type = CellType::kInteger},
               {.name = std::string(quantity.name)}});
  for (size_t row = 0; row < slice.n; ++row)
    for (size_t k = 0; k < static_cast<size_t>(recording.n_steps); ++k)
      table.add_row({static_cast<int64_t>(k + 1), static_cast<int64_t>(row),
                     value_at(recording, quantity, slice.first + row, k)});
  return table;
}

// Marks of several rules on one cell stand side by side.
Result<Table> marks_of(const Recording& recording, const Rule& rule, const Slice& slice,
                       double shift) {
  PLUMB_ASSIGN(const std::vector<int32_t> exits, exits_of(recording, rule));
  Table table({{.name = "x"}, {.name = "row", .type = CellType::kInteger},
               {.name = "exit_step", .type = CellType::kInteger}});
  for (size_t row = 0; row < slice.n; ++row)
    if (const int32_t step = exits[slice.first + row]; step > 0)
      table.add_row({step + shift, static_cast<int64_t>(row), int64_t{step}});
  if (table.n_rows() == 0) table.add_row({Cell(), Cell(), Cell()});
  return table;
}

struct ColorRange {
  double low = 0, high = 1;
  bool cut = false;
};

ColorRange color_range(const Table& cells, bool is_log) {
  ColorRange range{HUGE_VAL, -HUGE_VAL, false};
  for (size_t i = 0; i < cells.n_rows(); ++i) {
    const double value = cells.number(i, 2);
    if (!std::isfinite(value) || (is_log && value <= 0)) continue;
    range.low = std::min(range.low, value), range.high = std::max(range.high, value);
  }
  if (range.low > range.high) return {is_log ? 0.1 : 0.0, 1, false};
  // f32 readouts say nothing below about a ten-millionth of a nat.
  if (is_log) range.low = std::max({range.low, range.high * 1e-8, 1e-7});
  if (range.high <= range.low) range.high = is_log ? range.low * 10 : range.low + 1;
  for (size_t i = 0; i < cells.n_rows(); ++i)
    if (cells.number(i, 2) < range.low) range.cut = true;
  return range;
}

// Token ids by position, from a point that read its numbers from this pass. Empty: none did.
Result<std::vector<std::pair<int64_t, int32_t>>> fed_tokens(RunReader& reader,
                                                            const Recording& recording) {
  std::vector<std::pair<int64_t, int32_t>> out;
  PLUMB_ASSIGN(const std::vector<PointInfo> points, reader.points());
  for (const PointInfo& point : points) {
    if (point.record.trajectory_id != recording.info.id || point.status != PointStatus::kDone)
      continue;
    PLUMB_ASSIGN(const TokenTable tokens, reader.read_tokens(point.id));
    for (size_t i = 0; i < tokens.n_rows(); ++i) out.emplace_back(tokens.pos[i], tokens.token_id[i]);
    break;
  }
  return out;
}

std::vector<std::string> row_labels(const std::vector<std::pair<int64_t, int32_t>>& ids,
                                    const Recording& recording, const Slice& slice,
                                    const FigureOptions& options) {
  std::vector<std::string> labels;
  for (size_t row = 0; row < slice.n; ++row) {
    const int64_t pos = recording.pos[slice.first + row];
    const auto found = std::lower_bound(ids.begin(), ids.end(), std::pair(pos, INT32_MIN));
    std::string label = fmt::format("{}", pos);
    if (found != ids.end() && found->first == pos) {
      std::string piece;
      if (options.piece) piece = options.piece(recording.info.record.setting, found->second);
      label += "  " + (piece.empty() ? fmt::format("#{}", found->second) : piece);
    }
    labels.push_back(label);
  }
  return labels;
}

std::string rows_commands(const std::vector<std::string>& labels) {
  std::vector<Tick> ticks;
  for (size_t row = 0; row < labels.size(); ++row)
    ticks.push_back({static_cast<double>(row), labels[row]});
  const double last = static_cast<double>(labels.size()) - 0.5;
  return tick_command('y', ticks) + "set ytics font ',7.5'\n" + range_command('y', last, -0.5);
}

std::string color_commands(const Plot& plot, const Quantity& quantity, const ColorRange& range,
                           const PanelGrid& grid, double left_px) {
  const Axis axis = quantity.is_log ? log_axis(range.low, range.high)
                                    : linear_axis(range.low, range.high);
  std::string text = fmt::format("{}set logscale cb\n", quantity.is_log ? "" : "un");
  text += fmt::format("set cbrange [{}:{}]\n", range.low, range.high);
  text += tick_command('c', axis.ticks);
  text.replace(text.rfind("set ctics"), 9, "set cbtics");
  text += fmt::format(
      "set palette defined (0 '#F7FBFF', 0.25 '#C6DBEF', 0.5 '#6BAED6', 0.75 '#2171B5', 1 "
      "'#08306B')\nset colorbox vertical user origin screen {:.4f},{:.4f} size {:.4f},{:.4f}\n",
      left_px / plot.width, grid.bottom / plot.height, 14.0 / plot.width,
      std::min(220.0, plot.height - grid.bottom - grid.top - 150) / plot.height);
  return text + fmt::format("set label 84 {} at screen {:.4f},{:.4f} left front font ',9'\n",
                            gnuplot_string(quantity.title), left_px / plot.width,
                            (grid.bottom + 12 +
                             std::min(220.0, plot.height - grid.bottom - grid.top - 150)) /
                                plot.height);
}

std::string plot_commands(const std::vector<std::string>& names, const ColorRange& range) {
  static const std::array<const char*, kMostRules> kColors = {"#D55E00", "#E69F00", "#009E73",
                                                              "#CC79A7", "#111111"};
  static const std::array<int, kMostRules> kMarkers = {7, 5, 9, 13, 11};
  std::string text = fmt::format(
      "plot data index 0 using 1:2:($3 < {0} ? {0} : $3) with image pixels notitle", range.low);
  for (size_t i = 0; i < names.size(); ++i)
    text += fmt::format(
        ", \\\n  data index {0} using 1:2 with points pointtype {1} pointsize 0.62 linecolor rgb "
        "'#FFFFFF' notitle, \\\n  data index {0} using 1:2 with points pointtype {1} pointsize "
        "0.42 linecolor rgb '{2}' notitle, \\\n  1/0 with points pointtype {1} pointsize 0.8 "
        "linecolor rgb '{2}' title {3}",
        i + 1, kMarkers[i], kColors[i], gnuplot_string(legend_label(names[i])));
  return text + "\n";
}

}  // namespace

Result<Plot> heatmap_figure(RunReader& reader, const FigureOptions& options) {
  std::vector<GridRule> otherwise = example_rules();
  otherwise.resize(4);
  PLUMB_ASSIGN(const std::vector<GridRule> rules,
               figure_rules(options, std::move(otherwise), kMostRules));
  PLUMB_ASSIGN(const std::vector<TrajectoryInfo> found,
               recorded_trajectories(reader, options.selection));
  // One text: the first, unless --text chose another.
  PLUMB_ASSIGN(const Recording recording, load_recording(reader, found.front()));
  PLUMB_ASSIGN(const Slice slice, slice_of(recording, options));
  PLUMB_ASSIGN(const auto ids, fed_tokens(reader, recording));
  const Quantity& quantity = quantity_of(options.y);

  Plot plot;
  plot.data.push_back({"token by step", cells_of(recording, quantity, slice)});
  const ColorRange range = color_range(plot.data[0].table, quantity.is_log);
  std::vector<std::string> names;
  for (size_t i = 0; i < rules.size(); ++i) {
    const double shift =
        0.22 * (static_cast<double>(i) - (static_cast<double>(rules.size()) - 1) / 2);
    PLUMB_ASSIGN(Table marks, marks_of(recording, rules[i].rule, slice, shift));
    names.push_back(rule_label(rules[i].rule));
    plot.data.push_back({"exits of " + names.back(), std::move(marks)});
  }
  const std::vector<std::string> labels = row_labels(ids, recording, slice, options);
  size_t longest = 4;
  for (const std::string& label : labels) longest = std::max(longest, display_width(label));
  const double legend = std::max(170.0, legend_px("leaves at", names));
  const double left = 46 + 5.6 * static_cast<double>(longest);
  const int cell = std::clamp(420 / recording.n_steps, 9, 30);
  plot.width = static_cast<int>(left + cell * recording.n_steps + legend);
  plot.height = 150 + std::max(300, 15 * static_cast<int>(slice.n));
  std::string caption = "Row: the token that was fed, by position. Tokens without a mark never left.";
  const bool has_ids = std::any_of(labels.begin(), labels.end(), [](const std::string& label) {
    return label.find("  #") != std::string::npos;
  });
  if (has_ids) caption += " #: token ids.";
  if (range.cut) caption += " Colour stops at the lower end of its scale.";
  const PageText page = page_text(plot, "Tokens step by step, and where rules leave",
                                  common_setting({recording}), caption + " " + kTeacherForcedNote);
  const PanelGrid grid{.plot = &plot,
                       .left = left,
                       .right = legend,
                       .top = page.top_px + 10,
                       .bottom = page.bottom_px + 54};
  plot.script = page.commands + grid.margins(0, 0) + rows_commands(labels) +
                color_commands(plot, quantity, range, grid, plot.width - legend + 20) +
                y_title_command(plot, "token") + range_command('x', 0.5, recording.n_steps + 0.5) +
                tick_command('x', step_ticks(recording.n_steps)) +
                "set xlabel 'step k' offset 0,0.4\nunset grid\nset tics scale 0.3\n" +
                legend_commands(plot, "leaves at", names,
                                1 - (grid.top + kLegendLinePx * (names.size() + 1) / 2.0) /
                                        plot.height) +
                plot_commands(names, range);
  return plot;
}

}  // namespace plumb
