// Normalizers (declared in pretokenize.h).
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/tokenizer/component.h"
#include "core/tokenizer/pretokenize.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

Result<NormalizeStep> parse_prepend(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "prepend"}));
  PLUMB_ASSIGN(const std::string prefix, required_text(json, where, "prepend"));
  return NormalizeStep([prefix](Piece& piece) {
    if (!piece.text.empty()) piece.text.insert(0, prefix);
  });
}

Result<NormalizeStep> parse_replace(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "pattern", "content"}));
  PLUMB_ASSIGN(const std::string content, required_text(json, where, "content"));
  if (!json.contains("pattern")) return input_error("{}: field \"pattern\" is missing", where);
  PLUMB_ASSIGN(const Pattern pattern, parse_pattern(json["pattern"], where));
  return NormalizeStep([content, pattern](Piece& piece) {
    std::string out;
    for (const Span& span : pattern(piece.text)) {
      if (span.is_match)
        out += content;
      else
        out.append(piece.text, span.begin, span.end - span.begin);
      // The text then begins with a later character, or with one that stands for several.
      if (span.is_match && span.begin == 0 && span.end > 0 &&
          (content.empty() || span.end > utf8_length(piece.text[0])))
        piece.at_start = false;
    }
    piece.text = std::move(out);
  });
}

template <const icu::Normalizer2* (*instance)(UErrorCode&)>
Result<NormalizeStep> parse_unicode_form(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type"}));
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* form = instance(status);
  if (U_FAILURE(status))
    return work_error("{}: ICU has no data for this form: {}", where, u_errorName(status));
  return NormalizeStep([form](Piece& piece) {
    UErrorCode failed = U_ZERO_ERROR;
    const icu::UnicodeString source = icu::UnicodeString::fromUTF8(piece.text);
    const icu::UnicodeString normal = form->normalize(source, failed);
    PLUMB_CHECK(U_SUCCESS(failed));  // only memory or a text of 2^31 characters can fail
    piece.text.clear();
    normal.toUTF8String(piece.text);
  });
}

// Character by character, so without the rules for a sigma at the end of a word.
Result<NormalizeStep> parse_lowercase(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type"}));
  return NormalizeStep([](Piece& piece) {
    std::string out;
    for (size_t pos = 0; pos < piece.text.size();) {
      const char32_t c = next_code_point(piece.text, pos);
      append_utf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))), out);
      if (c == 0x130) append_utf8(0x307, out);  // the one character that becomes two
    }
    piece.text = std::move(out);
  });
}

Result<NormalizeStep> parse_strip(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "strip_left", "strip_right"}));
  PLUMB_ASSIGN(const bool left, flag_or(json, where, "strip_left", true));
  PLUMB_ASSIGN(const bool right, flag_or(json, where, "strip_right", true));
  return NormalizeStep([left, right](Piece& piece) {
    size_t begin = piece.text.size(), end = 0;  // of what is not white space
    for (size_t pos = 0; pos < piece.text.size();) {
      const size_t from = pos;
      if (u_isUWhiteSpace(static_cast<UChar32>(next_code_point(piece.text, pos)))) continue;
      begin = std::min(begin, from);
      end = pos;
    }
    if (right) piece.text.resize(end);
    begin = std::min(begin, piece.text.size());
    if (left && begin > 0) {
      piece.text.erase(0, begin);
      piece.at_start = false;
    }
  });
}

constexpr ComponentRow<NormalizeStep> kNormalizers[] = {
    {"Prepend", parse_prepend},
    {"Replace", parse_replace},
    {"NFC", parse_unicode_form<icu::Normalizer2::getNFCInstance>},
    {"NFD", parse_unicode_form<icu::Normalizer2::getNFDInstance>},
    {"NFKC", parse_unicode_form<icu::Normalizer2::getNFKCInstance>},
    {"NFKD", parse_unicode_form<icu::Normalizer2::getNFKDInstance>},
    {"Lowercase", parse_lowercase},
    {"Strip", parse_strip},
};

}  // namespace

Status parse_normalizer(const Json& json, const std::string& where,
                        std::vector<NormalizeStep>& steps) {
  return parse_steps<NormalizeStep>(json, where, "normalizers", kNormalizers, steps);
}

}  // namespace plumb
