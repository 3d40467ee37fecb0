// How well does the model predict after so much depth? One curve a setting, the depth on a log2
// axis, the loss as perplexity (log), nats per token or bits per byte, with confidence bands.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "analysis/figures/all_figures.h"

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One quantity to draw, taken from a finished point.
struct Quantity {
  const char* name;  // of --y, and of the column
  const char* title;
  const char* axis;
  bool is_log;
  double (*value)(const DepthPerplexityRow& row);
  // The same for an end of the perplexity's interval.
  double (*bound)(const DepthPerplexityRow& row, double perplexity);
};

double bits_per_byte(const DepthPerplexityRow& row) { return row.bits_per_byte.value_or(kNaN); }

const Quantity kQuantities[] = {
    {"perplexity", "Perplexity by depth", "perplexity (log scale)", true,
     [](const DepthPerplexityRow& row) { return row.perplexity; },
     [](const DepthPerplexityRow&, double perplexity) { return perplexity; }},
    {"nats", "Loss by depth", "nats per token", false,
     [](const DepthPerplexityRow& row) { return row.nats_per_token; },
     [](const DepthPerplexityRow&, double perplexity) { return std::log(perplexity); }},
    // Bytes per token are the text's, so the interval scales with the loss.
    {"bpb", "Bits per byte by depth", "bits per byte", false, bits_per_byte,
     [](const DepthPerplexityRow& row, double perplexity) {
       return bits_per_byte(row) * std::log(perplexity) / row.nats_per_token;
     }},
};

const Quantity& quantity_named(const std::string& name) {
  for (const Quantity& quantity : kQuantities)
    if (name == quantity.name) return quantity;
  PLUMB_CHECK(name.empty());
  return kQuantities[0];
}

// A point of a curve, ready to be drawn.
struct Mark {
  double depth = 0, value = 0, low = kNaN, high = kNaN;
  int64_t tokens = 0, point = 0;
  std::string interval;  // what low to high is, for the caption; "" when there is none
};

struct Curve {
  std::string label;
  std::vector<Mark> marks;  // ascending by depth
  std::vector<Mark> apart;  // what stopped by itself beside fixed depths: no part of their line
  bool by_itself = false;   // a point stopped by itself: it stands at its mean steps
};

struct Chart {
  std::vector<Curve> curves;
  std::string varies, common, axis;  // axis: what the depth counts
  size_t left_out = 0;               // points without a depth or a finite value

  template <class Each>
  void for_each(Each&& each) const {
    for (const Curve& curve : curves) {
      for (const Mark& mark : curve.marks) each(mark);
      for (const Mark& mark : curve.apart) each(mark);
    }
  }
};

// "95 % interval (percentile bootstrap over chunks)", as the run recorded it.
std::string interval_name(const DepthPerplexityRow& row) {
  std::string name = row.ci_level ? fmt::format("{:.4g} % interval", 100 * *row.ci_level) : "interval of unrecorded level";
  if (!row.ci_method.empty()) name += fmt::format(" ({})", row.ci_method);
  return name;
}

Mark mark_of(const DepthPoint& point, const Quantity& quantity) {
  const DepthPerplexityRow& row = point.result;
  Mark mark;
  mark.depth = row.num_steps ? static_cast<double>(*row.num_steps) : row.mean_steps.value_or(kNaN);
  mark.value = quantity.value(row);
  if (row.ci_low && row.ci_high) {
    mark.low = quantity.bound(row, *row.ci_low);
    mark.high = quantity.bound(row, *row.ci_high);
    if (!std::isfinite(mark.low) || !std::isfinite(mark.high) || (quantity.is_log && mark.low <= 0))
      mark.low = mark.high = kNaN;
    else
      mark.interval = interval_name(row);
  }
  mark.tokens = row.tokens, mark.point = row.point;
  return mark;
}

bool can_be_drawn(const Mark& mark, const Quantity& quantity) {
  return std::isfinite(mark.depth) && mark.depth >= 0 && std::isfinite(mark.value) &&
         (!quantity.is_log || mark.value > 0);
}

// Ascending by depth. A depth measured twice (recorded in other detail, say) counts once, the
// later point.
void arrange(std::vector<Mark>& marks) {
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
    return std::pair(a.depth, -a.point) < std::pair(b.depth, -b.point);
  });
  const auto same = [](const Mark& a, const Mark& b) { return a.depth == b.depth; };
  marks.erase(std::unique(marks.begin(), marks.end(), same), marks.end());
}

std::string axes_of(const std::vector<DepthPoint>& points) {
  std::set<std::string> axes;
  for (const DepthPoint& point : points)
    if (!point.setting.axis.empty()) axes.insert(point.setting.axis);
  std::string text;
  for (const std::string& axis : axes) text += (text.empty() ? "" : " or ") + axis;
  return text.empty() ? "steps" : text;
}

