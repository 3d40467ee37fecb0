// Regex: the regular expressions of tokenizer files, written for Oniguruma, run by PCRE2.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"

namespace plumb {

// A stretch of text, byte offsets [begin, end).
struct Span {
  size_t begin, end;
  bool is_match;
};

// Rewrites an Oniguruma pattern (Ruby syntax, as the `tokenizers` package runs it) so that PCRE2
// with UTF, UCP and MULTILINE matches the same text: \s, \w, \b, \d and \h by Unicode property,
// [[:name:]] classes, \uHHHH, (?m), {,n}, and "{n,m}+" as a repeat of a repeat. Characters assigned
// by Unicode 15 and 16 are added to the general categories where PCRE2's tables may lack them.
// What cannot be carried over (nested sets, &&, absent groups) is an error.
Result<std::string> pcre2_from_oniguruma(std::string_view pattern, const std::string& where);

class Regex {
 public:
  static Result<Regex> compile(std::string_view oniguruma_pattern, const std::string& where);

  // Cuts `text` into matches and what stands between them, in order, without gaps. Safe to call
  // from several threads. A match that needs more than ten million steps is given up: the rest of
  // the text is one unmatched span, and stderr says so. REQUIRES `text` is valid UTF-8.
  std::vector<Span> split(std::string_view text) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

// For patterns that are part of the program: one that does not compile is our mistake.
Regex builtin_regex(std::string_view oniguruma_pattern);

// {"String": "..."} or {"Regex": "..."}, the way tokenizer files write what to look for.
using Pattern = std::function<std::vector<Span>(std::string_view)>;
Result<Pattern> parse_pattern(const Json& json, const std::string& where);

}  // namespace plumb
