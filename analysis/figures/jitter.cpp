// Does a lower precision move the exits? Share of tokens that leave at another step, against the
// mean exit step, a curve a rule; and how far those of the best-known rules move.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/precision_pairs.h"

namespace plumb {
namespace {

constexpr size_t kMostPrecisionRules = 10, kMostPrecisions = 3, kExamples = 4;
constexpr int kFarthest = 6;  // steps; farther moves are counted at the ends

// Eight thresholds of the rules that people use.
std::vector<GridRule> usual_rules() {
  std::vector<ThresholdGrid> grids;
  for (const char* scalar :
       {"kl", "minp-kl", "entropy-diff", "latent-diff", "argmax-stability", "top1", "margin"})
    grids.push_back(*default_grid(scalar, 8));
  auto rules = expand_rules("", grids);
  PLUMB_CHECK(rules.ok());
  return std::move(rules).value();
}

std::vector<GridRule> examples_of(const FigureOptions& options, const std::vector<GridRule>& all) {
  if (options.rules.empty() && options.grids.empty()) {
    std::vector<GridRule> rules = example_rules();
    rules.resize(kExamples);
    return rules;
  }
  // The middle threshold of each family.
  std::map<std::string, std::vector<const GridRule*>> families;
  for (const GridRule& rule : all) families[rule.family].push_back(&rule);
  std::vector<GridRule> rules;
  for (const auto& [name, members] : families)
    if (rules.size() < kExamples) rules.push_back(*members[members.size() / 2]);
  return rules;
}

struct Curve {
  std::string name;
  Table table;
};

// In order of first appearance, each by mean exit step.
std::vector<Curve> curves_of(const std::vector<GridRule>& rules,
                             const std::vector<ExitMoves>& moves) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<size_t>> members;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!members.contains(rules[i].family)) names.push_back(rules[i].family);
    members[rules[i].family].push_back(i);
  }
  std::vector<Curve> curves;
  for (const std::string& name : names) {
    std::vector<size_t>& order = members[name];
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return moves[a].base_steps < moves[b].base_steps; });
    Table table({{.name = "mean_exit_step"},
                 {.name = "moved_percent"},
                 {.name = "mean_steps_moved"},
                 {.name = "rule", .type = CellType::kText}});
    for (const size_t i : order)
      table.add_row({moves[i].base_steps, moves[i].moved_percent(),
                     moves[i].step_sum / static_cast<double>(std::max<int64_t>(moves[i].tokens, 1)),
                     rule_label(rules[i].rule)});
    curves.push_back({name, std::move(table)});
  }
  return curves;
}

// Percent of all tokens by move, those that stay left out.
Table moves_table(const std::vector<ExitMoves>& moves) {
  std::vector<TableColumn> columns = {{.name = "steps_later", .type = CellType::kInteger}};
  for (size_t i = 0; i < moves.size(); ++i)
    columns.push_back({.name = fmt::format("percent_{}", i + 1)});
  Table table(std::move(columns));
  for (int move = -kFarthest; move <= kFarthest; ++move) {
    std::vector<Cell> cells = {int64_t{move}};
    for (const ExitMoves& one : moves) {
      int64_t tokens = 0;
      for (const auto& [steps, n] : one.by_move)
        if (std::clamp(steps, -kFarthest, kFarthest) == move) tokens += n;
      cells.push_back(move == 0 || one.tokens == 0 ? Cell()
                                                   : Cell(100.0 * static_cast<double>(tokens) /
                                                          static_cast<double>(one.tokens)));
    }
    table.add_row(std::move(cells));
  }
  return table;
}

struct Panels {
  std::string precision;
  std::vector<Curve> curves;
  Table moves;
  std::vector<ExitMoves> examples;
};

double top_of(const Table& table, size_t first_column) {
  double top = 0;
  for (size_t row = 0; row < table.n_rows(); ++row)
    for (size_t column = first_column; column < table.columns().size(); ++column) {
      if (table.columns()[column].type == CellType::kText) continue;
      const double value = table.number(row, column);
      if (std::isfinite(value)) top = std::max(top, value);
    }
  return top;
}

