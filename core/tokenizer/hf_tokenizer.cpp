#include "core/tokenizer/hf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/tokenizer/component.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

// Pre-tokens repeat: each is merged once a call. Long ones are rare, and caching stops when the
// text turns out not to repeat.
constexpr size_t kMaxCachedBytes = 128;
constexpr size_t kMaxCachedPieces = size_t{1} << 17;

class PieceCache {
 public:
  explicit PieceCache(const BpeModel& model) : model_(model) {}

  void append(const std::string& text, std::vector<TokenId>& ids) {
    if (text.size() > kMaxCachedBytes) return model_.encode(text, ids);
    const auto found = places_.find(text);
    if (found == places_.end()) {
      const size_t begin = ids.size();
      model_.encode(text, ids);
      if (places_.size() < kMaxCachedPieces)
        places_.emplace(text, Place{begin, ids.size() - begin});
      return;
    }
    const auto [begin, count] = found->second;
    ids.resize(ids.size() + count);
    std::copy_n(ids.begin() + static_cast<ptrdiff_t>(begin), count,
                ids.end() - static_cast<ptrdiff_t>(count));
  }

 private:
  struct Place {
    size_t begin, count;  // where in the call's ids this piece stands already
  };
  const BpeModel& model_;
  std::unordered_map<std::string, Place> places_;
};

