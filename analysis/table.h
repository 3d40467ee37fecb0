// A small table of typed columns: printed for people, written for programs and for gnuplot.
//
//   Table table({{.name = "num_steps", .heading = "depth", .type = CellType::kInteger},
//                {.name = "elapsed_ms", .heading = "time", .unit = "ms", .digits = 3}});
//   table.add_row({int64_t{4}, 12.5});
//   fmt::print("{}", table.to_terminal());
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/result.h"

namespace plumb {

enum class CellType { kReal, kInteger, kText };

struct TableColumn {
  std::string name;     // an identifier, for files; carries its unit where it has one (elapsed_ms)
  std::string heading;  // for people; "": the name
  std::string unit;     // for people, printed beside the heading; "": none
  CellType type = CellType::kReal;
  int digits = 4;  // significant digits of a real for people; files have them all
};

// monostate, and NaN in a real column: no value.
using Cell = std::variant<std::monostate, double, int64_t, std::string>;

class Table {
 public:
  // REQUIRES at least one column.
  explicit Table(std::vector<TableColumn> columns);

  // REQUIRES one cell a column, each of its column's type or empty.
  void add_row(std::vector<Cell> cells);

  size_t n_rows() const { return rows_.size(); }
  const std::vector<TableColumn>& columns() const { return columns_; }
  const Cell& at(size_t row, size_t column) const { return rows_[row][column]; }
  // The number in a real or integer column; NaN when there is none.
  double number(size_t row, size_t column) const;
  // 1-based, as gnuplot counts. REQUIRES that the column exists.
  int index_of(std::string_view name) const;

  // Aligned: text to the left, numbers to the right, "-" for no value; a heading line and a rule.
  // Control characters of text are shown as '?'.
  std::string to_terminal() const;
  std::string to_csv() const;  // RFC 4180; no value is an empty field
  std::string to_tsv() const;  // tab, newline and backslash of text as \t \n \\; no value is empty
  // gnuplot: names in a comment, then rows; no value is NaN. Text is quoted; the characters that a
  // quoted word cannot hold become ' (for ") and spaces (for control characters).
  std::string to_dat() const;

 private:
  std::vector<TableColumn> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Writes the whole of `text`; the error names the file and the system's reason. kWork.
Status write_text_file(const std::filesystem::path& path, std::string_view text);

// `text` on one line: control characters become spaces.
std::string one_line(std::string_view text);
// Characters (code points) of UTF-8, near enough to the columns a terminal needs.
size_t display_width(std::string_view utf8);

}  // namespace plumb
