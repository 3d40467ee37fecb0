// Numbers and quoted text as Python writes and reads them.
#include <fmt/format.h>
#include <unicode/uchar.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

bool is_printable(char32_t point) {
  if (point == ' ') return true;
  switch (u_charType(static_cast<UChar32>(point))) {
    case U_CONTROL_CHAR:
    case U_FORMAT_CHAR:
    case U_SURROGATE:
    case U_PRIVATE_USE_CHAR:
    case U_UNASSIGNED:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR:
    case U_SPACE_SEPARATOR:
      return false;
    default:
      return true;
  }
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// Drops single underscores between digits; nullopt when one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      plain += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() && digit_value(text[i - 1]) < 36 &&
                         digit_value(text[i + 1]) < 36;
    if (!between) return {};
  }
  return plain;
}

// Takes "0x" and its like off; false when the prefix contradicts the base.
bool take_prefix(std::string_view* digits, int* base) {
  int named = 0;
  if (digits->size() > 2 && (*digits)[0] == '0') {
    const char c = static_cast<char>((*digits)[1] | 0x20);
    named = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
  }
  if (named != 0 && (*base == named || *base == 0)) {
    *base = named;
    digits->remove_prefix(2);
    if (digits->front() == '_') digits->remove_prefix(1);
  } else if (*base == 0) {
    *base = 10;
    // Base 0 reads literals: no leading zeros.
    if (digits->size() > 1 && digits->front() == '0' &&
        digits->find_first_not_of("0_") != std::string_view::npos)
      return false;
  }
  return !digits->empty();
}

}  // namespace

std::string repr_text(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t point = next_point(text, &at);
    if (point == static_cast<unsigned char>(quote) || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (point == '\n') {
      out += "\\n";
    } else if (point == '\r') {
      out += "\\r";
    } else if (point == '\t') {
      out += "\\t";
    } else if (is_printable(point)) {
      out += text.substr(start, at - start);
    } else if (point < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(point));
    } else if (point < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(point));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(point));
    }
  }
  return out + quote;
}

// Shortest digits that read back the same; exponent form below 1e-4 and from 1e16 on.
std::string repr_real(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(end.ptr - buffer));
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  int exponent = 0;
  const size_t sign = text[e + 1] == '+' ? 2 : 1;  // from_chars takes no plus
  std::from_chars(text.data() + e + sign, text.data() + text.size(), exponent);
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  const auto point = static_cast<size_t>(exponent + 1);
  return out + digits.substr(0, point) + "." + digits.substr(point);
}

std::optional<int64_t> parse_integer(std::string_view text, int base, bool* overflow) {
  text = strip(text, true, true);
  const bool negative = !text.empty() && text.front() == '-';
  if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
  if (text.empty() || !take_prefix(&text, &base)) return {};
  const auto plain = without_underscores(text);
  if (!plain || plain->empty()) return {};
  int64_t value = 0;
  bool wide = false;
  for (const char c : *plain) {
    const int digit = digit_value(c);
    if (digit >= base) return {};
    wide = wide || __builtin_mul_overflow(value, int64_t{base}, &value) ||
           (negative ? __builtin_sub_overflow(value, int64_t{digit}, &value)
                     : __builtin_add_overflow(value, int64_t{digit}, &value));
  }
  if (wide) *overflow = true;
  return value;
}

std::optional<double> parse_real(std::string_view text) {
  const auto plain = without_underscores(strip(text, true, true));
  if (!plain) return {};
  std::string_view digits = *plain;
  const bool negative = !digits.empty() && digits.front() == '-';
  if (negative || (!digits.empty() && digits.front() == '+')) digits.remove_prefix(1);
  const std::string lower = to_lower(digits);
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (digits.empty() || (digits[0] != '.' && (digits[0] < '0' || digits[0] > '9'))) return {};
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (end != digits.data() + digits.size() || code == std::errc::invalid_argument) return {};
    // Out of range leaves the value untouched; strtod knows which of 0 and infinity is meant.
    if (code == std::errc::result_out_of_range)
      value = std::strtod(std::string(digits).c_str(), nullptr);
  }
  return negative ? -value : value;
}

}  // namespace plumb::jinja
