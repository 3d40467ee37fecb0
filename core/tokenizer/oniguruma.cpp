// Oniguruma to PCRE2, one pass over the pattern (declared in regex.h).
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "core/tokenizer/character_sets.h"
#include "core/tokenizer/component.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  Result<std::string> run() {
    while (at_ < in_.size()) PLUMB_RETURN_IF_ERROR(item());
    return std::move(out_);
  }

 private:
  // A set as it stands in the pattern: members, and whether it means all others.
  struct Set {
    std::string members;
    bool negated = false;
  };

  Error unsupported(std::string_view what) const {
    return input_error("{}: the regular expression {} uses {}, which is not supported", where_,
                       in_quotes(in_), what);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool starts(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  void atom(std::string_view text) {
    atom_ = out_.size();
    out_ += text;
  }
  void copy_character() {
    const size_t length = std::min(utf8_length(in_[at_]), in_.size() - at_);
    out_ += in_.substr(at_, length);
    at_ += length;
  }

  Status item() {
    switch (peek()) {
      case '\\':
        return escape();
      case '[':
        return character_class();
      case '(':
        return open_group();
      case ')':
        if (groups_.empty()) return unsupported("an unmatched )");
        atom_ = groups_.back();
        groups_.pop_back();
        out_ += in_[at_++];
        return ok_status();
      case '{':
        return interval();
      case '*':
      case '+':
      case '?':
      case '|':
      case '^':
      case '$':
        out_ += in_[at_++];
        return ok_status();
      default:
        atom_ = out_.size();
        copy_character();
        return ok_status();
    }
  }

  Status open_group() {
    const size_t begin = out_.size();
    if (starts("(?~")) return unsupported("an absent group (?~");
    if (starts("(?#")) {
      const size_t close = in_.find(')', at_);
      if (close == std::string_view::npos) return unsupported("an unclosed comment");
      at_ = close + 1;
      return ok_status();
    }
    if (starts("(*")) return unsupported("a verb (*");
    out_ += in_[at_++];
    if (peek() != '?') {
      groups_.push_back(begin);
      return ok_status();
    }
    out_ += in_[at_++];
    // Options: Ruby's m lets the dot match a newline, which PCRE2 calls s.
    while (std::string_view("imx-").find(peek()) != std::string_view::npos && peek() != '\0') {
      const char c = in_[at_++];
      out_ += c == 'm' ? 's' : c;
    }
    if (peek() == ')') {
      out_ += in_[at_++];  // (?i) holds to the end of the enclosing group and is no atom
      return ok_status();
    }
    groups_.push_back(begin);
    // Of (?: (?= (?! (?> (?<= (?<! (?<name> the rest is the same; the first character is copied so
    // that it is not read as an item.
    if (std::string_view(":=!><").find(peek()) == std::string_view::npos || peek() == '\0')
      return unsupported(fmt::format("the group {}", in_quotes(in_.substr(at_ - 2, 3))));
    const bool named = peek() == '<';
    out_ += in_[at_++];
    if (named && (peek() == '=' || peek() == '!')) {
      out_ += in_[at_++];
    } else if (named) {
      const size_t close = in_.find('>', at_);
      if (close == std::string_view::npos) return unsupported("an unclosed group name");
      out_ += in_.substr(at_, close + 1 - at_);
      at_ = close + 1;
    }
    return ok_status();
  }

  // {n}, {n,}, {,m}, {n,m}; any other brace is a literal. "{..}+" repeats the repeat, and "{n}?"
  // makes it optional, where PCRE2 would read possessive and lazy.
  Status interval() {
    size_t i = at_ + 1;
    const auto digits = [&] {
      const size_t from = i;
      while (i < in_.size() && std::isdigit(static_cast<unsigned char>(in_[i]))) ++i;
      return in_.substr(from, i - from);
    };
    const std::string_view low = digits();
    const bool comma = i < in_.size() && in_[i] == ',';
    if (comma) ++i;
    const std::string_view high = comma ? digits() : low;
    if (i >= in_.size() || in_[i] != '}' || (low.empty() && high.empty()) || out_.empty()) {
      atom("\\{");
      ++at_;
      return ok_status();
    }
    at_ = i + 1;
    out_ += comma ? fmt::format("{{{},{}}}", low.empty() ? "0" : low, high)
                  : fmt::format("{{{}}}", low);
    if (peek() == '+' || (peek() == '?' && !comma)) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
    return ok_status();
  }

  Status escape() {
    if (at_ + 1 >= in_.size()) return unsupported("a lone \\ at its end");
    const char c = peek(1);
    if (c == 'b' || c == 'B') {
      const std::string w = fmt::format("[{}{}]", word_set(), kLatin1Words);
      out_ += c == 'b' ? fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", w)
                       : fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", w);
      at_ += 2;
      return ok_status();
    }
    if (std::string_view("AzZG").find(c) != std::string_view::npos) return copy_escape(2);
    atom_ = out_.size();
    if (c == 'O') {
      at_ += 2;
      out_ += "(?s:.)";
      return ok_status();
    }
    if (c == 'k' || c == 'g') {
      const size_t close = in_.find('>', at_);
      if (peek(2) != '<' || close == std::string_view::npos) return unsupported("\\k or \\g alone");
      return copy_escape(close + 1 - at_);
    }
    if (std::string_view("RXKN").find(c) != std::string_view::npos || (c >= '1' && c <= '9'))
      return copy_escape(2);
    PLUMB_ASSIGN(const Set set, set_escape());
    if (set.members.empty()) return character_escape();
    const bool word = c == 'w' || c == 'W';
    out_ += fmt::format("[{}{}{}]", set.negated ? "^" : "", set.members, word ? kLatin1Words : "");
    return ok_status();
  }

  Status copy_escape(size_t length) {
    out_ += in_.substr(at_, length);
    at_ += length;
    return ok_status();
  }

  // \s \w \d \h \p{..} and their opposites; empty members: the escape is a single character.
  Result<Set> set_escape() {
    const char c = peek(1);
    const bool negated = std::isupper(static_cast<unsigned char>(c));
    const auto simple = [&](std::string members) {
      at_ += 2;
      return Set{std::move(members), negated};
    };
    switch (std::tolower(c)) {
      case 's':
        return simple(std::string(kSpaces));
      case 'w':
        return simple(word_set());
      case 'd':
        return simple(category_set("Nd"));
      case 'h':
        return simple("0-9a-fA-F");
      case 'p':
        return property(negated);
      default:
        return Set{};
    }
  }

  Result<Set> property(bool negated) {
    const size_t close = in_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) return unsupported("\\p without {name}");
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    at_ = close + 1;
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    for (const char c : name)
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != ' ' && c != '-')
        return unsupported(fmt::format("the property {}", in_quotes(name)));
    std::string members = named_set(name);
    if (members.empty()) members = script_set(name);
    return Set{std::move(members), negated};
  }

  // One character, inside a class or outside.
  Status character_escape() {
    const char c = peek(1);
    if (c == 'v') {
      out_ += "\\x0B";
      at_ += 2;
      return ok_status();
    }
    if (c == 'x' || c == 'u') return hex_escape();
    const bool letter = std::isalnum(static_cast<unsigned char>(c));
    if (letter && std::string_view("nrtfae0").find(c) == std::string_view::npos)
      return unsupported(fmt::format("\\{}", c));
    if (static_cast<unsigned char>(c) < 0x80) return copy_escape(2);
    ++at_;
    copy_character();
    return ok_status();
  }

  Status hex_escape() {
    const bool braces = peek(1) == 'x' && peek(2) == '{';
    size_t i = at_ + 2 + braces;
    const size_t limit = braces ? 8 : peek(1) == 'u' ? 4 : 2;
    std::string digits;
    while (i < in_.size() && digits.size() < limit &&
           std::isxdigit(static_cast<unsigned char>(in_[i])))
      digits += in_[i++];
    const bool closed = !braces || (i < in_.size() && in_[i] == '}');
    if (digits.empty() || !closed || (peek(1) == 'u' && digits.size() != 4))
      return unsupported("an incomplete \\x or \\u");
    // \xHH is a raw byte of UTF-8 there, so above 7F it would be part of a character.
    if (!braces && peek(1) == 'x' && std::strtoul(digits.c_str(), nullptr, 16) > 0x7F)
      return unsupported("\\x above 7F without braces");
    at_ = i + braces;
    out_ += fmt::format("\\x{{{}}}", digits);
    return ok_status();
  }

  // PCRE2 has no "all but these" among the members of a class. [x\W] becomes (?:[x]|[^word]), and
  // [^x\W] a character at which that does not match.
  Status character_class() {
    atom_ = out_.size();
    ++at_;
    const bool negated = peek() == '^';
    at_ += negated;
    const size_t members = out_.size();
    complements_.clear();
    for (bool first = true;; first = false) {
      if (at_ >= in_.size()) return unsupported("an unclosed [");
      if (peek() == ']' && !first) break;
      // Behind a set a hyphen is itself: what the set was rewritten to must not become a range.
      if (peek() == '-' && after_set_) out_ += '\\';
      after_set_ = false;
      PLUMB_RETURN_IF_ERROR(class_member());
    }
    ++at_;
    after_set_ = false;
    const std::string inside = out_.substr(members);
    out_.resize(members);
    if (complements_.empty()) {
      out_ += fmt::format("[{}{}]", negated ? "^" : "", inside);
      return ok_status();
    }
    std::string choice = inside.empty() ? "" : fmt::format("[{}]", inside);
    for (const std::string& set : complements_)
      choice += fmt::format("{}[^{}]", choice.empty() ? "" : "|", set);
    out_ += negated ? fmt::format("(?:(?!{})(?s:.))", choice) : fmt::format("(?:{})", choice);
    return ok_status();
  }

  Status class_member() {
    if (starts("&&")) return unsupported("an intersection of sets (&&)");
    if (starts("[:")) return posix_class();
    if (peek() == '[') return unsupported("a set inside a set");
    if (peek() != '\\') {
      copy_character();
      return ok_status();
    }
    if (at_ + 1 >= in_.size()) return unsupported("an unclosed [");
    if (peek(1) == 'b') {
      out_ += "\\x08";
      at_ += 2;
      return ok_status();
    }
    PLUMB_ASSIGN(const Set set, set_escape());
    if (set.members.empty()) return character_escape();
    after_set_ = true;
    if (!set.negated)
      out_ += set.members;
    else if (set.members == kSpaces)
      out_ += "\\P{White_Space}";
    else
      complements_.push_back(set.members);
    return ok_status();
  }

  Status posix_class() {
    const size_t close = in_.find(":]", at_);
    if (close == std::string_view::npos) return unsupported("an unclosed [:");
    const std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
    const std::string members = named_set(name);
    if (members.empty()) return unsupported(fmt::format("the set {}", in_quotes(name)));
    out_ += members;
    after_set_ = true;
    at_ = close + 2;
    return ok_status();
  }

  std::string_view in_;
  std::string where_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;  // where in out_ the last repeatable item begins
  std::vector<size_t> groups_;
  // Of the class being read:
  bool after_set_ = false;                // its last member was a set
  std::vector<std::string> complements_;  // members that mean all but these
};

}  // namespace

Result<std::string> pcre2_from_oniguruma(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace plumb