std::string curve_plots(const Panels& panel, size_t first_block, bool titled) {
  std::string text = "plot \\\n";
  for (size_t i = 0; i < panel.curves.size(); ++i) {
    const CurveStyle style = curve_style(i);
    text += fmt::format(
        "  data index {} using 1:2 with linespoints linecolor rgb '{}' dashtype {} linewidth 1.6 "
        "pointtype {} pointsize 0.5 {}{}\n",
        first_block + i, style.color, style.dash, style.marker,
        titled ? "title " + gnuplot_string(legend_label(panel.curves[i].name)) : "notitle",
        i + 1 < panel.curves.size() ? ", \\" : "");
  }
  return text;
}

// Bars of several rules side by side at each move.
std::string move_plots(size_t block, const std::vector<std::string>& names, bool titled) {
  const double width = 0.8 / static_cast<double>(names.size());
  std::string text = fmt::format("set boxwidth {}\nplot \\\n", 0.9 * width);
  for (size_t i = 0; i < names.size(); ++i) {
    const double shift =
        width * (static_cast<double>(i) - (static_cast<double>(names.size()) - 1) / 2);
    text += fmt::format("  data index {} using ($1+{}):{} with boxes linecolor rgb '{}' {}{}\n",
                        block, shift, i + 2, curve_style(i).color,
                        titled ? "title " + gnuplot_string(legend_label(names[i])) : "notitle",
                        i + 1 < names.size() ? ", \\" : "");
  }
  return text;
}

Result<std::vector<Panels>> panels_of(const std::vector<PrecisionPair>& pairs,
                                      const std::vector<GridRule>& rules,
                                      const std::vector<GridRule>& examples) {
  std::vector<std::string> precisions;
  for (const PrecisionPair& pair : pairs)
    if (std::find(precisions.begin(), precisions.end(), pair.precision) == precisions.end())
      precisions.push_back(pair.precision);
  if (precisions.size() > kMostPrecisions)
    return input_error("figure jitter: found {} precisions besides the first, expected at most {}",
                       precisions.size(), kMostPrecisions);
  std::vector<Panels> panels;
  for (const std::string& precision : precisions) {
    std::vector<PrecisionPair> own;
    for (const PrecisionPair& pair : pairs)
      if (pair.precision == precision) own.push_back(pair);
    PLUMB_ASSIGN(const std::vector<ExitMoves> moves, exit_moves(own, rules));
    PLUMB_ASSIGN(std::vector<ExitMoves> example_moves, exit_moves(own, examples));
    Table table = moves_table(example_moves);
    panels.push_back(
        {precision, curves_of(rules, moves), std::move(table), std::move(example_moves)});
  }
  return panels;
}

std::string x_of_curves(int n_steps) {
  std::vector<double> depths;
  for (int step = 1; step <= n_steps; ++step) depths.push_back(step);
  const DepthAxis x = depth_axis(depths);
  std::vector<Tick> ticks;
  for (const Tick& tick : x.ticks) ticks.push_back({std::exp2(tick.at), tick.label});
  return "set logscale x 2\n" + range_command('x', std::exp2(x.low), std::exp2(x.high)) +
         tick_command('x', ticks) +
         "set xlabel 'mean exit step at the higher precision' offset 0,0.4\n";
}

std::string x_of_moves() {
  std::vector<Tick> ticks;
  for (int move = -kFarthest; move <= kFarthest; move += 2)
    ticks.push_back({static_cast<double>(move),
                     fmt::format("{}{}", std::abs(move) == kFarthest ? (move < 0 ? "≤" : "≥") : "",
                                 move < 0 ? fmt::format("−{}", -move) : fmt::format("{}", move))});
  return "unset logscale x\n" + range_command('x', -kFarthest - 0.6, kFarthest + 0.6) +
         tick_command('x', ticks) + "set xlabel 'steps later' offset 0,0.4\n";
}

std::string y_commands(const Plot& plot, double top, const char* title, bool labelled) {
  Axis axis = linear_axis(0, std::max(top, 1e-3));
  std::vector<Tick> ticks = axis.ticks;
  if (!labelled)
    for (Tick& tick : ticks) tick.label.clear();
  return range_command('y', 0, axis.high) + tick_command('y', ticks) +
         (labelled ? y_title_command(plot, title) : "");
}

}  // namespace

