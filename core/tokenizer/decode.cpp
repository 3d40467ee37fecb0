#include "core/tokenizer/decode.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/tokenizer/component.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::string unchanged(std::string token) { return token; }

// A step that treats every token alone, and the same way amid others.
DecodeStep each_token(std::function<std::string(std::string)> rewrite) {
  return {[rewrite](std::vector<std::string>& tokens) {
            for (std::string& token : tokens) token = rewrite(std::move(token));
          },
          rewrite};
}

// A token with a character outside the byte alphabet (an added one) stands for its own UTF-8.
std::string bytes_of_letters(std::string token) {
  if (auto bytes = from_byte_letters(token)) return std::move(*bytes);
  return token;
}

Result<DecodeStep> parse_byte_level(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(
      check_keys(json, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  return DecodeStep{[](std::vector<std::string>& tokens) {
                      std::string bytes;
                      for (std::string& token : tokens) bytes += bytes_of_letters(std::move(token));
                      tokens = {repair_utf8(bytes)};
                    },
                    bytes_of_letters};
}

Result<DecodeStep> parse_replace(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "pattern", "content"}));
  PLUMB_ASSIGN(const std::string content, required_text(json, where, "content"));
  if (!json.contains("pattern")) return input_error("{}: field \"pattern\" is missing", where);
  PLUMB_ASSIGN(const Pattern pattern, parse_pattern(json["pattern"], where));
  return each_token([content, pattern](const std::string& token) {
    std::string out;
    for (const Span& span : pattern(token))
      out += span.is_match ? content : token.substr(span.begin, span.end - span.begin);
    return out;
  });
}

// "<0xE9>" is the byte E9.
std::optional<char> byte_token(const std::string& token) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  if (digit(token[3]) < 0 || digit(token[4]) < 0) return std::nullopt;
  return static_cast<char>(digit(token[3]) * 16 + digit(token[4]));
}

// A run of byte tokens becomes its text, or, when it is not UTF-8, one U+FFFD a byte.
void fall_back_to_bytes(std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (is_valid_utf8(bytes))
      out.push_back(bytes);
    else
      out.insert(out.end(), bytes.size(), std::string(kReplacement));
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_token(token)) {
      bytes += *byte;
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  tokens = std::move(out);
}

Result<DecodeStep> parse_byte_fallback(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type"}));
  return DecodeStep{fall_back_to_bytes, [](std::string token) {
                      const auto byte = byte_token(token);
                      return byte ? std::string(1, *byte) : token;
                    }};
}

Result<DecodeStep> parse_fuse(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type"}));
  return DecodeStep{[](std::vector<std::string>& tokens) {
                      std::string text;
                      for (const std::string& token : tokens) text += token;
                      tokens = {std::move(text)};
                    },
                    unchanged};
}

Result<DecodeStep> parse_strip(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "content", "start", "stop"}));
  PLUMB_ASSIGN(const std::string content, required_text(json, where, "content"));
  if (content.empty()) return input_error("{}: field \"content\" is empty", where);
  const JsonFields fields(json, where);
  PLUMB_ASSIGN(const auto start, fields.integer("start", 0, 1 << 20));
  PLUMB_ASSIGN(const auto stop, fields.integer("stop", 0, 1 << 20));
  const int64_t from_front = start.value_or(0), from_back = stop.value_or(0);
  const auto strip = [content, from_front, from_back](std::vector<std::string>& tokens) {
    for (std::string& token : tokens) {
      std::string_view left = token;
      for (int64_t i = 0; i < from_front && left.starts_with(content); ++i)
        left.remove_prefix(content.size());
      for (int64_t i = 0; i < from_back && left.ends_with(content); ++i)
        left.remove_suffix(content.size());
      token = std::string(left);
    }
  };
  return DecodeStep{strip, unchanged};
}

// The mark becomes a space, but vanishes from the first token, where it was put in front.
Result<DecodeStep> parse_metaspace(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(
      json, where,
      {"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"}));
  PLUMB_ASSIGN(const std::string mark, required_text(json, where, "replacement"));
  const JsonFields fields(json, where);
  PLUMB_ASSIGN(const auto scheme, fields.text("prepend_scheme"));
  PLUMB_ASSIGN(const bool prefix, flag_or(json, where, "add_prefix_space", true));
  const bool prepended = scheme.value_or(prefix ? "always" : "never") != "never";
  PLUMB_ASSIGN(const Pattern pattern, parse_pattern(Json{{"String", mark}}, where));
  const auto rewrite = [pattern](const std::string& token, std::string_view with) {
    std::string out;
    for (const Span& span : pattern(token))
      out +=
          span.is_match ? with : std::string_view(token).substr(span.begin, span.end - span.begin);
    return out;
  };
  return DecodeStep{[rewrite, prepended](std::vector<std::string>& tokens) {
                      for (size_t i = 0; i < tokens.size(); ++i)
                        tokens[i] = rewrite(tokens[i], i == 0 && prepended ? "" : " ");
                    },
                    [rewrite](const std::string& token) { return rewrite(token, " "); }};
}

constexpr ComponentRow<DecodeStep> kDecoders[] = {
    {"ByteLevel", parse_byte_level},
    {"Replace", parse_replace},
    {"ByteFallback", parse_byte_fallback},
    {"Fuse", parse_fuse},
    {"Strip", parse_strip},
    {"Metaspace", parse_metaspace},
};

}  // namespace

Status parse_decoder(const Json& json, const std::string& where, std::vector<DecodeStep>& steps) {
  return parse_steps<DecodeStep>(json, where, "decoders", kDecoders, steps);
}

}  // namespace plumb
