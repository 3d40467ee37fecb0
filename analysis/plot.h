// Pictures through gnuplot. A Plot is data and the commands that draw it; write_plot() leaves
//
//   NAME.dat   the numbers, one block a table
//   NAME.gp    the script; `gnuplot NAME.gp` in its folder draws the picture again
//   NAME.png   twice the nominal resolution, and/or
//   NAME.svg
//
// Names of models, texts and rules come from outside: gnuplot_string() makes them literal text.
// gnuplot's markup ("enhanced" text: _ ^ @ { }) is off; mathematics is written in Unicode.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/axis.h"
#include "analysis/table.h"
#include "core/base/result.h"

namespace plumb {

struct DataBlock {
  std::string comment;  // what the block holds; one line above it
  Table table;
};

struct Plot {
  int width = 720, height = 450;  // px of the SVG; the PNG has twice as many
  std::vector<DataBlock> data;    // `index i` of the data file
  std::string script;             // gnuplot commands; the data file is the variable `data`
};

struct PlotFiles {
  std::vector<std::filesystem::path> pictures;  // as asked for
  std::filesystem::path script, data;
};

// Checks that `outputs` are .png or .svg files beside each other under one name, as one plot needs:
// a.png, or a.png and a.svg. kInput.
Status check_outputs(const std::vector<std::filesystem::path>& outputs);

// Writes data, script and pictures. Errors: check_outputs(); kWork when a file cannot be written,
// gnuplot is not installed (the sentence names the package) or gnuplot fails. Data and script are
// then there all the same, a half-made picture is not. REQUIRES at least one data block.
Result<PlotFiles> write_plot(const Plot& plot, const std::vector<std::filesystem::path>& outputs);

// The text of the files, without writing anything. `name` is the common name without extension.
std::string data_text(const Plot& plot);
std::string script_text(const Plot& plot, const std::vector<std::filesystem::path>& outputs);

// `text` as a gnuplot string that stands for exactly these characters (single quotes: no escapes,
// no command substitution); control characters become spaces.
std::string gnuplot_string(std::string_view text);

// How the i-th of several curves looks. Colours are told apart with any common colour blindness
// (after Okabe and Ito, 2008); every seven curves the dash changes, and the marker with each curve.
struct CurveStyle {
  std::string color;  // "#0072B2"
  int dash = 1;       // gnuplot dashtype
  int marker = 7;     // gnuplot pointtype
};
inline constexpr size_t kMostCurves = 21;  // that can still be told apart
CurveStyle curve_style(size_t i);          // REQUIRES i < kMostCurves

// Commands for the parts that all figures share.
std::string tick_command(char axis, const std::vector<Tick>& ticks);  // "set xtics (...)"
// The title of the y axis: always at the left edge, where a ylabel would move with the tick labels.
std::string y_title_command(const Plot& plot, std::string_view title);
std::string range_command(char axis, double low, double high);  // "set xrange [...]"
// Title (bold), a subtitle below it and a caption at the foot of the page, all flush left. Lines
// wider than the picture are broken between words.
struct PageText {
  std::string commands;
  double top_px = 0, bottom_px = 0;  // height that the text takes, of the nominal picture
};
PageText page_text(const Plot& plot, std::string_view title, std::string_view subtitle,
                   std::string_view caption);

// Names beside curves, in a column of their own at the right of the picture: the room it takes
// there, and the commands that put gnuplot's key into it, centred at `middle` (screen, 0 to 1).
inline constexpr double kLegendLinePx = 17;
double legend_px(std::string_view title, const std::vector<std::string>& labels);
std::string legend_commands(const Plot& plot, std::string_view title,
                            const std::vector<std::string>& labels, double middle);
// The label as a legend shows it: a very long one loses its middle.
std::string legend_label(const std::string& label);

// `text` in lines of at most `columns` characters where its spaces allow.
std::vector<std::string> wrapped(std::string_view text, size_t columns);

}  // namespace plumb
