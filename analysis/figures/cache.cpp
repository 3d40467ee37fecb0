// What does a cache strategy cost and give? Keys and values held a token, tokens a second, and
// perplexity, a row a strategy.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/rule_grid.h"

namespace plumb {
namespace {

constexpr size_t kMostRows = 40;
constexpr double kRowPx = 21;

struct Bar {
  std::string label;
  StrategyRow row;
};

// "kl<0.01 @patience=2": the depth limit is a setting like any other here.
std::string short_rule(const std::string& text) {
  const Result<Rule> rule = Rule::parse(text);
  if (!rule.ok()) return text;
  std::string label = rule_label(rule.value());
  const std::string limit = fmt::format("max={}", rule.value().max_steps());
  if (const size_t at = label.find(limit); at != std::string::npos) {
    label.erase(at, limit.size());
    if (label[at - 1] == ',' || label[at] == ',') label.erase(label[at] == ',' ? at : at - 1, 1);
  }
  if (label.ends_with(" @")) label.resize(label.size() - 2);
  return label;
}

// What a row is called: its strategy, then its rule or depth, then whatever else tells it apart.
std::string row_label(const StrategyRow& row, const std::string& rest, bool several_depths) {
  std::string label = row.cache;
  if (row.cache_index == "upstream") label += " (upstream)";
  if (!row.rule.empty()) label += ", " + short_rule(row.rule);
  if (several_depths && row.num_steps) label += fmt::format(", depth {}", *row.num_steps);
  return label + (rest.empty() ? "" : ", " + rest);
}

// Finished points of the selection that scored over a cache, with what tells them apart.
Result<std::vector<Bar>> bars_of(RunReader& reader, const FigureOptions& options,
                                 std::string& common) {
  PLUMB_ASSIGN(const std::vector<DepthPoint> points, finished_points(reader, options.selection));
  PLUMB_ASSIGN(const std::vector<StrategyRow> rows, reader.strategies());
  std::map<int64_t, const StrategyRow*> by_point;
  for (const StrategyRow& row : rows)
    if (row.kv_bytes_per_token && row.tokens_per_second) by_point[row.point] = &row;
  std::vector<Setting> settings;
  std::vector<Bar> bars;
  std::set<std::optional<int64_t>> depths;
  for (const DepthPoint& point : points) {
    const auto found = by_point.find(point.result.point);
    if (found == by_point.end()) continue;
    settings.push_back(point.setting);
    settings.back().cache.clear(), settings.back().rule.clear();
    settings.back().cache_index.clear();
    bars.push_back({"", *found->second});
    depths.insert(found->second->num_steps);
  }
  if (bars.empty())
    return input_error(
        "{}: found no finished point that scored over a cache, expected a sweep with --scoring "
        "sequential (or --cache, --rule)",
        reader.path().string());
  const SeriesSplit split = split_by_setting(settings);
  // Points under a rule have no depth of their own.
  depths.erase(std::nullopt);
  for (const Series& series : split.series)
    for (const size_t i : series.rows)
      bars[i].label = row_label(bars[i].row, series.label, depths.size() > 1);
  common = split.common;
  if (depths.size() == 1) common += fmt::format(" · depth {}", **depths.begin());
  std::stable_sort(bars.begin(), bars.end(), [](const Bar& a, const Bar& b) {
    return *a.row.kv_bytes_per_token > *b.row.kv_bytes_per_token;
  });
  return bars;
}

Table table_of(const std::vector<Bar>& bars) {
  Table table({{.name = "row", .type = CellType::kInteger},
               {.name = "kv_kib_per_token"},
               {.name = "tokens_per_second"},
               {.name = "perplexity"},
               {.name = "mean_steps"},
               {.name = "setting", .type = CellType::kText}});
  for (size_t i = 0; i < bars.size(); ++i) {
    const StrategyRow& row = bars[i].row;
    table.add_row({static_cast<int64_t>(i), *row.kv_bytes_per_token / 1024, *row.tokens_per_second,
                   row.perplexity, row.mean_steps ? Cell(*row.mean_steps) : Cell(), bars[i].label});
  }
  return table;
}

struct Panel {
  const char* title;
  size_t column;  // of the table, from 0
  bool from_zero;
  const char* color;
  const char* format;  // of the number at the end of a bar
};
constexpr Panel kPanels[] = {
    {"keys and values, KiB a token", 1, true, "#0072B2", "%.3g"},
    {"speed, tokens a second", 2, true, "#009E73", "%.3g"},
    {"perplexity", 3, false, "#D55E00", "%.5g"},
    {"steps a token, mean", 4, true, "#777777", "%.3g"},
};

std::string panel_commands(const Panel& panel, const Table& table) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (size_t row = 0; row < table.n_rows(); ++row)
    if (const double value = table.number(row, panel.column); std::isfinite(value))
      low = std::min(low, value), high = std::max(high, value);
  if (low > high) low = high = 0;
  // Room for the number beside the longest bar.
  const double room = 0.42 * (panel.from_zero ? high : std::max(high - low, 1e-3 * high));
  Axis axis = linear_axis(panel.from_zero ? 0 : low, high + room);
  if (panel.from_zero) axis.low = 0;
  while (axis.ticks.size() > 4) {
    std::vector<Tick> fewer;
    for (size_t i = 0; i < axis.ticks.size(); i += 2) fewer.push_back(axis.ticks[i]);
    axis.ticks = std::move(fewer);
  }
  const size_t c = panel.column + 1;
  const std::string mark =
      panel.from_zero
          ? fmt::format("using (${0}/2):1:(${0}/2):(0.36) with boxxyerror linecolor rgb '{1}'", c,
                        panel.color)
          : fmt::format("using {}:1 with points pointtype 7 pointsize 0.8 linecolor rgb '{}'", c,
                        panel.color);
  return range_command('x', axis.low, axis.high) + tick_command('x', axis.ticks) +
         fmt::format("set xlabel {} offset 0,0.4\n", gnuplot_string(panel.title)) +
         fmt::format(
             "plot data index 0 {}, \\\n  data index 0 using {}:1:(sprintf('{}',${})) with "
             "labels left offset 0.6,0 font ',8' textcolor '#333333'\n",
             mark, c, panel.format, c);
}

}  // namespace

