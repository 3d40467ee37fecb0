#include "core/tokenizer/unicode.h"

#include <array>

#include "core/base/check.h"

namespace plumb {
namespace {

// The bytes at `pos` that can begin a character (at least one), and whether they are a whole one.
struct Part {
  size_t bytes;
  bool whole;
};

Part read_part(std::string_view text, size_t pos) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(pos);
  if (lead < 0x80) return {1, true};
  if (lead < 0xC2 || lead > 0xF4) return {1, false};
  const size_t length = utf8_length(text[pos]);
  // The second byte is where overlong forms, surrogates and values past 10FFFF are told apart.
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  size_t n = 1;
  while (n < length && pos + n < text.size() && byte(pos + n) >= low && byte(pos + n) <= high) {
    ++n;
    low = 0x80;
    high = 0xBF;
  }
  return {n, n == length};
}

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct ByteAlphabet {
  std::array<std::string, 256> letters;
  std::array<int, 0x180> bytes;  // code point -> byte, -1: not a letter

  ByteAlphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const char32_t letter = stands_for_itself(b) ? static_cast<char32_t>(b) : next++;
      append_utf8(letter, letters[b]);
      bytes[letter] = b;
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet instance;
  return instance;
}

}  // namespace

size_t utf8_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

char32_t next_code_point(std::string_view text, size_t& pos) {
  const size_t length = utf8_length(text[pos]);
  PLUMB_CHECK(length <= text.size() - pos);
  const auto lead = static_cast<uint8_t>(text[pos]);
  char32_t c = length == 1 ? lead : lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) c = c << 6 | (static_cast<uint8_t>(text[pos + i]) & 0x3F);
  pos += length;
  return c;
}

void append_utf8(char32_t c, std::string& out) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), tail(0);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), tail(6), tail(0);
  } else {
    put(0xF0 | c >> 18), tail(12), tail(6), tail(0);
  }
}

bool is_valid_utf8(std::string_view bytes) {
  for (size_t pos = 0; pos < bytes.size();) {
    const Part part = read_part(bytes, pos);
    if (!part.whole) return false;
    pos += part.bytes;
  }
  return true;
}

std::string repair_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t pos = 0; pos < bytes.size();) {
    const Part part = read_part(bytes, pos);
    if (part.whole)
      out.append(bytes, pos, part.bytes);
    else
      out += "\xEF\xBF\xBD";
    pos += part.bytes;
  }
  return out;
}

std::string to_byte_letters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) out += alphabet().letters[static_cast<uint8_t>(c)];
  return out;
}

std::optional<std::string> from_byte_letters(std::string_view token) {
  std::string out;
  for (size_t pos = 0; pos < token.size();) {
    const char32_t c = next_code_point(token, pos);
    if (c >= alphabet().bytes.size() || alphabet().bytes[c] < 0) return std::nullopt;
    out += static_cast<char>(alphabet().bytes[c]);
  }
  return out;
}

}  // namespace plumb
