#include "analysis/figures/panels.h"

namespace plumb {

std::string PanelGrid::margins(size_t row, size_t column) const {
  const double width = plot->width, height = plot->height;
  const double columns = static_cast<double>(n_columns), rows = static_cast<double>(n_rows);
  const double panel_width = (width - left - right - gap_x * (columns - 1)) / columns;
  const double panel_height = (height - top - bottom - gap_y * (rows - 1)) / rows;
  const double x = left + static_cast<double>(column) * (panel_width + gap_x);
  const double y = top + static_cast<double>(row) * (panel_height + gap_y);
  return fmt::format(
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\n"
      "set tmargin at screen {:.4f}\nset bmargin at screen {:.4f}\n",
      x / width, (x + panel_width) / width, 1 - y / height, 1 - (y + panel_height) / height);
}

double PanelGrid::middle() const { return 1 - (top + plot->height - bottom) / 2 / plot->height; }

Result<std::vector<GridRule>> figure_rules(const FigureOptions& options,
                                           std::vector<GridRule> otherwise, size_t most) {
  std::vector<ThresholdGrid> grids;
  for (const std::string& text : options.grids) {
    PLUMB_ASSIGN(ThresholdGrid grid, parse_grid(text));
    grids.push_back(std::move(grid));
  }
  PLUMB_ASSIGN(std::vector<GridRule> rules, expand_rules(options.rules, grids));
  if (rules.empty()) rules = std::move(otherwise);
  if (rules.size() <= most) return rules;
  return input_error("found {} rules for this figure, expected at most {}", rules.size(), most);
}

std::string common_setting(const std::vector<Recording>& recordings) {
  std::vector<Setting> settings;
  for (const Recording& recording : recordings) settings.push_back(recording.info.record.setting);
  return split_by_setting(settings).common;
}

std::vector<std::string> text_labels(const std::vector<Recording>& recordings) {
  std::vector<std::string> labels;
  for (const Recording& recording : recordings)
    labels.push_back(legend_label(recording.info.record.setting.text_name));
  return labels;
}

int64_t total_tokens(const std::vector<Recording>& recordings) {
  int64_t tokens = 0;
  for (const Recording& recording : recordings)
    tokens += static_cast<int64_t>(recording.n_tokens());
  return tokens;
}

std::string panel_heading(const std::string& label, const char* place) {
  return fmt::format("set label 80 {} at {} offset 0,0.8 front font ',9' textcolor '#222222'\n",
                     gnuplot_string(label), place);
}

}  // namespace plumb
