// A figure: one question, asked of a results file, answered with a Plot.
// The table of all figures is analysis/figures/all_figures.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/plot.h"
#include "analysis/queries.h"
#include "core/base/result.h"
#include "core/store/run_reader.h"

namespace plumb {

struct FigureOptions {
  Selection selection;
  std::string y;  // the quantity drawn, one of the figure's y_choices; "": the first
  // Figures about exit rules: expressions and grids as `plumb replay` takes them; empty: the
  // figure's own choice.
  std::string rules;
  std::vector<std::string> grids;
  // Figures that show single tokens: those from position `first_pos` on, `n_tokens` of them.
  int64_t first_pos = 0, n_tokens = 40;
  // The text of a token, for axis labels; "" when it is not known. Unset: ids are shown.
  std::function<std::string(const Setting& setting, int32_t token_id)> piece;
};

struct Figure {
  std::string_view name;
  std::string_view meaning;    // one line
  std::string_view needs;      // what must have been recorded
  std::string_view y_choices;  // "perplexity nats bpb"; "" where there is no choice
  bool takes_rules = false;    // --rule and --grid
  Result<Plot> (*make)(RunReader& reader, const FigureOptions& options);
};

}  // namespace plumb