Result<Plot> cache_figure(RunReader& reader, const FigureOptions& options) {
  std::string common;
  PLUMB_ASSIGN(const std::vector<Bar> bars, bars_of(reader, options, common));
  if (bars.size() > kMostRows)
    return input_error(
        "figure cache: found {} points, expected at most {}: choose with --run, "
        "--model or --text",
        bars.size(), kMostRows);
  Plot plot;
  plot.data.push_back({"a row a strategy", table_of(bars)});
  const Table& table = plot.data[0].table;
  size_t longest = 8;
  std::vector<Tick> labels;
  for (size_t i = 0; i < bars.size(); ++i) {
    labels.push_back({static_cast<double>(i), legend_label(bars[i].label)});
    longest = std::max(longest, display_width(labels.back().label));
  }
  const double left = 24 + 6.8 * static_cast<double>(longest);
  constexpr size_t kColumns = std::size(kPanels);
  plot.width = static_cast<int>(left + 180 * kColumns + 30);
  plot.height =
      static_cast<int>(150 + kRowPx * static_cast<double>(std::max<size_t>(bars.size(), 3)));
  const int64_t tokens = bars.front().row.tokens;
  const PageText page = page_text(
      plot, "Cache strategies: memory, speed, quality", common,
      fmt::format(
          "Scored a token at a time, {} tokens a row or so. Keys and values at the end of a "
          "window, f32. Speed is that of the run's machine and load, windows side by side, "
          "recording included.",
          grouped(tokens)));
  const PanelGrid grid{.plot = &plot,
                       .n_columns = kColumns,
                       .left = left,
                       .top = page.top_px + 10,
                       .bottom = page.bottom_px + 50,
                       .gap_x = 18};
  std::string script =
      "unset key\nset style fill solid 0.85 noborder\nset multiplot\n" + page.commands;
  for (size_t i = 0; i < kColumns; ++i) {
    std::vector<Tick> ticks = labels;
    if (i > 0)
      for (Tick& tick : ticks) tick.label.clear();
    script += "\n" + grid.margins(0, i) +
              range_command('y', static_cast<double>(bars.size()) - 0.4, -0.6) +
              tick_command('y', ticks) + "set ytics font ',8.5'\n" +
              panel_commands(kPanels[i], table) + "unset label\n";
  }
  plot.script = script + "unset multiplot\n";
  return plot;
}

}  // namespace plumb
