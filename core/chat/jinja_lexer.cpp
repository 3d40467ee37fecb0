#include "core/chat/jinja_lexer.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "core/chat/jinja_text.h"
#include "core/chat/jinja_value.h"

namespace plumb::jinja {
namespace {

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }

// Every line end becomes \n, and one at the very end is dropped.
std::string normalize_lines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_lines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) lex_data();
    push(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail_here(std::string message) const {
    throw Failure{std::move(message), line_};
  }
  std::string_view rest(size_t at) const { return std::string_view(source_).substr(at); }
  char peek(size_t at) const { return at < source_.size() ? source_[at] : '\0'; }
  bool starts(size_t at, std::string_view text) const { return rest(at).starts_with(text); }

  void move_to(size_t at) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(at), '\n'));
    at_ = at;
  }
  Token& push(TokenKind kind, std::string_view text = {}) {
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.line = line_;
    token.text = text;
    return token;
  }
  size_t skip_space(size_t at) const {
    while (at < source_.size()) {
      size_t next = at;
      if (!is_space(next_point(source_, &next))) break;
      at = next;
    }
    return at;
  }

  // Where a closing tag that starts at `at` ends, what it swallows included; nullopt when none
  // starts there. `-` swallows all white space, a plain block end one line end.
  std::optional<size_t> closing(size_t at, std::string_view mark, bool block) const {
    if (peek(at) == '-' && starts(at + 1, mark)) return skip_space(at + 3);
    if (block && peek(at) == '+' && starts(at + 1, mark)) return at + 3;
    if (!starts(at, mark)) return {};
    return at + 2 + (block && peek(at + 2) == '\n' ? 1 : 0);
  }
  void close(size_t end) {
    line_starts_ = source_[end - 1] == '\n';
    move_to(end);
  }

  // The text before a tag, less what the tag's sign or lstrip_blocks takes from its end.
  std::string_view trim_before(std::string_view text, char sign, bool variable) const {
    if (sign == '-') return strip(text, false, true);
    if (sign == '+' || variable) return text;
    const size_t line = text.rfind('\n') == text.npos ? 0 : text.rfind('\n') + 1;
    const bool blank = strip(text.substr(line), true, false).empty();
    return (line > 0 || line_starts_) && blank ? text.substr(0, line) : text;
  }

  // "{% raw %}" at `at`: where its content starts.
  std::optional<size_t> raw_begin(size_t at) const {
    size_t next = at + 2;
    if (peek(next) == '-' || peek(next) == '+') ++next;
    next = skip_space(next);
    if (!starts(next, "raw")) return {};
    next = skip_space(next + 3);
    if (starts(next, "-%}")) return skip_space(next + 3);
    if (starts(next, "%}")) return next + 2;
    return {};
  }

  void lex_data() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos) break;
      const char next = peek(tag + 1);
      if (next == '{' || next == '%' || next == '#') break;
    }
    if (tag == std::string::npos) {
      push(TokenKind::kData, rest(at_));
      return move_to(source_.size());
    }
    const char kind = source_[tag + 1];
    const char sign = peek(tag + 2) == '-' || peek(tag + 2) == '+' ? source_[tag + 2] : '\0';
    const std::string_view text =
        trim_before(std::string_view(source_).substr(at_, tag - at_), sign, kind == '{');
    if (!text.empty()) push(TokenKind::kData, text);
    move_to(tag);
    if (kind == '%') {
      if (const auto content = raw_begin(tag)) return lex_raw(*content);
    }
    move_to(tag + (sign ? 3 : 2));
    line_starts_ = false;
    if (kind == '#') return lex_comment();
    push(kind == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin);
    lex_tag(kind == '{' ? "}}" : "%}", kind == '%');
  }

  void lex_comment() {
    for (size_t at = at_; at < source_.size(); ++at)
      if (const auto end = closing(at, "#}", true)) return close(*end);
    if (at_ < source_.size()) fail_here("a comment is not closed");
  }

  void lex_raw(size_t content) {
    close(content);
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      const char sign = peek(tag + 2) == '-' || peek(tag + 2) == '+' ? source_[tag + 2] : '\0';
      size_t next = skip_space(tag + (sign ? 3 : 2));
      if (!starts(next, "endraw")) continue;
      const auto end = closing(skip_space(next + 6), "%}", true);
      if (!end) continue;
      const std::string_view text =
          trim_before(std::string_view(source_).substr(at_, tag - at_), sign, false);
      if (!text.empty()) push(TokenKind::kData, text);
      return close(*end);
    }
    if (at_ < source_.size()) fail_here("a raw block is not closed");
  }

  void lex_tag(std::string_view mark, bool block) {
    std::string open;  // brackets still to be closed
    while (at_ < source_.size()) {
      if (open.empty()) {
        if (const auto end = closing(at_, mark, block)) {
          push(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd);
          return close(*end);
        }
      }
      const size_t space = skip_space(at_);
      if (space > at_) {
        move_to(space);
      } else if (!lex_number() && !lex_name() && !lex_string()) {
        lex_operator(&open);
      }
    }
  }

  // Digits with single underscores between them.
  size_t digits_end(size_t at) const {
    if (!is_digit_char(peek(at))) return at;
    while (is_digit_char(peek(at)) || (peek(at) == '_' && is_digit_char(peek(at + 1)))) ++at;
    return at;
  }

  std::optional<size_t> float_end() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return {};
    const size_t whole = digits_end(at_);
    if (whole == at_) return {};
    size_t end = whole;
    if (peek(whole) == '.' && digits_end(whole + 1) > whole + 1) end = digits_end(whole + 1);
    if (peek(end) == 'e' || peek(end) == 'E') {
      const size_t digits = end + 1 + (peek(end + 1) == '+' || peek(end + 1) == '-' ? 1 : 0);
      if (digits_end(digits) > digits) return digits_end(digits);
    }
    return end > whole ? std::optional(end) : std::nullopt;
  }

  size_t integer_end() const {
    const auto run = [&](size_t at, std::string_view digits) {
      for (;;) {
        const size_t next = peek(at) == '_' ? at + 1 : at;
        if (next >= source_.size() || digits.find(source_[next]) == digits.npos) return at;
        at = next + 1;
      }
    };
    if (!is_digit_char(peek(at_))) return at_;
    if (source_[at_] != '0') return digits_end(at_);
    const char base = static_cast<char>(peek(at_ + 1) | 0x20);
    const std::string_view digits = base == 'x'   ? "0123456789abcdefABCDEF"
                                    : base == 'o' ? "01234567"
                                    : base == 'b' ? "01"
                                                  : "";
    if (!digits.empty() && run(at_ + 2, digits) > at_ + 2) return run(at_ + 2, digits);
    return run(at_ + 1, "0");
  }

  bool lex_number() {
    if (const auto end = float_end()) {
      push(TokenKind::kFloat).real = *parse_real(rest(at_).substr(0, *end - at_));
      move_to(*end);
      return true;
    }
    const size_t end = integer_end();
    if (end == at_) return false;
    bool overflow = false;
    const auto value = parse_integer(rest(at_).substr(0, end - at_), 0, &overflow);
    if (overflow || !value)
      fail_here(
          fmt::format("the number {} does not fit in 64 bits", rest(at_).substr(0, end - at_)));
    push(TokenKind::kInteger).integer = *value;
    move_to(end);
    return true;
  }

  bool lex_name() {
    size_t end = at_;
    if (!is_name_start(next_point(source_, &end))) return false;
    for (size_t next = end; next < source_.size(); end = next)
      if (!is_name_part(next_point(source_, &next))) break;
    push(TokenKind::kName, rest(at_).substr(0, end - at_));
    move_to(end);
    return true;
  }

  bool lex_string() {
    const char quote = source_[at_];
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_here("a string is not closed");
    push(TokenKind::kString).text = unescape(rest(at_ + 1).substr(0, end - at_ - 1));
    move_to(end + 1);
    return true;
  }

  void lex_operator(std::string* open) {
    static constexpr std::string_view kOperators[] = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!starts(at_, op)) continue;
      balance(op[0], open);
      push(TokenKind::kOperator, op);
      return move_to(at_ + op.size());
    }
    size_t end = at_;
    next_point(source_, &end);
    fail_here(fmt::format("unexpected character '{}' in a tag", rest(at_).substr(0, end - at_)));
  }

  void balance(char op, std::string* open) const {
    if (op == '(')
      open->push_back(')');
    else if (op == '[')
      open->push_back(']');
    else if (op == '{')
      open->push_back('}');
    if (op != ')' && op != ']' && op != '}') return;
    if (open->empty()) fail_here(fmt::format("unexpected '{}'", op));
    if (open->back() != op)
      fail_here(fmt::format("unexpected '{}', expected '{}'", op, open->back()));
    open->pop_back();
  }

  char32_t hex_escape(std::string_view text, size_t* at, size_t count) const {
    char32_t value = 0;
    for (size_t i = 0; i < count; ++i, ++*at) {
      const char c = *at < text.size() ? text[*at] : '\0';
      const char low = static_cast<char>(c | 0x20);
      if (!is_digit_char(c) && !(low >= 'a' && low <= 'f'))
        fail_here("a string has a broken escape");
      value = value * 16 + static_cast<char32_t>(is_digit_char(c) ? c - '0' : low - 'a' + 10);
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
      fail_here("a string has an escape for no character");
    return value;
  }

  std::string unescape(std::string_view text) const {
    static constexpr std::string_view kPlain = "\\'\"abfnrtv", kMeaning = "\\'\"\a\b\f\n\r\t\v";
    std::string out;
    for (size_t at = 0; at < text.size();) {
      if (text[at] != '\\') {
        out += text[at++];
        continue;
      }
      const char c = text[++at];  // a string never ends in a lone backslash
      if (const size_t known = kPlain.find(c); known != kPlain.npos) {
        out += kMeaning[known];
        ++at;
      } else if (c == '\n') {
        ++at;
      } else if (c >= '0' && c <= '7') {
        char32_t value = 0;
        for (int i = 0; i < 3 && at < text.size() && text[at] >= '0' && text[at] <= '7'; ++i)
          value = value * 8 + static_cast<char32_t>(text[at++] - '0');
        append_point(&out, value);
      } else if (c == 'x' || c == 'u' || c == 'U') {
        append_point(&out, hex_escape(text, &++at, c == 'x' ? 2 : c == 'u' ? 4 : 8));
      } else if (c == 'N') {
        fail_here("the escape \\N is not supported");
      } else {
        out += unknown_escape(text, &at);
      }
    }
    return out;
  }

  // The backslash stays; a character beyond ASCII turns into its code, as Jinja's decoding does.
  std::string unknown_escape(std::string_view text, size_t* at) const {
    const char32_t point = next_point(text, at);
    const auto code = static_cast<uint32_t>(point);
    if (code < 0x80) return fmt::format("\\{}", static_cast<char>(point));
    if (code < 0x100) return fmt::format("\\x{:02x}", code);
    return code < 0x10000 ? fmt::format("\\u{:04x}", code) : fmt::format("\\U{:08x}", code);
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace plumb::jinja