Result<Plot> jitter_figure(RunReader& reader, const FigureOptions& options) {
  PLUMB_ASSIGN(const std::vector<GridRule> rules, figure_rules(options, usual_rules(), 200));
  const std::vector<GridRule> examples = examples_of(options, rules);
  PLUMB_ASSIGN(const std::vector<TrajectoryInfo> found,
               recorded_trajectories(reader, options.selection));
  std::vector<Recording> recordings;
  for (const TrajectoryInfo& one : found) {
    PLUMB_ASSIGN(Recording recording, load_recording(reader, one));
    recordings.push_back(std::move(recording));
  }
  PLUMB_ASSIGN(const std::vector<PrecisionPair> pairs, precision_pairs(recordings));
  PLUMB_ASSIGN(const std::vector<Panels> panels, panels_of(pairs, rules, examples));
  if (panels[0].curves.size() > kMostPrecisionRules)
    return input_error("figure jitter: found {} families of rules, expected at most {}",
                       panels[0].curves.size(), kMostPrecisionRules);

  Plot plot;
  double curve_top = 0, move_top = 0;
  int64_t tokens = 0;
  std::set<std::string> texts;
  for (const PrecisionPair& pair : pairs) {
    texts.insert(pair.text);
    if (pair.precision == panels[0].precision)
      tokens += static_cast<int64_t>(pair.base->n_tokens());
  }
  for (const Panels& panel : panels) {
    for (const Curve& curve : panel.curves) {
      plot.data.push_back({panel.precision + ": " + curve.name, curve.table});
      curve_top = std::max(curve_top, top_of(curve.table, 1));
    }
    plot.data.push_back({panel.precision + ": moves", panel.moves});
    move_top = std::max(move_top, top_of(panel.moves, 1));
  }
  std::vector<std::string> names, example_names;
  for (const Curve& curve : panels[0].curves) names.push_back(curve.name);
  for (size_t i = 0; i < examples.size(); ++i) {
    std::string shares;
    for (const Panels& panel : panels)
      shares +=
          fmt::format("{}{:.2g} %", shares.empty() ? "" : ", ", panel.examples[i].moved_percent());
    example_names.push_back(fmt::format("{} ({})", rule_label(examples[i].rule), shares));
  }
  const double legend =
      std::max(legend_px("rule", names), legend_px("rule (moved)", example_names));
  plot.width = static_cast<int>(90 + legend + 340 * static_cast<double>(panels.size()));
  plot.height = 660;
  const std::string base = precision_of(pairs[0].base->info.record.setting);
  std::vector<Recording> bases;
  for (const PrecisionPair& pair : pairs)
    if (pair.precision == panels[0].precision) bases.push_back(Recording{.info = pair.base->info});
  const PageText page = page_text(
      plot, "Exits that move with the precision",
      common_setting(bases) +
          (texts.size() > 1 ? fmt::format(" · {}", fmt::join(texts, ", ")) : std::string()),
      fmt::format(
          "{} tokens at {}, and the same ones at lower precision. Above: share that leaves at "
          "another step, a point a threshold; tokens that never left count at their limit. "
          "Below: by how many steps, those that stay left out. {}",
          grouped(tokens), base, kTeacherForcedNote));
  const PanelGrid grid{.plot = &plot,
                       .n_rows = 2,
                       .n_columns = panels.size(),
                       .right = legend,
                       .top = page.top_px + 28,
                       .bottom = page.bottom_px + 50,
                       .gap_y = 62};
  const double half = (plot.height - grid.top - grid.bottom) / 4 / plot.height;
  std::string script = "set style fill solid 0.85 noborder\nset multiplot\n" + page.commands;
  size_t block = 0;
  for (size_t p = 0; p < panels.size(); ++p) {
    const bool last = p + 1 == panels.size();
    script += "\n" + grid.margins(0, p);
    script += last ? legend_commands(plot, "rule", names, grid.middle() + half) : "unset key\n";
    script += panel_heading(fmt::format("{} → {}", base, panels[p].precision));
    script += y_commands(plot, curve_top, "tokens that leave elsewhere, %", p == 0) +
              x_of_curves(pairs[0].base->n_steps) + curve_plots(panels[p], block, last) +
              "unset label\n" + grid.margins(1, p);
    block += panels[p].curves.size();
    script += last ? legend_commands(plot, "rule (moved)", example_names, grid.middle() - half)
                   : "unset key\n";
    script += y_commands(plot, move_top, "tokens, %", p == 0) + x_of_moves() +
              move_plots(block++, example_names, last) + "unset label\n";
  }
  plot.script = script + "unset multiplot\n";
  return plot;
}

}  // namespace plumb
