// What does a step cost in quality? Loss against mean depth for rules over their thresholds, beside
// the fixed depths and the oracles.
#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/figures/all_figures.h"
#include "analysis/figures/panels.h"
#include "analysis/replay.h"

namespace plumb {
namespace {

constexpr size_t kMostFamilies = 18;

struct Quality {
  const char* title;
  double (*value)(const RuleOutcome& outcome);
  bool is_log;
};

Quality quality_of(const std::string& y) {
  if (y == "nats")
    return {"loss, nats a token", [](const RuleOutcome& o) { return o.nats_per_token(); }, false};
  if (y == "false-exits")
    return {"tokens with another argmax than at full depth, %",
            [](const RuleOutcome& o) { return 100 * o.share(o.wrong_argmax); }, false};
  return {"perplexity", [](const RuleOutcome& o) { return o.perplexity(); }, true};
}

struct Family {
  std::string name;
  std::vector<const RuleOutcome*> outcomes;  // by mean steps
};

// In the order of first appearance.
std::vector<Family> families_of(const std::vector<GridRule>& rules,
                                const std::vector<RuleOutcome>& outcomes) {
  std::vector<Family> families;
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < rules.size(); ++i) {
    const auto [found, is_new] = index.try_emplace(rules[i].family, families.size());
    if (is_new) families.push_back({rules[i].family, {}});
    families[found->second].outcomes.push_back(&outcomes[i]);
  }
  for (Family& family : families)
    std::stable_sort(family.outcomes.begin(), family.outcomes.end(), [](auto* a, auto* b) {
      return a->mean_steps() < b->mean_steps();
    });
  return families;
}

Table table_of(const Family& family) {
  Table table({{.name = "mean_steps"},
               {.name = "nats_per_token"},
               {.name = "perplexity"},
               {.name = "false_exits_percent"},
               {.name = "no_exit_rate"},
               {.name = "pareto", .type = CellType::kInteger},
               {.name = "rule", .type = CellType::kText}});
  for (const RuleOutcome* o : family.outcomes)
    table.add_row({o->mean_steps(), o->nats_per_token(), o->perplexity(),
                   100 * o->share(o->wrong_argmax), o->share(o->no_exit), int64_t{o->pareto},
                   rule_label(o->rule)});
  return table;
}

// --rule with a lone threshold and without --grid is tried over its useful range.
Result<std::vector<GridRule>> rules_of(const FigureOptions& options,
                                       const std::vector<Recording>& recordings) {
  if (!options.rules.empty() && options.grids.empty()) {
    PLUMB_ASSIGN(const std::vector<GridRule> given, expand_rules(options.rules, {}));
    std::vector<GridRule> out;
    for (const GridRule& one : given) {
      const auto single = one.rule.single_threshold();
      const auto grid = single ? default_grid(single->scalar->name, 40) : std::nullopt;
      if (!grid || single->scalar->name == "fixed") {
        out.push_back(one);
        continue;
      }
      PLUMB_ASSIGN(std::vector<GridRule> curve,
                   expand_rules(one.rule.canonical(), std::span(&*grid, 1)));
      for (GridRule& rule : curve) out.push_back(std::move(rule));
    }
    return out;
  }
  if (!options.rules.empty() || !options.grids.empty()) return figure_rules(options, {}, 100'000);
  std::vector<GridRule> out;
  for (GridRule& rule : preset_rules()) {
    bool recorded = true;
    for (const Recording& recording : recordings)
      recorded = recorded && has_scalars(recording, rule.rule).ok();
    if (recorded) out.push_back(std::move(rule));
  }
  return out;
}

struct Ranges {
  double low = HUGE_VAL, high = -HUGE_VAL;
  void take(double value) {
    if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  }
};

std::string curves(const std::vector<Family>& families, size_t n_curves, int y_column) {
  std::string text = "plot \\\n";
  // The fixed depths first, below the rest.
  text += fmt::format(
      "  data index {} using (log($1)/log(2)):{} with linespoints linecolor rgb '#111111' linewidth "
      "3 pointtype 7 pointsize 0.7 title 'fixed depth', \\\n",
      n_curves, y_column);
  for (size_t i = 0; i < n_curves; ++i) {
    const CurveStyle style = curve_style(i);
    text += fmt::format(
        "  data index {} using (log($1)/log(2)):{} with linespoints linecolor rgb '{}' dashtype {} "
        "linewidth 1.3 pointtype {} pointsize 0.45 title {}, \\\n",
        i, y_column, style.color, style.dash, style.marker,
        gnuplot_string(legend_label(families[i].name)));
  }
  for (size_t i = 0; i < 2; ++i)
    text += fmt::format(
        "  data index {} using (log($1)/log(2)):{} with points linecolor rgb '#111111' linewidth 1.5 "
        "pointtype {} pointsize 1.2 title {}{}\n",
        n_curves + 1 + i, y_column, i == 0 ? 3 : 2,
        gnuplot_string(families[n_curves + 1 + i].name), i == 0 ? ", \\" : "");
  return text;
}

}  // namespace

Result<Plot> pareto_figure(RunReader& reader, const FigureOptions& options) {
  PLUMB_ASSIGN(const std::vector<Recording> recordings, load_recordings(reader, options.selection));
  PLUMB_ASSIGN(std::vector<GridRule> rules, rules_of(options, recordings));
  for (GridRule& rule : fixed_rules(recordings.front().n_steps)) rules.push_back(std::move(rule));
  for (GridRule& rule : oracle_rules()) rules.push_back(std::move(rule));
  std::vector<Rule> plain;
  for (const GridRule& rule : rules) plain.push_back(rule.rule);
  PLUMB_ASSIGN(const Replay replay, replay_rules(recordings, plain, {}));
  const std::vector<Family> families = families_of(rules, replay.outcomes);
  const size_t n_curves = families.size() - 3;
  if (n_curves > kMostFamilies)
    return input_error("figure pareto: found {} families of rules, expected at most {}", n_curves,
                       kMostFamilies);
  const Quality quality = quality_of(options.y);
  Plot plot;
  Ranges y;
  std::vector<std::string> names = {"fixed depth"};
  for (const Family& family : families) {
    plot.data.push_back({family.name, table_of(family)});
    if (family.name != "fixed depth") names.push_back(family.name);
    // An oracle far below would press all rules into one line; the caption has its numbers.
    for (const RuleOutcome* outcome : family.outcomes)
      if (!outcome->hindsight) y.take(quality.value(*outcome));
  }
  std::string oracles;
  for (size_t i = n_curves + 1; i < families.size(); ++i) {
    const RuleOutcome& outcome = *families[i].outcomes.front();
    oracles += fmt::format("{}{} ({:.3g} steps, {:.4g})", oracles.empty() ? "" : ", ",
                           families[i].name, outcome.mean_steps(), quality.value(outcome));
  }
  std::vector<double> depths;
  for (int step = 1; step <= replay.n_steps; ++step) depths.push_back(step);
  const double legend = legend_px("rule", names);
  plot.width = static_cast<int>(560 + legend);
  plot.height = std::max(460, 150 + static_cast<int>(kLegendLinePx * (names.size() + 2)));
  const std::string subject =
      common_setting(recordings) +
      (recordings.size() > 1 ? fmt::format(" · {}", fmt::join(text_labels(recordings), ", ")) : "");
  const PageText page = page_text(
      plot, "Quality against mean depth", subject,
      fmt::format("{} tokens. A point: one threshold; tokens that no check stopped run to step {}. "
                  "Crosses: oracles, which know the outcome, where they lie in the picture: {}. {}",
                  grouped(total_tokens(recordings)), replay.n_steps, oracles, kTeacherForcedNote));
  const PanelGrid grid{.plot = &plot,
                       .right = legend,
                       .top = page.top_px + 10,
                       .bottom = page.bottom_px + 54};
  // Between little and nothing lies what matters; a logarithm needs a decade to say so.
  const Axis axis = quality.is_log && y.low > 0 ? log_axis(y.low, y.high) : linear_axis(y.low, y.high);
  const DepthAxis x = depth_axis(depths);
  const int y_column = options.y == "nats" ? 2 : options.y == "false-exits" ? 4 : 3;
  plot.script = page.commands + grid.margins(0, 0) +
                fmt::format("{}set logscale y\n", quality.is_log && y.low > 0 ? "" : "un") +
                range_command('y', axis.low, axis.high) + tick_command('y', axis.ticks) +
                y_title_command(plot, quality.title) + range_command('x', x.low, x.high) +
                tick_command('x', x.ticks) + "set xlabel 'mean exit step' offset 0,0.4\n" +
                legend_commands(plot, "rule", names, grid.middle()) +
                curves(families, n_curves, y_column);
  return plot;
}

}  // namespace plumb
