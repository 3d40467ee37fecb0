// Text as Python's str treats it: code points, Unicode white space and case, repr().
// All text is valid UTF-8 (is_utf8 guards the ways in).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plumb::jinja {

bool is_utf8(std::string_view text);
// The code point at `*at`, which moves past it. REQUIRES *at < text.size().
char32_t next_point(std::string_view text, size_t* at);
void append_point(std::string* text, char32_t point);
size_t count_points(std::string_view text);
// Byte offset of code point `index`; text.size() when there are fewer.
size_t byte_of_point(std::string_view text, size_t index);

bool is_space(char32_t point);  // str.isspace()
bool is_cased_lower(char32_t point);
bool is_cased_upper(char32_t point);
bool is_alphabetic(char32_t point);
bool is_digit(char32_t point);
bool is_name_start(char32_t point);  // of an identifier; an underscore included
bool is_name_part(char32_t point);

// Without `chars`: white space.
std::string_view strip(std::string_view text, bool left, bool right,
                       std::optional<std::string_view> chars = {});
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);    // str.capitalize()
std::string title_method(std::string_view text);  // str.title()
std::string title_filter(std::string_view text);  // the `title` filter: other word boundaries
std::vector<std::string_view> split_lines(std::string_view text);  // str.splitlines()
std::vector<std::string_view> split_space(std::string_view text, size_t max_splits);
// In time linear in the text, whatever the needle; npos when absent.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0);
size_t find_last_text(std::string_view text, std::string_view needle);

std::string escape_html(std::string_view text);
std::string repr_text(std::string_view text);
std::string repr_real(double value);
// Python's int(text, base) and float(text); nullopt where they raise ValueError. A value beyond
// 64 bits sets *overflow.
std::optional<int64_t> parse_integer(std::string_view text, int base, bool* overflow);
std::optional<double> parse_real(std::string_view text);

}  // namespace plumb::jinja
