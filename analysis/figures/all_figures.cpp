#include "analysis/figures/all_figures.h"

#include <array>

namespace plumb {
namespace {

constexpr std::array kFigures = {
    Figure{"depth-perplexity", "perplexity against depth, with confidence bands",
           "at least one finished point", "perplexity nats bpb", false,
           depth_perplexity_figure},
    Figure{"steps", "state movement, change of the prediction and its entropy, step by step",
           "a sweep with --record steps", "", false, steps_figure},
    Figure{"exit-histogram", "how many tokens leave at which step, by rule and text",
           "a sweep with --record steps", "", true, exit_histogram_figure},
    Figure{"exit-cdf", "share of tokens that have left by each step, a curve a rule",
           "a sweep with --record steps", "", true, exit_cdf_figure},
    Figure{"heatmap", "token by step, with the steps at which rules leave",
           "a sweep with --record steps", "kl-final kl latent-diff entropy nll", true,
           heatmap_figure},
    Figure{"pareto", "loss against mean depth: rules over their thresholds, fixed depth, oracles",
           "a sweep with --record steps", "perplexity nats false-exits", true, pareto_figure},
    Figure{"exit-surprisal", "exit step against surprisal, place in the window and frequency",
           "a sweep with --record steps", "", true, exit_surprisal_figure},
    Figure{"cache", "keys and values held, tokens a second and perplexity, by cache strategy",
           "sweeps with --scoring sequential and --cache", "", false, cache_figure},
    Figure{"jitter", "how many exits move between precisions, and how far",
           "a sweep with --record steps and --readout f32,bf16 (or --dtype f32,bf16)", "", true,
           jitter_figure},
};

// Is `word` one of the space-separated `choices`?
bool is_choice(std::string_view word, std::string_view choices) {
  while (!choices.empty()) {
    const size_t end = choices.find(' ');
    if (choices.substr(0, end) == word) return true;
    if (end == std::string_view::npos) return false;
    choices.remove_prefix(end + 1);
  }
  return false;
}

Status check_y(const Figure& figure, const std::string& y) {
  if (y.empty() || is_choice(y, figure.y_choices)) return ok_status();
  if (figure.y_choices.empty())
    return input_error("figure {}: found --y {}, expected none: it has no choice of quantity",
                       figure.name, y);
  return input_error("figure {}: found --y {}, expected one of: {}", figure.name, y,
                     figure.y_choices);
}

Status check_rules(const Figure& figure, const FigureOptions& options) {
  if (figure.takes_rules || (options.rules.empty() && options.grids.empty())) return ok_status();
  return input_error("figure {}: found --rule or --grid, expected neither: it draws no rules",
                     figure.name);
}

}  // namespace

std::span<const Figure> all_figures() { return kFigures; }

Result<const Figure*> find_figure(std::string_view name) {
  std::string known;
  for (const Figure& figure : kFigures) {
    if (figure.name == name) return &figure;
    known += fmt::format("{}{} ({})", known.empty() ? "" : ", ", figure.name, figure.meaning);
  }
  return input_error("there is no figure '{}', expected one of: {}", name, known);
}

Result<PlotFiles> draw_figure(const std::filesystem::path& database, std::string_view name,
                              const FigureOptions& options,
                              const std::vector<std::filesystem::path>& outputs) {
  PLUMB_ASSIGN(const Figure* figure, find_figure(name));
  PLUMB_RETURN_IF_ERROR(check_y(*figure, options.y));
  PLUMB_RETURN_IF_ERROR(check_rules(*figure, options));
  PLUMB_RETURN_IF_ERROR(check_outputs(outputs));
  PLUMB_ASSIGN(RunReader reader, RunReader::open(database));
  PLUMB_ASSIGN(const Plot plot, figure->make(reader, options));
  return write_plot(plot, outputs);
}

std::string figure_list() {
  std::string text;
  for (const Figure& figure : kFigures) {
    text +=
        fmt::format("  {:<18}{}\n  {:<18}needs {}", figure.name, figure.meaning, "", figure.needs);
    if (!figure.y_choices.empty()) text += fmt::format("; --y one of: {}", figure.y_choices);
    text += '\n';
  }
  return text;
}

}  // namespace plumb
