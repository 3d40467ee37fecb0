#include "core/tokenizer/pretokenize.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/tokenizer/component.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

// What becomes of the matches ("delimiters") of "the-final--countdown" cut at "-":
enum class Behavior {
  kRemoved,             // the final countdown
  kIsolated,            // the - final - - countdown
  kMergedWithPrevious,  // the- final- - countdown
  kMergedWithNext,      // the -final - -countdown
  kContiguous,          // the - final -- countdown
};

constexpr std::pair<std::string_view, Behavior> kBehaviors[] = {
    {"Removed", Behavior::kRemoved},
    {"Isolated", Behavior::kIsolated},
    {"MergedWithPrevious", Behavior::kMergedWithPrevious},
    {"MergedWithNext", Behavior::kMergedWithNext},
    {"Contiguous", Behavior::kContiguous},
};

Result<Behavior> parse_behavior(const std::string& name, const std::string& where) {
  std::string known;
  for (const auto& [text, behavior] : kBehaviors) {
    if (text == name) return behavior;
    known += fmt::format(" {}", text);
  }
  return input_error("{}: behavior {}, expected one of{}", where, in_quotes(name), known);
}

// Joins neighbours; `spans` are in order and without gaps.
std::vector<Span> join_spans(const std::vector<Span>& spans, Behavior behavior) {
  std::vector<Span> joined;
  bool previous_match = false;
  for (const Span& span : spans) {
    const bool join = behavior == Behavior::kContiguous ? span.is_match == previous_match
                                                        : span.is_match && !previous_match;
    if (join && !joined.empty())
      joined.back().end = span.end;
    else
      joined.push_back(span);
    previous_match = span.is_match;
  }
  return joined;
}

// The same, where a match joins what follows: decided from the right.
std::vector<Span> join_with_next(const std::vector<Span>& spans) {
  std::vector<Span> joined;
  bool next_match = false;
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    if (span->is_match && !next_match && !joined.empty())
      joined.back().begin = span->begin;
    else
      joined.push_back(*span);
    next_match = span->is_match;
  }
  std::reverse(joined.begin(), joined.end());
  return joined;
}

std::vector<Span> apply_behavior(std::vector<Span> spans, Behavior behavior) {
  switch (behavior) {
    case Behavior::kRemoved:
      std::erase_if(spans, [](const Span& span) { return span.is_match; });
      return spans;
    case Behavior::kIsolated:
      return spans;
    case Behavior::kMergedWithNext:
      return join_with_next(spans);
    case Behavior::kMergedWithPrevious:
    case Behavior::kContiguous:
      return join_spans(spans, behavior);
  }
  return spans;
}

// Cuts every piece of text; empty pieces vanish.
void split_pieces(std::vector<Piece>& pieces, const Pattern& pattern, Behavior behavior,
                  bool invert) {
  std::vector<Piece> cut;
  cut.reserve(pieces.size());
  for (Piece& piece : pieces) {
    if (piece.token >= 0) {
      cut.push_back(std::move(piece));
      continue;
    }
    std::vector<Span> spans = pattern(piece.text);
    if (invert)
      for (Span& span : spans) span.is_match = !span.is_match;
    for (const Span& span : apply_behavior(std::move(spans), behavior))
      if (span.end > span.begin)
        cut.push_back({piece.text.substr(span.begin, span.end - span.begin),
                       piece.at_start && span.begin == 0});
  }
  pieces = std::move(cut);
}

PreTokenizeStep split_step(Pattern pattern, Behavior behavior, bool invert = false) {
  return [pattern = std::move(pattern), behavior, invert](std::vector<Piece>& pieces) {
    split_pieces(pieces, pattern, behavior, invert);
  };
}

Pattern builtin_pattern(std::string_view expression) {
  return [regex = builtin_regex(expression)](std::string_view text) { return regex.split(text); };
}

Result<PreTokenizeStep> parse_split(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "pattern", "behavior", "invert"}));
  if (!json.contains("pattern")) return input_error("{}: field \"pattern\" is missing", where);
  PLUMB_ASSIGN(Pattern pattern, parse_pattern(json["pattern"], where));
  PLUMB_ASSIGN(const std::string name, required_text(json, where, "behavior"));
  PLUMB_ASSIGN(const Behavior behavior, parse_behavior(name, where));
  PLUMB_ASSIGN(const bool invert, flag_or(json, where, "invert", false));
  return split_step(std::move(pattern), behavior, invert);
}

