#include "core/tokenizer/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/tokenizer/component.h"
#include "core/tokenizer/regex.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

constexpr size_t kMaxAdded = size_t{1} << 20;
constexpr int64_t kMaxId = (int64_t{1} << 22) - 1;

Result<AddedToken> parse_token(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(
      json, where, {"id", "content", "special", "normalized", "single_word", "lstrip", "rstrip"}));
  AddedToken token;
  PLUMB_ASSIGN(const auto id, JsonFields(json, where).integer("id", 0, kMaxId));
  if (!id) return input_error("{}: field \"id\" is missing", where);
  token.id = static_cast<TokenId>(*id);
  PLUMB_ASSIGN(token.content, required_text(json, where, "content"));
  PLUMB_ASSIGN(token.special, flag_or(json, where, "special", false));
  PLUMB_ASSIGN(token.normalized, flag_or(json, where, "normalized", !token.special));
  PLUMB_ASSIGN(token.single_word, flag_or(json, where, "single_word", false));
  PLUMB_ASSIGN(token.lstrip, flag_or(json, where, "lstrip", false));
  PLUMB_ASSIGN(token.rstrip, flag_or(json, where, "rstrip", false));
  return token;
}

bool is_space_at(std::string_view text, size_t pos) {
  return u_isUWhiteSpace(static_cast<UChar32>(next_code_point(text, pos)));
}

size_t previous_character(std::string_view text, size_t pos) {
  do --pos;
  while (pos > 0 && (text[pos] & 0xC0) == 0x80);
  return pos;
}

bool is_word_at(std::string_view text, size_t pos) {
  static const Regex word = builtin_regex(R"([[:alpha:]\p{M}\p{Nd}\p{Pc}\u200C\u200D])");
  return word.split(text.substr(pos, utf8_length(text[pos])))[0].is_match;
}

Piece slice(const Piece& piece, size_t begin, size_t end) {
  return {piece.text.substr(begin, end - begin), piece.at_start && begin == 0};
}

}  // namespace

void StringMatcher::add(std::string_view text, TokenId id) {
  PLUMB_CHECK(!text.empty());
  starts_[static_cast<uint8_t>(text[0])] = true;
  uint32_t node = 0;
  for (const char c : text) {
    const auto fresh = static_cast<uint32_t>(nodes_.size());
    const auto [next, created] = nodes_[node].next.emplace(c, fresh);
    node = next->second;
    if (created) nodes_.emplace_back();
  }
  nodes_[node].id = id;
}

std::optional<StringMatcher::Match> StringMatcher::match_at(std::string_view text,
                                                            size_t begin) const {
  std::optional<Match> longest;
  uint32_t node = 0;
  for (size_t end = begin; end < text.size();) {
    const auto next = nodes_[node].next.find(text[end]);
    if (next == nodes_[node].next.end()) break;
    node = next->second;
    ++end;
    if (nodes_[node].id >= 0) longest = Match{begin, end, nodes_[node].id};
  }
  return longest;
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<uint8_t>(text[begin])]) continue;
    if (const auto match = match_at(text, begin)) return match;
  }
  return std::nullopt;
}

Result<AddedTokens> AddedTokens::parse(const Json& json, const std::string& where,
                                       const std::vector<NormalizeStep>& normalize) {
  if (!json.is_array()) return input_error("{}: is {}, expected a list", where, json.type_name());
  if (json.size() > kMaxAdded)
    return input_error("{}: {} tokens, expected at most {}", where, json.size(), kMaxAdded);
  AddedTokens added;
  for (const Json& element : json) {
    PLUMB_ASSIGN(AddedToken token,
                 parse_token(element, fmt::format("{}[{}]", where, added.tokens_.size())));
    if (token.content.empty()) continue;  // as published: an empty token never matches
    Piece form{token.content};
    if (token.normalized)
      for (const auto& step : normalize) step(form);
    if (!added.index_of_id_.emplace(token.id, added.tokens_.size()).second)
      return input_error("{}: the id {} occurs twice", where, token.id);
    if (!form.text.empty())
      (token.normalized ? added.normalized_ : added.plain_).add(form.text, token.id);
    added.forms_.push_back(std::move(form.text));
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto found = index_of_id_.find(id);
  return found == index_of_id_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::stands_alone(std::string_view text, size_t begin, size_t end) const {
  if (begin > 0 && is_word_at(text, previous_character(text, begin))) return false;
  return end == text.size() || !is_word_at(text, end);
}

void AddedTokens::extract(const Piece& piece, bool normalized, bool specials,
                          std::vector<Piece>& out) const {
  const StringMatcher& matcher = normalized ? normalized_ : plain_;
  const std::string& text = piece.text;
  size_t done = 0;  // everything before is in `out`
  for (size_t from = 0; from < text.size();) {
    if (matcher.empty()) break;
    const auto match = matcher.find(text, from);
    if (!match) break;
    from = match->end;
    const AddedToken& token = *find(match->id);
    if (token.special && !specials) continue;
    if (token.single_word && !stands_alone(text, match->begin, match->end)) continue;
    size_t begin = match->begin, end = match->end;
    while (token.lstrip && begin > done && is_space_at(text, previous_character(text, begin)))
      begin = previous_character(text, begin);
    while (token.rstrip && end < text.size() && is_space_at(text, end))
      end += utf8_length(text[end]);
    // What the token before took along on its right cannot be taken again.
    begin = std::max(begin, done);
    if (begin > done) out.push_back(slice(piece, done, begin));
    out.push_back({text.substr(begin, end > begin ? end - begin : 0), false, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back(slice(piece, done, text.size()));
}

}  // namespace plumb