Chart chart_of(const std::vector<DepthPoint>& points, const Quantity& quantity) {
  std::vector<Setting> settings;
  for (const DepthPoint& point : points) settings.push_back(point.setting);
  const SeriesSplit split = split_by_setting(settings);
  Chart chart{{}, split.varies, split.common, axes_of(points), 0};
  for (const Series& series : split.series) {
    Curve curve{series.label, {}, {}, false};
    for (const size_t row : series.rows) {
      const Mark mark = mark_of(points[row], quantity);
      if (!can_be_drawn(mark, quantity)) {
        ++chart.left_out;
        continue;
      }
      curve.by_itself |= !points[row].result.num_steps;
      (points[row].result.num_steps ? curve.marks : curve.apart).push_back(mark);
    }
    if (curve.marks.empty()) curve.marks.swap(curve.apart);
    arrange(curve.marks);
    arrange(curve.apart);
    if (!curve.marks.empty()) chart.curves.push_back(std::move(curve));
  }
  return chart;
}

Table table_of(const std::vector<Mark>& marks, const Quantity& quantity) {
  Table table({{.name = "depth"},
               {.name = quantity.name},
               {.name = "ci_low"},
               {.name = "ci_high"},
               {.name = "tokens", .type = CellType::kInteger},
               {.name = "point", .type = CellType::kInteger}});
  for (const Mark& mark : marks)
    table.add_row({mark.depth, mark.value, mark.low, mark.high, mark.tokens, mark.point});
  return table;
}

Axis value_axis(const Chart& chart, const Quantity& quantity) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  chart.for_each([&](const Mark& mark) {
    low = std::min({low, mark.value, std::isnan(mark.low) ? mark.value : mark.low});
    high = std::max({high, mark.value, std::isnan(mark.high) ? mark.value : mark.high});
  });
  return quantity.is_log ? log_axis(low, high) : linear_axis(low, high);
}

std::string caption_of(const Chart& chart, const Quantity& quantity) {
  int64_t fewest = std::numeric_limits<int64_t>::max(), most = 0;
  size_t intervals = 0, points = 0;
  std::set<std::string> names;
  chart.for_each([&](const Mark& mark) {
    fewest = std::min(fewest, mark.tokens), most = std::max(most, mark.tokens);
    intervals += !std::isnan(mark.low), ++points;
    if (!std::isnan(mark.low)) names.insert(mark.interval);
  });
  std::string text = fewest == most
                         ? fmt::format("{} tokens a point.", grouped(most))
                         : fmt::format("{} to {} tokens a point.", grouped(fewest), grouped(most));
  if (intervals == 0)
    text += " No confidence intervals were recorded.";
  else
    text += fmt::format(" Shaded or barred: {}{}.", fmt::join(names, ", or "),
                        intervals < points ? ", where there is one" : "");
  if (std::any_of(chart.curves.begin(), chart.curves.end(),
                  [](const Curve& curve) { return curve.by_itself; }))
    text += " What stops by itself stands at its mean depth.";
  if (chart.left_out > 0)
    text += fmt::format(" Left out: {} point{} without a depth or a finite value of {}.",
                        chart.left_out, chart.left_out == 1 ? "" : "s", quantity.name);
  return text;
}

// Bands under everything, then whiskers where a band would have no width, then curves; the legend
// in the order in which the curves end.
std::string plot_command(const Chart& chart) {
  std::string bands, whiskers;
  const double alpha = chart.curves.size() > 3 ? 0.14 : 0.18;  // many bands overlap
  std::vector<size_t> order;
  for (size_t i = 0; i < chart.curves.size(); ++i) {
    const Curve& curve = chart.curves[i];
    const std::string color = curve_style(i).color;
    const size_t on_scale = static_cast<size_t>(std::count_if(
        curve.marks.begin(), curve.marks.end(), [](const Mark& mark) { return mark.depth > 0; }));
    if (on_scale > 1)
      bands += fmt::format(
          "  data index {} using (on_scale($1)):3:4 with filledcurves fillcolor "
          "rgb '{}' fillstyle transparent solid {} noborder notitle, \\\n",
          i, color, alpha);
    if (on_scale < 2 || curve.marks.front().depth == 0)
      whiskers += fmt::format(
          "  data index {} using ({}):3:(0):($4-$3) with vectors nohead "
          "linecolor rgb '{}' linewidth 1.4 notitle, \\\n",
          i, on_scale < 2 ? "place($1)" : "off_scale($1)", color);
    order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return chart.curves[a].marks.back().value > chart.curves[b].marks.back().value;
  });
  std::string curves, apart;
  size_t block = chart.curves.size();  // those marks are the data's last blocks
  for (size_t i = 0; i < chart.curves.size(); ++i) {
    if (chart.curves[i].apart.empty()) continue;
    const CurveStyle style = curve_style(i);
    apart += fmt::format(
        ", \\\n  data index {0} using (place($1)):3:(0):($4-$3) with vectors nohead linecolor rgb "
        "'{1}' linewidth 1.4 notitle, \\\n  data index {0} using (place($1)):2 with points "
        "linecolor rgb '{1}' linewidth 1.6 pointtype {2} pointsize 1.0 notitle",
        block++, style.color, style.marker);
  }
  for (const size_t i : order) {
    const Curve& curve = chart.curves[i];
    const CurveStyle style = curve_style(i);
    const std::string look = fmt::format(
        "linecolor rgb '{}' linewidth 1.6 dashtype {} pointtype "
        "{} pointsize 0.6",
        style.color, style.dash, style.marker);
    const std::string title =
        curve.label.empty() ? "notitle" : "title " + gnuplot_string(legend_label(curve.label));
    const bool line = curve.marks.size() > 1;
    curves += fmt::format("{}  data index {} using ({}($1)):2 with {} {} {}",
                          curves.empty() ? "" : ", \\\n", i, line ? "on_scale" : "place",
                          line ? "linespoints" : "points", look, title);
    if (line && curve.marks.front().depth == 0)
      curves += fmt::format(", \\\n  data index {} using (off_scale($1)):2 with points {} notitle",
                            i, look);
  }
  return "plot \\\n" + bands + whiskers + curves + apart + "\n";
}

