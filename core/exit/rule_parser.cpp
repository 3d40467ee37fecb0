// Rule::parse: recursive descent over one line of text. The grammar is in rule.h.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "core/exit/rule.h"

namespace plumb {
namespace {

constexpr size_t kMaxText = 4096;
constexpr int kMaxNesting = 32;
constexpr int kMaxCount = 1'000'000;  // of steps, patience, ...

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_delimiter(char c) {
  return std::string_view("&|()<>=@/,").find(c) != std::string_view::npos;
}

// Foreign text inside our sentence: one line, printable, not too long.
std::string quoted(std::string_view text) {
  constexpr size_t kShown = 80;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > kShown ? "...'" : "'");
}

}  // namespace

class RuleParser {
 public:
  explicit RuleParser(std::string_view text) : text_(text) { rule_.nodes_.clear(); }

  Result<Rule> parse() {
    if (text_.size() > kMaxText) {
      return fail(fmt::format("has {} characters, at most {} are allowed", text_.size(), kMaxText));
    }
    if (at_end()) return fail(fmt::format("is empty; write for example kl<5e-4; {}", known()));
    PLUMB_ASSIGN(const int root, parse_any(0));
    static_cast<void>(root);
    if (take('@')) PLUMB_RETURN_IF_ERROR(parse_modifiers());
    if (!at_end()) return fail_here("expected '&', '|', '@' or the end");
    if (rule_.max_steps_ > 0 && rule_.max_steps_ <= rule_.min_steps_) {
      note("min={} and max={} leave no step to check", rule_.min_steps_, rule_.max_steps_);
    }
    return std::move(rule_);
  }

 private:
  using Node = Rule::Node;
  using Kind = Rule::Kind;

  // -- text ------------------------------------------------------------------------------------
  void skip_spaces() {
    while (next_ < text_.size() && is_space(text_[next_])) ++next_;
  }
  bool at_end() {
    skip_spaces();
    return next_ == text_.size();
  }
  bool take(char c) {
    if (at_end() || text_[next_] != c) return false;
    ++next_;
    return true;
  }
  // A name or a number: up to a space or a delimiter. Empty when one stands right here.
  std::string_view take_word() {
    skip_spaces();
    const size_t begin = next_;
    while (next_ < text_.size() && !is_space(text_[next_]) && !is_delimiter(text_[next_])) ++next_;
    return text_.substr(begin, next_ - begin);
  }
  std::optional<Comparator> take_comparator() {
    if (take('<')) return take_now('=') ? Comparator::kLessEqual : Comparator::kLess;
    if (take('>')) return take_now('=') ? Comparator::kGreaterEqual : Comparator::kGreater;
    if (take('=')) return Comparator::kEqual;
    return std::nullopt;
  }
  bool take_now(char c) { return next_ < text_.size() && text_[next_] == c && take(c); }

