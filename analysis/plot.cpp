#include "analysis/plot.h"

#include <algorithm>
#include <array>

#include "analysis/gnuplot.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;

fs::path with_extension(fs::path path, const char* extension) {
  return path.replace_extension(extension);
}

// gnuplot gives some first characters of a file name a meaning ('<' runs a command); "./" does not
// let it.
std::string local_file(const fs::path& path) {
  return gnuplot_string("./" + path.filename().string());
}

std::string terminal_commands(const Plot& plot, const fs::path& output) {
  const bool png = output.extension() == ".png";
  const std::string terminal =
      png ? fmt::format(
                "pngcairo noenhanced font 'DejaVu Sans,10' size {},{} fontscale 2 "
                "linewidth 2 pointscale 2 background '#FFFFFF'",
                2 * plot.width, 2 * plot.height)
          : fmt::format(
                "svg noenhanced font 'DejaVu Sans,10' size {},{} fontscale 1.333 background "
                "'#FFFFFF'",
                plot.width, plot.height);
  return fmt::format("set terminal {}\nset output {}\n", terminal, local_file(output));
}

// One picture: its terminal, then the commands. Several: the commands in a loop over the terminals.
std::string drawing(const Plot& plot, const std::vector<fs::path>& outputs) {
  if (outputs.size() == 1) return terminal_commands(plot, outputs[0]) + "\n" + plot.script;
  std::string text = fmt::format("do for [picture = 1:{}] {{\n", outputs.size());
  for (size_t i = 0; i < outputs.size(); ++i)
    text +=
        fmt::format("if (picture == {}) {{\n{}}}\n", i + 1, terminal_commands(plot, outputs[i]));
  return text + "\n" + plot.script + "}\n";
}

constexpr const char* kDefaults =
    "set encoding utf8\n"
    "set datafile missing 'NaN'\n"
    "set border 3 linecolor '#444444' linewidth 0.8\n"
    "set tics nomirror out scale 0.6 textcolor '#222222'\n"
    "set grid xtics ytics linetype 1 linewidth 0.5 linecolor '#E3E3E3'\n";

bool draws_nothing(const fs::path& picture) {
  std::error_code ignored;
  return fs::file_size(picture, ignored) == static_cast<uintmax_t>(-1) || ignored ||
         fs::file_size(picture, ignored) == 0;
}

Status remove_picture(const fs::path& picture) {
  std::error_code failure;
  fs::remove(picture, failure);
  if (!failure) return ok_status();
  return work_error("{}: cannot be replaced: {}", picture.string(), failure.message());
}

}  // namespace

Status check_outputs(const std::vector<fs::path>& outputs) {
  if (outputs.empty()) return input_error("no output file: expected one ending in .png or .svg");
  for (size_t i = 0; i < outputs.size(); ++i) {
    const fs::path& output = outputs[i];
    if (output.extension() != ".png" && output.extension() != ".svg")
      return input_error("{}: found the ending '{}', expected .png or .svg", output.string(),
                         output.extension().string());
    std::error_code ignored;
    if (const fs::path folder = output.parent_path(); !folder.empty() && !fs::is_directory(folder, ignored))
      return input_error("{}: there is no folder {}", output.string(), folder.string());
    if (with_extension(output, "") != with_extension(outputs[0], ""))
      return input_error("{}: one plot has one name, expected it beside and named like {}",
                         output.string(), outputs[0].string());
    if (std::count(outputs.begin(), outputs.end(), output) > 1)
      return input_error("{}: found twice, expected each output once", output.string());
  }
  return ok_status();
}

std::string data_text(const Plot& plot) {
  std::string text;
  for (const DataBlock& block : plot.data) {
    if (!text.empty()) text += "\n\n";  // gnuplot's end of a block
    text += fmt::format("# {}\n{}", one_line(block.comment), block.table.to_dat());
  }
  return text;
}

std::string script_text(const Plot& plot, const std::vector<fs::path>& outputs) {
  PLUMB_CHECK(!outputs.empty() && !plot.data.empty());
  const std::string name = with_extension(outputs[0].filename(), ".gp").string();
  return fmt::format(
      "# Draw again, in this folder:  gnuplot {}\nreset\ndata = {}\n{}\n{}\n"
      "unset output\n",
      one_line(name), local_file(with_extension(outputs[0], ".dat")), kDefaults,
      drawing(plot, outputs));
}

Result<PlotFiles> write_plot(const Plot& plot, const std::vector<fs::path>& outputs) {
  PLUMB_RETURN_IF_ERROR(check_outputs(outputs));
  PlotFiles files{outputs, with_extension(outputs[0], ".gp"), with_extension(outputs[0], ".dat")};
  PLUMB_RETURN_IF_ERROR(write_text_file(files.data, data_text(plot)));
  PLUMB_RETURN_IF_ERROR(write_text_file(files.script, script_text(plot, outputs)));
  for (const fs::path& picture : outputs) PLUMB_RETURN_IF_ERROR(remove_picture(picture));
  const Status drawn = run_gnuplot(files.script);
  for (const fs::path& picture : outputs) {
    if (drawn.ok() && draws_nothing(picture))
      return work_error("{}: gnuplot ended well but wrote no picture", picture.string());
    if (!drawn.ok()) PLUMB_RETURN_IF_ERROR(remove_picture(picture));
  }
  if (!drawn.ok()) return drawn.error();
  return files;
}

