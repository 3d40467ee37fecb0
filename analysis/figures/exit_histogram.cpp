// When do tokens leave? A histogram of exit steps, a row of panels a text, a column a rule; first
// the model's own halting, where it has one.
#include <algorithm>

#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/replay.h"

namespace plumb {
namespace {

constexpr size_t kMostRules = 4, kMostTexts = 6;

// Where those stand that no check stopped: apart, on the right.
int64_t none_place(int64_t n_steps) { return n_steps + 2 + n_steps / 8; }

// One panel: tokens by the step at which they left, [n_steps + 1].
struct Exits {
  std::string name;
  std::vector<int64_t> tokens_at;
  int64_t tokens = 0, never = 0;  // `never` stand at no step
  double mean_steps = 0;

  double percent(int64_t count) const {
    return 100 * static_cast<double>(count) / static_cast<double>(tokens);
  }
};

Exits exits_of_rule(const RuleOutcome& outcome, int n_steps) {
  Exits exits{rule_label(outcome.rule), outcome.exits, outcome.tokens, outcome.no_exit,
              outcome.mean_steps()};
  exits.tokens_at[static_cast<size_t>(outcome.rule.depth_limit(n_steps))] -= outcome.no_exit;
  return exits;
}

Exits own_exits(const Recording& recording) {
  Exits exits{kOwnHalting, std::vector<int64_t>(static_cast<size_t>(recording.n_steps) + 1),
              static_cast<int64_t>(recording.n_tokens())};
  for (const int32_t step : recording.own_exits) {
    ++exits.tokens_at[static_cast<size_t>(step)];
    exits.mean_steps += static_cast<double>(step) / static_cast<double>(exits.tokens);
  }
  return exits;
}

// Shares of tokens by exit step.
Table table_of(const Exits& exits) {
  Table table({{.name = "place", .type = CellType::kInteger},
               {.name = "percent"},
               {.name = "no_exit", .type = CellType::kInteger}});
  const auto n_steps = static_cast<int64_t>(exits.tokens_at.size()) - 1;
  for (int64_t step = 1; step <= n_steps; ++step)
    table.add_row({step, exits.percent(exits.tokens_at[static_cast<size_t>(step)]), int64_t{0}});
  table.add_row({none_place(n_steps), exits.percent(exits.never), int64_t{1}});
  return table;
}

double top_of(const std::vector<DataBlock>& data) {
  double top = 1;
  for (const DataBlock& block : data)
    for (size_t row = 0; row < block.table.n_rows(); ++row)
      top = std::max(top, block.table.number(row, 1));
  return std::min(100.0, top * 1.12);
}

std::string x_commands(int64_t n_steps, bool labelled) {
  std::vector<Tick> ticks = step_ticks(n_steps);
  const auto none = static_cast<double>(none_place(n_steps));
  ticks.push_back({none, "none"});
  if (!labelled)
    for (Tick& tick : ticks) tick.label.clear();
  return range_command('x', 0.3, none + 0.9) + tick_command('x', ticks) +
         fmt::format("set xlabel {} offset 0,0.4\n", gnuplot_string(labelled ? "exit step" : ""));
}

std::string panel_of(size_t block, const Exits& exits, const std::string& color) {
  std::string text = fmt::format(
      "set label 82 {} at graph 0.97,graph 0.9 right front font ',8.5' textcolor '#555555'\n",
      gnuplot_string(fmt::format("mean {:.3g} steps", exits.mean_steps)));
  return text + fmt::format(
                    "plot data index {} using 1:($3 == 0 ? $2 : 1/0) with boxes linecolor rgb '{}', "
                    "'' index {} using 1:($3 == 1 ? $2 : 1/0) with boxes linecolor rgb '#9A9A9A'\n",
                    block, color, block);
}

}  // namespace

Result<Plot> exit_histogram_figure(RunReader& reader, const FigureOptions& options) {
  std::vector<GridRule> otherwise = example_rules();
  otherwise.resize(3);
  PLUMB_ASSIGN(const std::vector<GridRule> rules,
               figure_rules(options, std::move(otherwise), kMostRules));
  PLUMB_ASSIGN(const std::vector<Recording> recordings, load_recordings(reader, options.selection));
  if (recordings.size() > kMostTexts)
    return input_error("{}: found {} texts, expected at most {}: choose with --text",
                       reader.path().string(), recordings.size(), kMostTexts);
  std::vector<Rule> plain;
  for (const GridRule& rule : rules) plain.push_back(rule.rule);

  Plot plot;
  std::vector<std::vector<Exits>> panels;  // [text][column]
  const std::vector<std::string> labels = text_labels(recordings);
  size_t n_steps = 1;
  for (size_t text = 0; text < recordings.size(); ++text) {
    const Recording& recording = recordings[text];
    PLUMB_ASSIGN(const Replay replay, replay_rules(std::span(&recording, 1), plain, {}));
    n_steps = std::max(n_steps, static_cast<size_t>(replay.n_steps));
    std::vector<Exits>& row = panels.emplace_back();
    if (!recording.own_exits.empty()) row.push_back(own_exits(recording));
    for (const RuleOutcome& outcome : replay.outcomes)
      row.push_back(exits_of_rule(outcome, replay.n_steps));
    for (const Exits& exits : row)
      plot.data.push_back({fmt::format("{}: {}", labels[text], exits.name), table_of(exits)});
  }
  const size_t n_columns = panels.front().size();
  plot.width = n_columns == 1 ? 560 : 110 + 230 * static_cast<int>(n_columns);
  plot.height = 120 + 135 * static_cast<int>(recordings.size());
  const std::string tokens = fmt::format("{} tokens. Grey: never fired, ran to the limit. {}",
                                         grouped(total_tokens(recordings)), kTeacherForcedNote);
  const PageText page =
      page_text(plot, "Exit steps of tokens", common_setting(recordings), tokens);
  const PanelGrid grid{.plot = &plot,
                       .n_rows = recordings.size(),
                       .n_columns = n_columns,
                       .right = recordings.size() > 1 ? 34.0 : 22.0,
                       .top = page.top_px + 28,
                       .bottom = page.bottom_px + 54};
  const Axis axis = linear_axis(0, top_of(plot.data));
  std::string script = "unset key\nset boxwidth 0.85\nset style fill solid 0.85 noborder\n"
                       "set multiplot\n" + page.commands;
  for (size_t row = 0; row < recordings.size(); ++row)
    for (size_t column = 0; column < n_columns; ++column) {
      script += "\n" + grid.margins(row, column);
      if (row == 0) script += panel_heading(panels[row][column].name);
      if (column + 1 == n_columns && recordings.size() > 1)
        script += fmt::format(
            "set label 83 {} at graph 1.04,graph 0.5 center rotate by -90 front font ',9'\n",
            gnuplot_string(labels[row]));
      std::vector<Tick> ticks = axis.ticks;
      if (column > 0)
        for (Tick& tick : ticks) tick.label.clear();
      script += range_command('y', 0, axis.high) + tick_command('y', ticks);
      if (column == 0) script += y_title_command(plot, "tokens, %");
      script += x_commands(static_cast<int64_t>(n_steps), row + 1 == recordings.size());
      script += panel_of(row * n_columns + column, panels[row][column],
                         curve_style(column).color) + "unset label\n";
    }
  plot.script = script + "unset multiplot\n";
  return plot;
}

}  // namespace plumb
