#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/tokenizer/component.h"
#include "core/tokenizer/unicode.h"

namespace plumb {

struct Regex::Code {
  pcre2_code* compiled = nullptr;
  ~Code() { pcre2_code_free(compiled); }
};

namespace {

constexpr size_t kMaxPattern = size_t{1} << 16;
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr size_t kMaxJitStack = size_t{16} << 20;

// What one thread needs to run any expression: PCRE2 keeps none of it in the compiled code.
struct Matcher {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(size_t{32} << 10, kMaxJitStack, nullptr);

  Matcher() {
    PLUMB_CHECK(data != nullptr && context != nullptr);
    pcre2_set_match_limit(context, kMatchLimit);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Matcher() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

std::string pcre2_message(int code) {
  unsigned char text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

// The first match at or after `start`: PCRE2's return code; offsets are in matcher.data.
int search(const pcre2_code* code, std::string_view text, size_t start, const Matcher& matcher) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto run = [&](uint32_t options) {
    return pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | options,
                       matcher.data, matcher.context);
  };
  const int result = run(0);
  return result == PCRE2_ERROR_JIT_STACKLIMIT ? run(PCRE2_NO_JIT) : result;
}

std::vector<Span> split_literal(std::string_view text, std::string_view needle) {
  std::vector<Span> spans;
  size_t done = 0;
  for (size_t at; (at = text.find(needle, done)) != std::string_view::npos;) {
    if (at > done) spans.push_back({done, at, false});
    done = at + needle.size();
    spans.push_back({at, done, true});
  }
  if (done < text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

}  // namespace

Result<Regex> Regex::compile(std::string_view oniguruma_pattern, const std::string& where) {
  if (oniguruma_pattern.size() > kMaxPattern)
    return input_error("{}: a regular expression of {} bytes, expected at most {}", where,
                       oniguruma_pattern.size(), kMaxPattern);
  PLUMB_ASSIGN(const std::string pattern, pcre2_from_oniguruma(oniguruma_pattern, where));
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  size_t offset = 0;
  auto code = std::make_shared<Code>();
  code->compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                 options, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code->compiled == nullptr)
    return input_error("{}: the regular expression {} does not compile: {}", where,
                       in_quotes(oniguruma_pattern), pcre2_message(error));
  // Without a JIT for this machine the interpreter does the same, slower.
  pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE);
  return Regex(std::move(code));
}

std::vector<Span> Regex::split(std::string_view text) const {
  static thread_local const Matcher matcher;
  std::vector<Span> spans;
  const size_t* offsets = pcre2_get_ovector_pointer(matcher.data);
  size_t done = 0;  // end of the last match
  bool matched_before = false;
  for (size_t start = 0; start <= text.size();) {
    const int result = search(code_->compiled, text, start, matcher);
    if (result < 0) {
      if (result != PCRE2_ERROR_NOMATCH)
        std::fprintf(stderr,
                     "plumb: a tokenizer's regular expression gave up at byte %zu of a text of %zu "
                     "bytes (%s); the rest is one pre-token\n",
                     start, text.size(), pcre2_message(result).c_str());
      break;
    }
    const size_t begin = offsets[0], end = offsets[1];
    // An empty match right behind the last match is no match: look one character further.
    if (begin == end && matched_before && begin == done) {
      start = begin + (begin < text.size() ? utf8_length(text[begin]) : 1);
      continue;
    }
    if (begin > done) spans.push_back({done, begin, false});
    spans.push_back({begin, end, true});
    start = done = std::max(done, end);
    matched_before = true;
  }
  if (done < text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

Regex builtin_regex(std::string_view oniguruma_pattern) {
  auto regex = Regex::compile(oniguruma_pattern, "built-in");
  PLUMB_CHECK(regex.ok());
  return std::move(regex).value();
}

Result<Pattern> parse_pattern(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where + " pattern", {"String", "Regex"}));
  if (json.size() != 1)
    return input_error("{}: the pattern has {} fields, expected a String or a Regex", where,
                       json.size());
  const bool literal = json.contains("String");
  PLUMB_ASSIGN(std::string text, required_text(json, where, literal ? "String" : "Regex"));
  if (text.empty()) return input_error("{}: the pattern is empty", where);
  if (literal)
    return Pattern([needle = std::move(text)](std::string_view subject) {
      return split_literal(subject, needle);
    });
  PLUMB_ASSIGN(Regex regex, Regex::compile(text, where));
  return Pattern([regex](std::string_view subject) { return regex.split(subject); });
}

}  // namespace plumb