std::string gnuplot_string(std::string_view text) {
  std::string out = "'";
  for (const char c : one_line(text)) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

CurveStyle curve_style(size_t i) {
  static const std::array<const char*, 7> kColors = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                     "#E69F00", "#56B4E9", "#444444"};
  static const std::array<int, 3> kDashes = {1, 2, 4};  // solid, dashed, dash-dot
  static const std::array<int, 5> kMarkers = {7, 5, 9, 13,
                                              11};  // filled: disc, square, up, diamond, down
  PLUMB_CHECK(i < kMostCurves);
  return {kColors[i % kColors.size()], kDashes[i / kColors.size()], kMarkers[i % kMarkers.size()]};
}

std::string tick_command(char axis, const std::vector<Tick>& ticks) {
  std::string text;
  for (const Tick& tick : ticks)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", gnuplot_string(tick.label), tick.at);
  return fmt::format("set {}tics ({})\n", axis, text);
}

std::string y_title_command(const Plot& plot, std::string_view title) {
  return fmt::format("set label 81 {} at screen {:.4f},graph 0.5 center rotate front\n",
                     gnuplot_string(title), 20.0 / plot.width);
}

std::string range_command(char axis, double low, double high) {
  return fmt::format("set {}range [{}:{}]\n", axis, low, high);
}

std::vector<std::string> wrapped(std::string_view text, size_t columns) {
  std::vector<std::string> lines;
  std::string line;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word(text.substr(at, end - at));
    if (!line.empty() && display_width(line) + 1 + display_width(word) > columns) {
      lines.push_back(std::move(line));
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

PageText page_text(const Plot& plot, std::string_view title, std::string_view subtitle,
                   std::string_view caption) {
  constexpr double kLine = 14;
  const char* const kSmall = "font ',8.5' textcolor '#555555'";
  // A character of the small text is about 6.2 px wide.
  const size_t columns = static_cast<size_t>((plot.width - 28) / 6.2);
  PageText page;
  int number = 1;
  const auto add = [&](std::string_view words, double from_top, const char* style) {
    page.commands +=
        fmt::format("set label {} {} at screen {:.4f},{:.4f} left front {}\n", number++,
                    gnuplot_string(words), 14.0 / plot.width, 1 - from_top / plot.height, style);
  };
  add(title, 20, "font 'DejaVu Sans Bold,11' textcolor '#111111'");
  page.top_px = 32;
  for (const std::string& words : wrapped(subtitle, columns)) {
    add(words, page.top_px + kLine / 2, kSmall);
    page.top_px += kLine;
  }
  const std::vector<std::string> foot = wrapped(caption, columns);
  page.bottom_px = 8 + kLine * static_cast<double>(foot.size());
  double from_top = plot.height - page.bottom_px + kLine / 2;
  for (const std::string& words : foot) add(words, from_top, kSmall), from_top += kLine;
  return page;
}

std::string legend_label(const std::string& label) {
  constexpr size_t kMost = 72, kHead = 42, kTail = 28;
  if (display_width(label) <= kMost) return label;
  // Whole characters: a cut never falls on a byte that continues one.
  const auto is_inside = [&](size_t at) {
    return (static_cast<unsigned char>(label[at]) & 0xc0) == 0x80;
  };
  size_t head = 0, tail = label.size();
  for (size_t n = 0; n < kHead; ++n) do
      ++head;
    while (is_inside(head));
  for (size_t n = 0; n < kTail; ++n) do
      --tail;
    while (is_inside(tail));
  return label.substr(0, head) + "…" + label.substr(tail);
}

double legend_px(std::string_view title, const std::vector<std::string>& labels) {
  constexpr double kSample = 52, kMargins = 34, kCharacter = 7.3;  // at the legend's font
  size_t characters = display_width(title);
  for (const std::string& label : labels)
    characters = std::max(characters, display_width(legend_label(label)));
  return kSample + kMargins + kCharacter * static_cast<double>(characters);
}

std::string legend_commands(const Plot& plot, std::string_view title,
                            const std::vector<std::string>& labels, double middle) {
  const double left = plot.width - legend_px(title, labels) + 16;
  const double half = kLegendLinePx * (static_cast<double>(labels.size()) + 1) / 2;
  return fmt::format(
      "set key at screen {:.4f},screen {:.4f} left top vertical Left reverse samplen "
      "2.9 spacing 1.2 noautotitle font ',9' textcolor '#222222' title {} left\n",
      left / plot.width, std::min(0.97, middle + half / plot.height), gnuplot_string(title));
}

}  // namespace plumb
