// Which share of the tokens has left by each step? A curve a rule, a panel a text.
#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/replay.h"

namespace plumb {
namespace {

constexpr size_t kMostRules = 10, kMostTexts = 4;

// Percent of tokens that a rule has stopped by step k, from k = 0. Its end is what never fired
// short of 100.
Table table_of(const Replay& replay) {
  std::vector<TableColumn> columns = {{.name = "step", .type = CellType::kInteger}};
  for (const RuleOutcome& outcome : replay.outcomes)
    columns.push_back({.name = rule_label(outcome.rule)});
  Table table(std::move(columns));
  std::vector<int64_t> left(replay.outcomes.size());
  for (int step = 0; step <= replay.n_steps; ++step) {
    std::vector<Cell> cells = {int64_t{step}};
    for (size_t i = 0; i < left.size(); ++i) {
      const RuleOutcome& outcome = replay.outcomes[i];
      left[i] += outcome.exits[static_cast<size_t>(step)];
      if (step == outcome.rule.depth_limit(replay.n_steps)) left[i] -= outcome.no_exit;
      cells.emplace_back(100 * outcome.share(left[i]));
    }
    table.add_row(std::move(cells));
  }
  return table;
}

}  // namespace

Result<Plot> exit_cdf_figure(RunReader& reader, const FigureOptions& options) {
  PLUMB_ASSIGN(const std::vector<GridRule> rules,
               figure_rules(options, example_rules(), kMostRules));
  PLUMB_ASSIGN(const std::vector<Recording> recordings, load_recordings(reader, options.selection));
  if (recordings.size() > kMostTexts)
    return input_error("{}: found {} texts, expected at most {}: choose with --text",
                       reader.path().string(), recordings.size(), kMostTexts);
  std::vector<Rule> plain;
  for (const GridRule& rule : rules) plain.push_back(rule.rule);
  for (const GridRule& oracle : oracle_rules()) plain.push_back(oracle.rule);
  std::vector<std::string> names;
  for (const Rule& rule : plain) names.push_back(rule_label(rule));

  Plot plot;
  const std::vector<std::string> labels = text_labels(recordings);
  int n_steps = 1;
  for (size_t text = 0; text < recordings.size(); ++text) {
    PLUMB_ASSIGN(const Replay replay, replay_rules(std::span(&recordings[text], 1), plain, {}));
    n_steps = std::max(n_steps, replay.n_steps);
    plot.data.push_back({labels[text], table_of(replay)});
  }
  const double legend = legend_px("rule", names);
  plot.width = static_cast<int>(90 + legend + (recordings.size() == 1 ? 420 : 230 * static_cast<int>(recordings.size())));
  plot.height = 380;
  const PageText page = page_text(
      plot, "Share of tokens that have left", common_setting(recordings),
      fmt::format("{} tokens. What is missing from 100 % never fired. Dashed grey: the oracles, "
                  "which know the outcome. {}",
                  grouped(total_tokens(recordings)), kTeacherForcedNote));
  const PanelGrid grid{.plot = &plot,
                       .n_columns = recordings.size(),
                       .right = legend,
                       .top = page.top_px + (recordings.size() > 1 ? 28 : 10),
                       .bottom = page.bottom_px + 54};
  std::string script = "set multiplot\n" + page.commands;
  for (size_t text = 0; text < recordings.size(); ++text) {
    script += "\n" + grid.margins(0, text);
    const bool last = text + 1 == recordings.size();
    script += last ? legend_commands(plot, "rule", names, grid.middle()) : "unset key\n";
    if (recordings.size() > 1) script += panel_heading(labels[text]);
    std::vector<Tick> ticks = linear_axis(0, 100).ticks;
    if (text > 0)
      for (Tick& tick : ticks) tick.label.clear();
    script += range_command('y', 0, 103) + tick_command('y', ticks);
    if (text == 0) script += y_title_command(plot, "tokens that have left, %");
    script += range_command('x', 0, n_steps + 0.5) + tick_command('x', step_ticks(n_steps)) +
              "set xlabel 'step' offset 0,0.4\nplot \\\n";
    for (size_t i = 0; i < names.size(); ++i) {
      const CurveStyle style = curve_style(i);
      const bool oracle = i >= rules.size();
      script += fmt::format(
          "  data index {} using 1:{} with steps linecolor rgb '{}' dashtype {} linewidth {} title "
          "{}{}\n",
          text, i + 2, oracle ? (i == rules.size() ? "#555555" : "#9A9A9A") : style.color,
          oracle ? 2 : style.dash, oracle ? 1.4 : 1.8, gnuplot_string(legend_label(names[i])),
          i + 1 < names.size() ? ", \\" : "");
    }
    script += "unset label\n";
  }
  plot.script = script + "unset multiplot\n";
  return plot;
}

}  // namespace plumb
