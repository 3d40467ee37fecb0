#pragma once

#include <cstddef>
#include <string_view>

namespace plumb {

// Well-formed UTF-8: no overlong form, no surrogate, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text);

// Bytes before the first ill-formed sequence; text.size() when there is none.
size_t valid_utf8_prefix(std::string_view text);

}  // namespace plumb
