// A figure: one question, asked of a results file, answered with a Plot.
// The table of all figures is analysis/figures/all_figures.h.
#pragma once

#include <string>
#include <string_view>

#include "analysis/plot.h"
#include "analysis/queries.h"
#include "core/base/result.h"
#include "core/store/run_reader.h"

namespace plumb {

struct FigureOptions {
  Selection selection;
  std::string y;  // the quantity drawn, one of the figure's y_choices; "": the first
};

struct Figure {
  std::string_view name;
  std::string_view meaning;    // one line
  std::string_view needs;      // what must have been recorded
  std::string_view y_choices;  // "perplexity nats bpb"; "" where there is no choice
  Result<Plot> (*make)(RunReader& reader, const FigureOptions& options);
};

}  // namespace plumb
