#include "core/chat/jinja_text.h"

#include <fmt/format.h>
#include <unicode/ucasemap.h>
#include <unicode/uchar.h>

#include <cctype>
#include <cstring>

#include "core/base/check.h"

namespace plumb::jinja {
namespace {

bool is_ascii(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

using CaseMapper = int32_t (*)(const UCaseMap*, char*, int32_t, const char*, int32_t, UErrorCode*);

// Full Unicode mapping ("ß" -> "SS", final sigma), root locale, as Python's.
std::string map_case(std::string_view text, CaseMapper mapper, int (*ascii)(int)) {
  std::string mapped(text);
  if (is_ascii(text)) {
    for (char& c : mapped) c = static_cast<char>(ascii(static_cast<unsigned char>(c)));
    return mapped;
  }
  UErrorCode code = U_ZERO_ERROR;
  static const UCaseMap* const root = ucasemap_open("", 0, &code);
  PLUMB_CHECK(root != nullptr);
  code = U_ZERO_ERROR;
  const auto size = static_cast<int32_t>(text.size());
  mapped.resize(text.size() * 3 + 8);  // no code point grows more than threefold
  const int32_t written =
      mapper(root, mapped.data(), static_cast<int32_t>(mapped.size()), text.data(), size, &code);
  PLUMB_CHECK(U_SUCCESS(code) && written >= 0);
  mapped.resize(static_cast<size_t>(written));
  return mapped;
}

std::string point_text(char32_t point) {
  std::string text;
  append_point(&text, point);
  return text;
}

std::string title_point(char32_t point) {
  const auto titled = static_cast<char32_t>(u_totitle(static_cast<UChar32>(point)));
  if (titled != point) return point_text(titled);
  // No one-point title form: "ß" becomes "Ss" by way of "SS".
  const std::string upper = to_upper(point_text(point));
  size_t at = 0;
  next_point(upper, &at);
  return upper.substr(0, at) + to_lower(std::string_view(upper).substr(at));
}

bool is_cased(char32_t point) {
  return is_cased_lower(point) || is_cased_upper(point) ||
         u_charType(static_cast<UChar32>(point)) == U_TITLECASE_LETTER;
}

bool is_line_end(char32_t point) {
  return (point >= 0x0a && point <= 0x0d) || (point >= 0x1c && point <= 0x1e) || point == 0x85 ||
         point == 0x2028 || point == 0x2029;
}

bool in_set(std::string_view chars, char32_t point) {
  for (size_t at = 0; at < chars.size();)
    if (next_point(chars, &at) == point) return true;
  return false;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80   ? 1
                          : lead < 0xc2 ? 0
                          : lead < 0xe0 ? 2
                          : lead < 0xf0 ? 3
                          : lead < 0xf5 ? 4
                                        : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    if (length > 2) {
      size_t at = i;
      const char32_t point = next_point(text, &at);
      const bool overlong = length == 3 ? point < 0x800 : point < 0x10000;
      if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    }
    i += length;
  }
  return true;
}

char32_t next_point(std::string_view text, size_t* at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) & 0x3fu : 0u;
  };
  const size_t i = *at;
  const auto lead = static_cast<unsigned char>(text[i]);
  if (lead < 0xc0) return *at = i + 1, lead;
  if (lead < 0xe0) return *at = std::min(i + 2, text.size()), ((lead & 0x1fu) << 6) | byte(i + 1);
  if (lead < 0xf0) {
    *at = std::min(i + 3, text.size());
    return ((lead & 0x0fu) << 12) | (byte(i + 1) << 6) | byte(i + 2);
  }
  *at = std::min(i + 4, text.size());
  return ((lead & 0x07u) << 18) | (byte(i + 1) << 12) | (byte(i + 2) << 6) | byte(i + 3);
}

void append_point(std::string* text, char32_t point) {
  const auto put = [&](char32_t bits) { text->push_back(static_cast<char>(bits)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xc0 | (point >> 6));
  } else {
    if (point < 0x10000) {
      put(0xe0 | (point >> 12));
    } else {
      put(0xf0 | (point >> 18));
      put(0x80 | ((point >> 12) & 0x3f));
    }
    put(0x80 | ((point >> 6) & 0x3f));
  }
  put(0x80 | (point & 0x3f));
}