// GPT-2's cut, without its special characters: contractions, words, numbers, other marks, each
// with a space in front, then spaces.
constexpr std::string_view kGpt2Split =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Result<PreTokenizeStep> parse_byte_level(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(
      check_keys(json, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  PLUMB_ASSIGN(const bool prefix, flag_or(json, where, "add_prefix_space", true));
  PLUMB_ASSIGN(const bool use_regex, flag_or(json, where, "use_regex", true));
  const Pattern pattern = use_regex ? builtin_pattern(kGpt2Split) : nullptr;
  return PreTokenizeStep([prefix, pattern](std::vector<Piece>& pieces) {
    if (prefix)
      for (Piece& piece : pieces)
        if (piece.token < 0 && !piece.text.starts_with(' ')) piece.text.insert(0, " ");
    if (pattern) split_pieces(pieces, pattern, Behavior::kIsolated, false);
    for (Piece& piece : pieces)
      if (piece.token < 0) piece.text = to_byte_letters(piece.text);
  });
}

enum class Prepend { kAlways, kFirst, kNever };

// Older files say add_prefix_space where newer ones say prepend_scheme.
Result<Prepend> parse_prepend_scheme(const Json& json, const std::string& where) {
  const JsonFields fields(json, where);
  PLUMB_ASSIGN(const auto scheme, fields.text("prepend_scheme"));
  PLUMB_ASSIGN(const auto prefix, fields.boolean("add_prefix_space"));
  const std::string name = scheme.value_or(prefix.value_or(true) ? "always" : "never");
  if (name == "never") return Prepend::kNever;
  if (prefix.has_value() && !*prefix)
    return input_error("{}: add_prefix_space is false, but prepend_scheme is {}", where,
                       in_quotes(name));
  if (name == "always") return Prepend::kAlways;
  if (name == "first") return Prepend::kFirst;
  return input_error("{}: prepend_scheme {}, expected always, first or never", where,
                     in_quotes(name));
}

Result<PreTokenizeStep> parse_metaspace(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(
      json, where,
      {"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"}));
  PLUMB_ASSIGN(const std::string mark, required_text(json, where, "replacement"));
  if (mark.empty() || utf8_length(mark[0]) != mark.size())
    return input_error("{}: replacement is {}, expected one character", where, in_quotes(mark));
  PLUMB_ASSIGN(const Prepend prepend, parse_prepend_scheme(json, where));
  PLUMB_ASSIGN(const bool split, flag_or(json, where, "split", true));
  PLUMB_ASSIGN(const Pattern pattern, parse_pattern(Json{{"String", mark}}, where));
  return PreTokenizeStep([=](std::vector<Piece>& pieces) {
    for (Piece& piece : pieces) {
      if (piece.token >= 0) continue;
      std::string text;
      for (const char c : piece.text)
        if (c == ' ')
          text += mark;
        else
          text += c;
      const bool wanted =
          prepend == Prepend::kAlways || (prepend == Prepend::kFirst && piece.at_start);
      if (wanted && !text.starts_with(mark)) text.insert(0, mark);
      piece.text = std::move(text);
    }
    if (split) split_pieces(pieces, pattern, Behavior::kMergedWithNext, false);
  });
}

// Rust's \w, which this type is defined by, has the zero-width joiners besides.
Result<PreTokenizeStep> parse_whitespace(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type"}));
  static constexpr std::string_view kWords =
      R"([[:alpha:]\p{M}\p{Nd}\p{Pc}\u200C\u200D]+|[^[:alpha:]\p{M}\p{Nd}\p{Pc}\u200C\u200D\s]+)";
  return split_step(builtin_pattern(kWords), Behavior::kRemoved, true);
}

Result<PreTokenizeStep> parse_whitespace_split(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type"}));
  return split_step(builtin_pattern(R"(\s)"), Behavior::kRemoved);
}

Result<PreTokenizeStep> parse_digits(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "individual_digits"}));
  PLUMB_ASSIGN(const bool individual, flag_or(json, where, "individual_digits", false));
  return split_step(builtin_pattern(R"(\p{N})"),
                    individual ? Behavior::kIsolated : Behavior::kContiguous);
}

Result<PreTokenizeStep> parse_punctuation(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "behavior"}));
  PLUMB_ASSIGN(const auto name, JsonFields(json, where).text("behavior"));
  PLUMB_ASSIGN(const Behavior behavior, parse_behavior(name.value_or("Isolated"), where));
  return split_step(builtin_pattern(R"([\p{P}!-/:-@\[-`{-~])"), behavior);
}

constexpr ComponentRow<PreTokenizeStep> kPreTokenizers[] = {
    {"Split", parse_split},
    {"ByteLevel", parse_byte_level},
    {"Metaspace", parse_metaspace},
    {"Whitespace", parse_whitespace},
    {"WhitespaceSplit", parse_whitespace_split},
    {"Digits", parse_digits},
    {"Punctuation", parse_punctuation},
};

}  // namespace

Status parse_pre_tokenizer(const Json& json, const std::string& where,
                           std::vector<PreTokenizeStep>& steps) {
  return parse_steps<PreTokenizeStep>(json, where, "pretokenizers", kPreTokenizers, steps);
}

}  // namespace plumb
