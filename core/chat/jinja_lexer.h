// Template text to tokens, with the white space control of trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plumb::jinja {

enum class TokenKind : uint8_t {
  kData,  // text between tags, already trimmed
  kVariableBegin,
  kVariableEnd,  // {{ }}
  kBlockBegin,
  kBlockEnd,  // {% %}
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  // `text` says which
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // data, name, operator, or the unescaped string
  int64_t integer = 0;
  double real = 0;
};

// Ends with one kEnd. REQUIRES valid UTF-8. Throws Failure with its line.
std::vector<Token> tokenize(std::string_view source);

}  // namespace plumb::jinja