size_t count_points(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

size_t byte_of_point(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) next_point(text, &at);
  return at;
}

bool is_space(char32_t point) {
  return (point >= 0x09 && point <= 0x0d) || (point >= 0x1c && point <= 0x20) || point == 0x85 ||
         point == 0xa0 || point == 0x1680 || (point >= 0x2000 && point <= 0x200a) ||
         point == 0x2028 || point == 0x2029 || point == 0x202f || point == 0x205f ||
         point == 0x3000;
}

bool is_cased_lower(char32_t point) { return u_isULowercase(static_cast<UChar32>(point)); }
bool is_cased_upper(char32_t point) { return u_isUUppercase(static_cast<UChar32>(point)); }
bool is_alphabetic(char32_t point) { return u_isalpha(static_cast<UChar32>(point)); }
bool is_name_start(char32_t point) {
  return point == '_' || u_isIDStart(static_cast<UChar32>(point));
}
bool is_name_part(char32_t point) {
  return u_isIDPart(static_cast<UChar32>(point)) && !u_isIDIgnorable(static_cast<UChar32>(point));
}
bool is_digit(char32_t point) { return u_charDigitValue(static_cast<UChar32>(point)) >= 0; }

std::string_view strip(std::string_view text, bool left, bool right,
                       std::optional<std::string_view> chars) {
  const auto drop = [&](char32_t point) { return chars ? in_set(*chars, point) : is_space(point); };
  while (left && !text.empty()) {
    size_t at = 0;
    if (!drop(next_point(text, &at))) break;
    text.remove_prefix(at);
  }
  while (right && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
    size_t at = start;
    if (!drop(next_point(text, &at))) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::string to_upper(std::string_view text) {
  return map_case(text, ucasemap_utf8ToUpper,
                  [](int c) { return c >= 'a' && c <= 'z' ? c - 32 : c; });
}

std::string to_lower(std::string_view text) {
  return map_case(text, ucasemap_utf8ToLower,
                  [](int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  size_t at = 0;
  const char32_t first = next_point(text, &at);
  return title_point(first) + to_lower(text.substr(at));
}

std::string title_method(std::string_view text) {
  std::string titled;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t point = next_point(text, &at);
    titled += inside ? to_lower(point_text(point)) : title_point(point);
    inside = is_cased(point);
  }
  return titled;
}

std::string title_filter(std::string_view text) {
  const auto separates = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
  };
  std::string titled;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const bool kind = separates(next_point(text, &at));
    const size_t second = at;
    for (size_t ahead = at; ahead < text.size() && separates(next_point(text, &ahead)) == kind;)
      at = ahead;
    titled += to_upper(text.substr(start, second - start));
    titled += to_lower(text.substr(second, at - second));
  }
  return titled;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    const char32_t point = next_point(text, &at);
    if (!is_line_end(point)) continue;
    if (point == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(start, here - start));
    start = at;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::vector<std::string_view> split_space(std::string_view text, size_t max_splits) {
  std::vector<std::string_view> words;
  text = strip(text, true, false);
  while (!text.empty()) {
    if (words.size() == max_splits) {
      words.push_back(text);
      break;
    }
    size_t end = 0;
    for (size_t at = 0; at < text.size() && !is_space(next_point(text, &at));) end = at;
    words.push_back(text.substr(0, end));
    text = strip(text.substr(end), true, false);
  }
  return words;
}

// memmem is linear whatever the texts are; string_view::find is not.
size_t find_text(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* at = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (at == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(at) - text.data());
}

size_t find_last_text(std::string_view text, std::string_view needle) {
  const std::string backwards(text.rbegin(), text.rend());
  const size_t at = find_text(backwards, std::string(needle.rbegin(), needle.rend()));
  return at == std::string::npos ? at : text.size() - at - needle.size();
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace plumb::jinja