// Of the legend; none when there is one curve.
std::vector<std::string> labels_of(const Chart& chart) {
  std::vector<std::string> labels;
  if (chart.curves.size() > 1)
    for (const Curve& curve : chart.curves) labels.push_back(curve.label);
  return labels;
}

// Two strokes across the axis where depth 0 leaves the scale.
std::string break_marks(const DepthAxis& axis) {
  if (!axis.has_zero || axis.ticks.size() < 2) return "";
  const double at = (axis.zero_at + axis.ticks[1].at) / 2;
  return fmt::format(
      "set label 90 '//' at first {},graph 0 center front font ',10' textcolor "
      "'#444444'\n",
      at);
}

std::string script_of(const Plot& plot, const Chart& chart, const Quantity& quantity) {
  std::vector<double> depths;
  chart.for_each([&](const Mark& mark) { depths.push_back(mark.depth); });
  const DepthAxis x = depth_axis(depths);
  const Axis y = value_axis(chart, quantity);
  const PageText page = page_text(plot, quantity.title, chart.common, caption_of(chart, quantity));
  std::string text = page.commands;
  const double top = 1 - (page.top_px + 8) / plot.height;
  const double bottom = (page.bottom_px + 54) / plot.height;
  const std::vector<std::string> labels = labels_of(chart);
  const double right_px = labels.empty() ? 26 : legend_px(chart.varies, labels);
  text += fmt::format(
      "set tmargin at screen {:.4f}\nset bmargin at screen {:.4f}\n"
      "set lmargin at screen {:.4f}\nset rmargin at screen {:.4f}\n",
      top, bottom, 78.0 / plot.width, 1 - right_px / plot.width);
  text += labels.empty() ? "unset key\n"
                         : legend_commands(plot, chart.varies, labels, (top + bottom) / 2);
  text += fmt::format(
      "# Depths are drawn at their log2; depth 0, which has none, at {}.\n"
      "place(d) = d > 0 ? log(d) / log(2) : {}\n"
      "on_scale(d) = d > 0 ? place(d) : NaN\n"
      "off_scale(d) = d > 0 ? NaN : place(d)\n",
      x.zero_at, x.zero_at);
  text += range_command('x', x.low, x.high) + tick_command('x', x.ticks);
  if (quantity.is_log) text += "set logscale y\n";
  text += range_command('y', y.low, y.high) + tick_command('y', y.ticks);
  text += fmt::format("set xlabel {} offset 0,0.3\n",
                      gnuplot_string(fmt::format("depth ({}, log₂ scale)", chart.axis)));
  text += y_title_command(plot, quantity.axis);
  return text + break_marks(x) + "\n" + plot_command(chart);
}

}  // namespace

Result<Plot> depth_perplexity_figure(RunReader& reader, const FigureOptions& options) {
  const Quantity& quantity = quantity_named(options.y);
  PLUMB_ASSIGN(const std::vector<DepthPoint> points, finished_points(reader, options.selection));
  const Chart chart = chart_of(points, quantity);
  const std::string file = reader.path().string();
  if (chart.curves.empty())
    return input_error("{}: none of {} finished points has a depth and a finite value of {}", file,
                       points.size(), quantity.name);
  if (chart.curves.size() > kMostCurves)
    return input_error(
        "{}: found {} curves that differ in {}, expected at most {} to be told "
        "apart: choose with --model, --text or --run",
        file, chart.curves.size(), chart.varies, kMostCurves);
  Plot plot;
  const std::vector<std::string> labels = labels_of(chart);
  plot.width = labels.empty() ? 620 : 570 + static_cast<int>(legend_px(chart.varies, labels));
  plot.height =
      std::max(450, 160 + static_cast<int>(kLegendLinePx) * static_cast<int>(labels.size()));
  for (const Curve& curve : chart.curves)
    plot.data.push_back({fmt::format("curve: {}", curve.label.empty() ? chart.common : curve.label),
                         table_of(curve.marks, quantity)});
  for (const Curve& curve : chart.curves)
    if (!curve.apart.empty())
      plot.data.push_back({fmt::format("stopped by itself: {}", curve.label.empty() ? chart.common : curve.label),
                           table_of(curve.apart, quantity)});
  plot.script = script_of(plot, chart, quantity);
  return plot;
}

}  // namespace plumb