  // -- sentences -------------------------------------------------------------------------------
  Error fail(const std::string& what) const {
    return input_error("rule {} {}", quoted(text_), what);
  }
  Error fail_here(std::string_view expected) {
    const bool end = at_end();
    const std::string found = end ? "the end" : quoted(text_.substr(next_, 20));
    return fail(fmt::format("has {} at column {}, {}", found, next_ + 1, expected));
  }
  static std::string known() { return fmt::format("known scalars are {}, none", scalar_names()); }
  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    rule_.notes_.push_back(fmt::format("rule {}: {}", quoted(text_),
                                       fmt::format(format, std::forward<Args>(args)...)));
  }

  // -- grammar ---------------------------------------------------------------------------------
  int push(Node node) {
    rule_.nodes_.push_back(std::move(node));
    return static_cast<int>(rule_.nodes_.size()) - 1;
  }

  // One or more parts joined by `joint`; `a & (b & c)` is the same list as `a & b & c`.
  template <class ParsePart>
  Result<int> parse_list(char joint, Kind kind, const ParsePart& parse_part) {
    Node list{.kind = kind};
    int part = 0, n_parts = 0;
    do {
      PLUMB_ASSIGN(part, parse_part());
      ++n_parts;
      const Node& node = rule_.nodes_[static_cast<size_t>(part)];
      if (node.kind == kind) {
        list.children.insert(list.children.end(), node.children.begin(), node.children.end());
      } else {
        list.children.push_back(part);
      }
    } while (take(joint));
    // A list of one is its part, which is the node pushed last.
    if (n_parts == 1) return part;
    return push(std::move(list));
  }
  Result<int> parse_any(int nesting) {
    return parse_list('|', Kind::kOr, [&] { return parse_all(nesting); });
  }
  Result<int> parse_all(int nesting) {
    return parse_list('&', Kind::kAnd, [&] { return parse_one(nesting); });
  }

  Result<int> parse_one(int nesting) {
    if (take('(')) {
      if (nesting == kMaxNesting) {
        return fail(fmt::format("nests parentheses deeper than {}", kMaxNesting));
      }
      PLUMB_ASSIGN(const int inner, parse_any(nesting + 1));
      if (!take(')')) return fail_here("expected ')'");
      return inner;
    }
    const std::string_view name = take_word();
    if (name.empty()) return fail_here(fmt::format("expected a scalar; {}", known()));
    if (name == "none") return push({.kind = Kind::kNone});
    const Scalar* scalar = find_scalar(name);
    if (scalar == nullptr) {
      return fail(fmt::format("names the unknown scalar {}; {}", quoted(name), known()));
    }
    return parse_comparison(*scalar);
  }

  Result<int> parse_comparison(const Scalar& scalar) {
    const std::optional<Comparator> given = take_comparator();
    if (!given) {
      if (std::isnan(scalar.default_threshold)) {
        return fail(fmt::format("needs a number after {}, which has no default: {}{}...",
                                scalar.name, scalar.name, comparator_text(scalar.direction)));
      }
      return push({.kind = Kind::kCompare,
                   .scalar = &scalar,
                   .comparator = scalar.direction,
                   .threshold = scalar.default_threshold});
    }
    const bool depth = scalar.name == "fixed" &&
                       (*given == Comparator::kEqual || *given == Comparator::kGreaterEqual);
    if (depth) return parse_pattern(scalar, *given == Comparator::kEqual);
    PLUMB_ASSIGN(const double threshold, parse_number(scalar.name));
    note_direction(scalar, *given);
    return push(
        {.kind = Kind::kCompare, .scalar = &scalar, .comparator = *given, .threshold = threshold});
  }

  Result<int> parse_pattern(const Scalar& fixed, bool may_cycle) {
    Node node{.kind = Kind::kPattern, .scalar = &fixed};
    do {
      PLUMB_ASSIGN(const int depth, parse_count("fixed", 1));
      node.pattern.push_back(depth);
    } while (may_cycle && take('/'));
    return push(std::move(node));
  }

  Result<double> parse_number(std::string_view after) {
    const std::string_view word = take_word();
    if (word.empty()) return fail_here(fmt::format("expected a number for {}", after));
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(value)) {
      return fail(fmt::format("has {} where {} expects a finite number", quoted(word), after));
    }
    return value;
  }

  Result<int> parse_count(std::string_view what, int min) {
    const std::string_view word = take_word();
    int value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (word.empty() || error != std::errc() || end != word.data() + word.size() || value < min ||
        value > kMaxCount) {
      return fail(fmt::format("has {} for {}, expected a whole number from {} to {}", quoted(word),
                              what, min, kMaxCount));
    }
    return value;
  }

  void note_direction(const Scalar& scalar, Comparator given) {
    const bool usual_less =
        scalar.direction == Comparator::kLess || scalar.direction == Comparator::kLessEqual;
    const bool given_less = given == Comparator::kLess || given == Comparator::kLessEqual;
    if (given == Comparator::kEqual) {
      note("{}=... fires on exact equality only", scalar.name);
    } else if (usual_less != given_less) {
      note("{} is usually compared with {}, here with {}", scalar.name,
           comparator_text(scalar.direction), comparator_text(given));
    }
  }

  Status parse_modifiers() {
    std::vector<std::string_view> seen;
    do {
      const std::string_view name = take_word();
      for (const std::string_view earlier : seen) {
        if (earlier == name) return fail(fmt::format("gives the modifier {} twice", quoted(name)));
      }
      seen.push_back(name);
      PLUMB_RETURN_IF_ERROR(parse_modifier(name));
    } while (take(','));
    return ok_status();
  }

  Status parse_modifier(std::string_view name) {
    const std::pair<std::string_view, int*> counts[] = {{"min", &rule_.min_steps_},
                                                        {"max", &rule_.max_steps_},
                                                        {"patience", &rule_.patience_},
                                                        {"every", &rule_.check_every_}};
    int* count = nullptr;
    for (const auto& [known_name, target] : counts) {
      if (known_name == name) count = target;
    }
    if (count == nullptr && name != "phase") {
      return fail(fmt::format("has the modifier {}; known are min, max, patience, every, phase",
                              quoted(name)));
    }
    if (!take('=')) return fail_here(fmt::format("expected '=' after the modifier {}", name));
    if (count == nullptr) return parse_phase();
    PLUMB_ASSIGN(*count, parse_count(name, name == "min" ? 0 : 1));
    return ok_status();
  }

  Status parse_phase() {
    const std::string_view word = take_word();
    if (word == "both") {
      rule_.phase_ = Phase::kBoth;
    } else if (word == "decode") {
      rule_.phase_ = Phase::kDecode;
    } else if (word == "prefill") {
      rule_.phase_ = Phase::kPrefill;
    } else {
      return fail(fmt::format("has phase={}, expected decode, prefill or both", quoted(word)));
    }
    return ok_status();
  }

  std::string_view text_;
  size_t next_ = 0;
  Rule rule_;
};

Result<Rule> Rule::parse(std::string_view text) { return RuleParser(text).parse(); }

}  // namespace plumb
