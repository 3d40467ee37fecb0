// What the figures about exit rules share: panels on a page, and which rules are drawn.
#pragma once

#include <string>
#include <vector>

#include "analysis/figure.h"
#include "analysis/recording.h"
#include "analysis/rule_grid.h"

namespace plumb {

// Equal panels in rows and columns between the margins, px of the nominal picture.
struct PanelGrid {
  const Plot* plot;
  size_t n_rows = 1, n_columns = 1;
  double left = 66, right = 22, top = 0, bottom = 0;
  double gap_x = 16, gap_y = 16;
  // "set lmargin ..." of one panel, counted from the top left.
  std::string margins(size_t row, size_t column) const;
  double middle() const;  // of all panels from below, screen 0 to 1
};

// --rule and --grid, or else `otherwise`; an error with more than `most`.
Result<std::vector<GridRule>> figure_rules(const FigureOptions& options,
                                           std::vector<GridRule> otherwise, size_t most);

// What the recordings share, for a subtitle, and the label of each: its text.
std::string common_setting(const std::vector<Recording>& recordings);
std::vector<std::string> text_labels(const std::vector<Recording>& recordings);
int64_t total_tokens(const std::vector<Recording>& recordings);

// How figures call the halting of a model that stops by itself, beside the rules.
inline constexpr const char* kOwnHalting = "own halting";

// A note for captions on what a recording is.
inline constexpr const char* kTeacherForcedNote =
    "Replayed on a teacher-forced recording with full-depth caches.";

// A heading centred above the current panel.
std::string panel_heading(const std::string& label, const char* place = "graph 0.5,graph 1 center");

}  // namespace plumb