const Json* present(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

// "Split /\\s+/, ByteLevel": the types, and the beginning of what they look for.
std::string component_summary(const Json& json) {
  constexpr size_t kShown = 60;  // characters of a pattern
  std::string text = json.value("type", "");
  if (const auto list = json.find("pretokenizers"); list != json.end()) {
    std::vector<std::string> parts;
    for (const Json& part : *list) parts.push_back(component_summary(part));
    return fmt::format("{}", fmt::join(parts, ", "));
  }
  const auto pattern = json.find("pattern");
  if (pattern == json.end()) return text;
  const std::string wanted = pattern->begin()->get<std::string>();
  size_t end = 0;
  for (size_t n = 0; n < kShown && end < wanted.size(); ++n) next_code_point(wanted, end);
  return fmt::format("{} /{}{}/", text, wanted.substr(0, end), end < wanted.size() ? "..." : "");
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> HfTokenizer::parse(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(
      check_keys(json, where,
                 {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                  "post_processor", "decoder", "model"}));
  const Json* model = present(json, "model");
  if (model == nullptr) return input_error("{}: field \"model\" is missing", where);
  // Files older than the field are BPE.
  PLUMB_ASSIGN(const auto type, JsonFields(*model, where + " model").text("type"));
  if (type.value_or("BPE") != "BPE")
    return input_error("{}: model type {} is not supported, expected BPE", where, in_quotes(*type));
  auto tokenizer = std::make_unique<HfTokenizer>();
  PLUMB_ASSIGN(tokenizer->model_, BpeModel::parse(*model, where + " model"));
  PLUMB_RETURN_IF_ERROR(tokenizer->parse_steps_of(json, where));
  PLUMB_RETURN_IF_ERROR(tokenizer->parse_added(json, where));
  if (const Json* post = present(json, "post_processor"))
    PLUMB_RETURN_IF_ERROR(tokenizer->parse_post_processor(*post, where + " post_processor"));
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

Status HfTokenizer::parse_steps_of(const Json& json, const std::string& where) {
  if (const Json* part = present(json, "normalizer"))
    PLUMB_RETURN_IF_ERROR(parse_normalizer(*part, where + " normalizer", normalizer_));
  if (const Json* part = present(json, "pre_tokenizer")) {
    PLUMB_RETURN_IF_ERROR(parse_pre_tokenizer(*part, where + " pre_tokenizer", pre_tokenizer_));
    pre_tokenizer_text_ = component_summary(*part);
  }
  if (const Json* part = present(json, "decoder"))
    PLUMB_RETURN_IF_ERROR(parse_decoder(*part, where + " decoder", decoder_));
  return ok_status();
}

Status HfTokenizer::parse_added(const Json& json, const std::string& where) {
  const auto put = [this](TokenId id, const std::string& token) {
    const auto index = static_cast<size_t>(id);
    if (index >= tokens_.size()) tokens_.resize(index + 1), used_.resize(index + 1);
    tokens_[index] = token;
    used_[index] = true;
  };
  for (const auto& [token, id] : model_.vocab()) put(id, token);
  const Json* list = present(json, "added_tokens");
  if (list == nullptr) return ok_status();
  PLUMB_ASSIGN(added_, AddedTokens::parse(*list, where + " added_tokens", normalizer_));
  for (size_t i = 0; i < added_.tokens().size(); ++i) {
    const AddedToken& token = added_.tokens()[i];
    const auto found = model_.vocab().find(token.content);
    const bool in_vocab = found != model_.vocab().end();
    if (in_vocab ? found->second != token.id : has_token(token.id))
      return input_error("{}: added token {} has the id {}, which the vocabulary gives to {}",
                         where, in_quotes(token.content), token.id,
                         in_vocab ? fmt::format("nothing: there it is {}", found->second)
                                  : in_quotes(tokens_[static_cast<size_t>(token.id)]));
    put(token.id, added_.decoded(i));
  }
  return ok_status();
}

Status HfTokenizer::parse_post_processor(const Json& json, const std::string& where) {
  PLUMB_ASSIGN(const std::string type, component_type(json, where));
  if (type == "Sequence") {
    PLUMB_ASSIGN(const auto elements, sequence_elements(json, where, "processors"));
    for (const Json* element : elements)
      PLUMB_RETURN_IF_ERROR(parse_post_processor(*element, where));
    return ok_status();
  }
  // ByteLevel only moves offsets, which we do not give.
  if (type == "ByteLevel")
    return check_keys(json, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (type == "TemplateProcessing") return parse_template(json, where + " " + type);
  return input_error(
      "{}: type {} is not supported, expected one of TemplateProcessing, ByteLevel, Sequence",
      where, in_quotes(type));
}

// [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}] with the ids of "<s>" beside it.
Status HfTokenizer::parse_template(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", "single", "pair", "special_tokens"}));
  const Json* single = present(json, "single");
  if (single == nullptr || !single->is_array())
    return input_error("{}: field \"single\" is missing or not a list", where);
  Template ids;
  for (const Json& piece : *single) {
    PLUMB_ASSIGN(const auto more, template_ids(json, piece, where));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  if (std::count(ids.begin(), ids.end(), kText) != 1)
    return input_error("{}: \"single\" holds the text {} times, expected once", where,
                       std::count(ids.begin(), ids.end(), kText));
  templates_.push_back(std::move(ids));
  return ok_status();
}

Result<std::vector<TokenId>> HfTokenizer::template_ids(const Json& json, const Json& piece,
                                                       const std::string& where) const {
  PLUMB_RETURN_IF_ERROR(check_keys(piece, where, {"SpecialToken", "Sequence"}));
  const Json* text = present(piece, "Sequence");
  if (text != nullptr) {
    PLUMB_ASSIGN(const std::string name, required_text(*text, where, "id"));
    if (name != "A")
      return input_error("{}: sequence {} in \"single\", expected A", where, in_quotes(name));
    return std::vector<TokenId>{kText};
  }
  const Json* special = present(piece, "SpecialToken");
  if (special == nullptr) return input_error("{}: an empty piece in \"single\"", where);
  PLUMB_ASSIGN(const std::string name, required_text(*special, where, "id"));
  const Json* table = present(json, "special_tokens");
  const Json* entry =
      table != nullptr && table->is_object() ? present(*table, name.c_str()) : nullptr;
  const Json* list = entry != nullptr && entry->is_object() ? present(*entry, "ids") : nullptr;
  if (list == nullptr || !list->is_array())
    return input_error("{}: special_tokens has no ids for {}", where, in_quotes(name));
  std::vector<TokenId> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id < 0 || id >= tokens_.size())
      return input_error("{}: special token {} has the id {}, expected one below {}", where,
                         in_quotes(name), id.is_number() ? id.dump() : id.type_name(),
                         tokens_.size());
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

std::vector<Piece> HfTokenizer::pieces_of(std::string_view text,
                                          const EncodeOptions& options) const {
  std::vector<Piece> plain, pieces;
  added_.extract({std::string(text), true}, false, options.parse_specials, plain);
  for (Piece& piece : plain) {
    if (piece.token >= 0) {
      pieces.push_back(std::move(piece));
      continue;
    }
    for (const auto& step : normalizer_) step(piece);
    added_.extract(piece, true, options.parse_specials, pieces);
  }
  for (const auto& step : pre_tokenizer_) step(pieces);
  return pieces;
}

std::vector<TokenId> HfTokenizer::encode(std::string_view text,
                                         const EncodeOptions& options) const {
  const std::vector<Piece> pieces =
      is_valid_utf8(text) ? pieces_of(text, options) : pieces_of(repair_utf8(text), options);
  std::vector<TokenId> ids;
  PieceCache cache(model_);
  for (const Piece& piece : pieces) {
    if (piece.token >= 0)
      ids.push_back(piece.token);
    else if (!piece.text.empty())
      cache.append(piece.text, ids);
  }
  if (!options.add_specials) return ids;
  for (const Template& wrap : templates_) {
    const auto at = std::find(wrap.begin(), wrap.end(), kText);
    ids.insert(ids.begin(), wrap.begin(), at);
    ids.insert(ids.end(), at + 1, wrap.end());
  }
  return ids;
}

bool HfTokenizer::has_token(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < used_.size() && used_[static_cast<size_t>(id)];
}

Result<std::string> HfTokenizer::decode(std::span<const TokenId> ids,
                                        const DecodeOptions& options) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    if (!has_token(id))
      return input_error("token id {} is not in the vocabulary of {} tokens", id, tokens_.size());
    if (!options.skip_specials || !is_special(id))
      tokens.push_back(tokens_[static_cast<size_t>(id)]);
  }
  for (const DecodeStep& step : decoder_) step.tokens(tokens);
  // Without a decoder tokens are words.
  const char* between = decoder_.empty() ? " " : "";
  return fmt::format("{}", fmt::join(tokens, between));
}

std::string HfTokenizer::piece(TokenId id) const {
  if (!has_token(id)) return "";
  std::string token = tokens_[static_cast<size_t>(id)];
  for (const DecodeStep& step : decoder_) token = step.piece(std::move(token));
  return token;
}

std::optional<TokenId> HfTokenizer::token_id(std::string_view token) const {
  for (const AddedToken& added : added_.tokens())
    if (added.content == token) return added.id;
  const auto found = model_.vocab().find(token);
  if (found == model_.vocab().end()) return std::nullopt;
  return found->second;
}

bool HfTokenizer::is_special(TokenId id) const {
  const AddedToken* added = added_.find(id);
  return added != nullptr && added->special;
}

std::string HfTokenizer::description() const {
  return fmt::format("BPE{}, {} ids, {} merges, {} added tokens, pre-tokenizer {}",
                     model_.byte_fallback() ? " with byte fallback" : "", vocab_size(),
                     model_.n_merges(), added_.tokens().size(),
                     pre_tokenizer_text_.empty() ? "none" : pre_tokenizer_text_);
}

}  // namespace plumb
