// Which tokens think longer? Mean exit step, by rule and by the model's own halting, against the
// surprisal of the next token, the place in the window, and how common the next token is.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/replay.h"

namespace plumb {
namespace {

constexpr size_t kMostRules = 6;
constexpr size_t kBins = 12;
constexpr size_t kFewest = 5;  // tokens of a bin that is drawn

struct PanelText {
  const char* name;
  const char* axis;
  bool is_log;
};
constexpr PanelText kPanels[] = {
    {"surprisal", "surprisal at full depth, nats", false},
    {"place", "place in the window", false},
    {"frequency", "times the next token is seen in the text", true},
};

// What is known of every token, and where every rule left it.
struct Tokens {
  std::vector<double> x[3];                // NaN: not known
  std::vector<std::vector<double>> exits;  // by rule; last, where it has one, the model's own halting
};

// The targets of a recording by position, from a point that read its numbers from this pass.
Result<std::map<int64_t, int32_t>> targets_of(RunReader& reader, const Recording& recording) {
  std::map<int64_t, int32_t> targets;
  PLUMB_ASSIGN(const std::vector<PointInfo> points, reader.points());
  for (const PointInfo& point : points) {
    if (point.record.trajectory_id != recording.info.id || point.status != PointStatus::kDone)
      continue;
    PLUMB_ASSIGN(const TokenTable table, reader.read_tokens(point.id));
    for (size_t i = 0; i < table.n_rows(); ++i) targets[table.pos[i]] = table.target_id[i];
    break;
  }
  return targets;
}

Status add_tokens(RunReader& reader, const Recording& recording,
                  const std::vector<GridRule>& rules, Tokens& tokens) {
  PLUMB_ASSIGN(const auto targets, targets_of(reader, recording));
  std::map<int32_t, int64_t> counts;
  for (const auto& [pos, id] : targets) ++counts[id];
  for (size_t token = 0; token < recording.n_tokens(); ++token) {
    tokens.x[0].push_back(recording.column(StepColumn::kNll, token).back());
    tokens.x[1].push_back(static_cast<double>(recording.place_in_window(token)));
    const auto target = targets.find(recording.pos[token]);
    tokens.x[2].push_back(target == targets.end() ? NAN
                                                  : static_cast<double>(counts[target->second]));
  }
  tokens.exits.resize(rules.size() + (recording.own_exits.empty() ? 0 : 1));
  for (size_t i = 0; i < rules.size(); ++i) {
    PLUMB_ASSIGN(const std::vector<int32_t> exits, exits_of(recording, rules[i].rule));
    const int limit = rules[i].rule.depth_limit(recording.n_steps);
    for (const int32_t exit : exits) tokens.exits[i].push_back(exit > 0 ? exit : limit);
  }
  for (const int32_t exit : recording.own_exits) tokens.exits.back().push_back(exit);
  return ok_status();
}

// Bins of equal numbers of tokens; equal x never falls apart. Rows: mean x, tokens, mean exit and
// twice its standard error by rule.
Table bins_of(const Tokens& tokens, size_t panel) {
  std::vector<TableColumn> columns = {{.name = std::string(kPanels[panel].name)},
                                      {.name = "tokens", .type = CellType::kInteger}};
  for (size_t i = 0; i < tokens.exits.size(); ++i) {
    columns.push_back({.name = fmt::format("mean_exit_{}", i + 1)});
    columns.push_back({.name = fmt::format("two_errors_{}", i + 1)});
  }
  Table table(std::move(columns));
  const std::vector<double>& x = tokens.x[panel];
  std::vector<size_t> order;
  for (size_t i = 0; i < x.size(); ++i)
    if (std::isfinite(x[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] < x[b]; });
  const size_t size = std::max(kFewest, (order.size() + kBins - 1) / kBins);
  for (size_t first = 0; first < order.size();) {
    size_t end = std::min(first + size, order.size());
    while (end < order.size() && x[order[end]] == x[order[end - 1]]) ++end;
    if (order.size() - end < size / 2) end = order.size();
    const double n = static_cast<double>(end - first);
    double sum_x = 0;
    for (size_t i = first; i < end; ++i)
      sum_x += kPanels[panel].is_log ? std::log(x[order[i]]) : x[order[i]];
    std::vector<Cell> cells = {kPanels[panel].is_log ? std::exp(sum_x / n) : sum_x / n,
                               static_cast<int64_t>(end - first)};
    for (const std::vector<double>& exits : tokens.exits) {
      double sum = 0, squares = 0;
      for (size_t i = first; i < end; ++i) sum += exits[order[i]];
      const double mean = sum / n;
      for (size_t i = first; i < end; ++i) squares += std::pow(exits[order[i]] - mean, 2);
      cells.emplace_back(mean);
      cells.emplace_back(n > 1 ? 2 * std::sqrt(squares / (n - 1) / n) : 0.0);
    }
    table.add_row(std::move(cells));
    first = end;
  }
  return table;
}

struct Range {
  double low = HUGE_VAL, high = -HUGE_VAL;
  void take(double value) { low = std::min(low, value), high = std::max(high, value); }
};

std::string x_commands(const Table& table, const PanelText& panel) {
  Range range;
  for (size_t row = 0; row < table.n_rows(); ++row) range.take(table.number(row, 0));
  const Axis axis = panel.is_log ? log_axis(range.low, range.high)
                                 : linear_axis(range.low, range.high);
  return fmt::format("{}set logscale x\n", panel.is_log ? "" : "un") +
         range_command('x', axis.low, axis.high) + tick_command('x', axis.ticks) +
         fmt::format("set xlabel {} offset 0,0.4\n", gnuplot_string(panel.axis));
}

std::string curves(size_t block, const std::vector<std::string>& names, bool titled) {
  std::string text = "plot \\\n";
  for (size_t i = 0; i < names.size(); ++i) {
    const CurveStyle style = curve_style(i);
    text += fmt::format(
        "  data index {0} using 1:(${1}-${2}):(${1}+${2}) with filledcurves fillcolor rgb '{3}' "
        "fillstyle transparent solid 0.16 noborder notitle, \\\n  data index {0} using 1:{1} with "
        "linespoints linecolor rgb '{3}' linewidth 1.7 pointtype {4} pointsize 0.5 {5}{6}\n",
        block, 3 + 2 * i, 4 + 2 * i, style.color, style.marker,
        titled ? "title " + gnuplot_string(legend_label(names[i])) : "notitle",
        i + 1 < names.size() ? ", \\" : "");
  }
  return text;
}

}  // namespace

Result<Plot> exit_surprisal_figure(RunReader& reader, const FigureOptions& options) {
  std::vector<GridRule> otherwise = example_rules();
  otherwise.resize(4);
  PLUMB_ASSIGN(const std::vector<GridRule> rules,
               figure_rules(options, std::move(otherwise), kMostRules));
  PLUMB_ASSIGN(const std::vector<Recording> recordings, load_recordings(reader, options.selection));
  Tokens tokens;
  for (const Recording& recording : recordings)
    PLUMB_RETURN_IF_ERROR(add_tokens(reader, recording, rules, tokens));

  Plot plot;
  Range y;
  std::vector<size_t> panels;
  for (size_t panel = 0; panel < std::size(kPanels); ++panel) {
    Table table = bins_of(tokens, panel);
    if (table.n_rows() == 0) continue;
    for (size_t row = 0; row < table.n_rows(); ++row)
      for (size_t i = 0; i < tokens.exits.size(); ++i) {
        const double mean = table.number(row, 2 + 2 * i), error = table.number(row, 3 + 2 * i);
        y.take(mean - error), y.take(mean + error);
      }
    panels.push_back(panel);
    plot.data.push_back({kPanels[panel].axis, std::move(table)});
  }
  std::vector<std::string> names;
  for (const GridRule& rule : rules) names.push_back(rule_label(rule.rule));
  if (tokens.exits.size() > rules.size()) names.emplace_back(kOwnHalting);
  const double legend = legend_px("rule", names);
  plot.width = static_cast<int>(90 + legend + 240 * static_cast<double>(panels.size()));
  plot.height = 380;
  std::string caption = fmt::format(
      "{} tokens in bins of about {}. Line: mean exit step, those that never left counted at their "
      "limit; band: two standard errors. ",
      grouped(total_tokens(recordings)),
      std::max<int64_t>(kFewest, total_tokens(recordings) / static_cast<int64_t>(kBins)));
  if (panels.size() < std::size(kPanels)) caption += "Token ids are not in the file. ";
  const std::string subject =
      common_setting(recordings) +
      (recordings.size() > 1 ? fmt::format(" · {}", fmt::join(text_labels(recordings), ", ")) : "");
  const PageText page = page_text(plot, "Which tokens take more steps", subject,
                                  caption + kTeacherForcedNote);
  const PanelGrid grid{.plot = &plot,
                       .n_columns = panels.size(),
                       .right = legend,
                       .top = page.top_px + 10,
                       .bottom = page.bottom_px + 54};
  const Axis axis = linear_axis(y.low, y.high);
  std::string script = "set multiplot\n" + page.commands;
  for (size_t i = 0; i < panels.size(); ++i) {
    const bool last = i + 1 == panels.size();
    script += "\n" + grid.margins(0, i);
    script += last ? legend_commands(plot, "rule", names, grid.middle()) : "unset key\n";
    std::vector<Tick> ticks = axis.ticks;
    if (i > 0)
      for (Tick& tick : ticks) tick.label.clear();
    script += range_command('y', axis.low, axis.high) + tick_command('y', ticks);
    if (i == 0) script += y_title_command(plot, "mean exit step");
    script += x_commands(plot.data[i].table, kPanels[panels[i]]) + curves(i, names, last) +
              "unset label\n";
  }
  plot.script = script + "unset multiplot\n";
  return plot;
}

}  // namespace plumb
