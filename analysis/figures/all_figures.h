// The table of figures: a new figure is one file in this folder and one line here.
#pragma once

#include <span>
#include <string_view>

#include "analysis/figure.h"

namespace plumb {

std::span<const Figure> all_figures();

// An unknown name is an error that lists the known ones, each with its meaning. kInput.
Result<const Figure*> find_figure(std::string_view name);

// Makes the figure `name` of the results file and writes it. Errors: find_figure(), an unknown y,
// what the figure misses in the file, write_plot().
Result<PlotFiles> draw_figure(const std::filesystem::path& database, std::string_view name,
                              const FigureOptions& options,
                              const std::vector<std::filesystem::path>& outputs);

// The figures, one below the other with what they mean and need, for help texts.
std::string figure_list();

// The figures themselves.
Result<Plot> depth_perplexity_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> steps_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> exit_histogram_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> exit_cdf_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> heatmap_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> pareto_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> cache_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> jitter_figure(RunReader& reader, const FigureOptions& options);
Result<Plot> exit_surprisal_figure(RunReader& reader, const FigureOptions& options);

}  // namespace plumb
