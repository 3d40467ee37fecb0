// UTF-8 and the byte alphabet: the small text tools the tokenizers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plumb {

// The code point at `pos`, which moves behind it.
// REQUIRES `text` is valid UTF-8, pos < text.size() and pos at the start of a character.
char32_t next_code_point(std::string_view text, size_t& pos);
// REQUIRES `c` is a Unicode scalar value.
void append_utf8(char32_t c, std::string& out);
// Bytes of the character that starts with `lead` in valid UTF-8.
size_t utf8_length(char lead);

bool is_valid_utf8(std::string_view bytes);
// Every maximal invalid part becomes one U+FFFD, as Python's errors="replace" does it: surrogate
// halves, overlong forms and values past 10FFFF count one by one byte.
std::string repair_utf8(std::string_view bytes);

// Byte-level BPE writes text in an alphabet of 256 printable characters, one a byte: printable
// Latin-1 characters stand for themselves, the other bytes are U+0100, U+0101, ... in order.
std::string to_byte_letters(std::string_view bytes);
// The bytes a token stands for; nullopt when a character is not in the alphabet.
// REQUIRES `token` is valid UTF-8.
std::optional<std::string> from_byte_letters(std::string_view token);

}  // namespace plumb
