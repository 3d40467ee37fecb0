#include "analysis/table.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace plumb {
namespace {

bool fits(const Cell& cell, CellType type) {
  switch (type) {
    case CellType::kReal:
      return std::holds_alternative<double>(cell);
    case CellType::kInteger:
      return std::holds_alternative<int64_t>(cell);
    case CellType::kText:
      return std::holds_alternative<std::string>(cell);
  }
  return false;
}

bool is_empty(const Cell& cell) {
  if (const double* real = std::get_if<double>(&cell)) return std::isnan(*real);
  return std::holds_alternative<std::monostate>(cell);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string replace_control(std::string_view text, char with) {
  std::string out(text);
  std::replace_if(out.begin(), out.end(), is_control, with);
  return out;
}

// Every digit it takes to read the same number back.
std::string exact(const Cell& cell) {
  if (const double* real = std::get_if<double>(&cell)) return fmt::format("{}", *real);
  return fmt::format("{}", std::get<int64_t>(cell));
}

std::string for_people(const Cell& cell, const TableColumn& column) {
  if (is_empty(cell)) return "-";
  if (const auto* text = std::get_if<std::string>(&cell)) return replace_control(*text, '?');
  if (const double* real = std::get_if<double>(&cell))
    return fmt::format("{:.{}g}", *real, column.digits);
  return exact(cell);
}

std::string for_csv(const Cell& cell) {
  if (is_empty(cell)) return "";
  const auto* text = std::get_if<std::string>(&cell);
  if (text == nullptr) return exact(cell);
  if (text->find_first_of(",\"\r\n") == std::string::npos) return *text;
  std::string quoted = "\"";
  for (const char c : *text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string for_tsv(const Cell& cell) {
  if (is_empty(cell)) return "";
  const auto* text = std::get_if<std::string>(&cell);
  if (text == nullptr) return exact(cell);
  std::string escaped;
  for (const char c : *text) {
    if (c == '\t')
      escaped += "\\t";
    else if (c == '\n')
      escaped += "\\n";
    else if (c == '\r')
      escaped += "\\r";
    else if (c == '\\')
      escaped += "\\\\";
    else
      escaped += c;
  }
  return escaped;
}

std::string for_dat(const Cell& cell) {
  if (is_empty(cell)) return "NaN";
  const auto* text = std::get_if<std::string>(&cell);
  if (text == nullptr) return exact(cell);
  std::string word = one_line(*text);
  std::replace(word.begin(), word.end(), '"', '\'');
  return '"' + word + '"';
}

template <class Print>
std::string separated(const std::vector<Cell>& row, char separator, Print&& print) {
  std::string line;
  for (size_t i = 0; i < row.size(); ++i) {
    if (i > 0) line += separator;
    line += print(row[i]);
  }
  return line + '\n';
}

std::vector<Cell> names_of(const std::vector<TableColumn>& columns) {
  std::vector<Cell> names;
  for (const TableColumn& column : columns) names.emplace_back(column.name);
  return names;
}

std::string heading_of(const TableColumn& column) {
  const std::string& heading = column.heading.empty() ? column.name : column.heading;
  return column.unit.empty() ? heading : fmt::format("{} ({})", heading, column.unit);
}

std::string padded(const std::string& text, size_t width, CellType type) {
  const std::string space(width - std::min(width, display_width(text)), ' ');
  return type == CellType::kText ? text + space : space + text;
}

std::string without_trailing_spaces(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

}  // namespace

Table::Table(std::vector<TableColumn> columns) : columns_(std::move(columns)) {
  PLUMB_CHECK(!columns_.empty());
}

void Table::add_row(std::vector<Cell> cells) {
  PLUMB_CHECK(cells.size() == columns_.size());
  for (size_t i = 0; i < cells.size(); ++i)
    PLUMB_CHECK(is_empty(cells[i]) || fits(cells[i], columns_[i].type));
  rows_.push_back(std::move(cells));
}

double Table::number(size_t row, size_t column) const {
  const Cell& cell = rows_[row][column];
  PLUMB_CHECK(columns_[column].type != CellType::kText);
  if (is_empty(cell)) return std::numeric_limits<double>::quiet_NaN();
  if (const double* real = std::get_if<double>(&cell)) return *real;
  return static_cast<double>(std::get<int64_t>(cell));
}

int Table::index_of(std::string_view name) const {
  const auto found = std::find_if(columns_.begin(), columns_.end(),
                                  [&](const TableColumn& column) { return column.name == name; });
  PLUMB_CHECK(found != columns_.end());
  return static_cast<int>(found - columns_.begin()) + 1;
}

std::string Table::to_terminal() const {
  std::vector<std::vector<std::string>> lines(rows_.size() + 1);
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    lines[0].push_back(heading_of(columns_[i]));
    for (size_t row = 0; row < rows_.size(); ++row)
      lines[row + 1].push_back(for_people(rows_[row][i], columns_[i]));
    size_t width = 0;
    for (const auto& line : lines) width = std::max(width, display_width(line[i]));
    widths.push_back(width);
  }
  std::string out;
  for (size_t n = 0; n < lines.size(); ++n) {
    std::string line, rule;
    for (size_t i = 0; i < columns_.size(); ++i) {
      line += (i > 0 ? "  " : "") + padded(lines[n][i], widths[i], columns_[i].type);
      rule += (i > 0 ? "  " : "") + std::string(widths[i], '-');
    }
    out += without_trailing_spaces(line);
    if (n == 0) out += rule + '\n';
  }
  return out;
}

std::string Table::to_csv() const {
  std::string out = separated(names_of(columns_), ',', for_csv);
  for (const auto& row : rows_) out += separated(row, ',', for_csv);
  return out;
}

std::string Table::to_tsv() const {
  std::string out = separated(names_of(columns_), '\t', for_tsv);
  for (const auto& row : rows_) out += separated(row, '\t', for_tsv);
  return out;
}

std::string Table::to_dat() const {
  std::string out = "#";
  for (const TableColumn& column : columns_) out += ' ' + one_line(column.name);
  out += '\n';
  for (const auto& row : rows_) out += separated(row, ' ', for_dat);
  return out;
}

Status write_text_file(const std::filesystem::path& path, std::string_view text) {
  const auto failed = [&](int reason) -> Status {
    return work_error("{}: cannot be written: {}", path.string(), std::strerror(reason));
  };
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return failed(errno);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int write_reason = errno;
  if (std::fclose(file) != 0) return failed(errno);
  return written ? ok_status() : failed(write_reason);
}

std::string one_line(std::string_view text) { return replace_control(text, ' '); }

size_t display_width(std::string_view utf8) {
  return static_cast<size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace plumb
