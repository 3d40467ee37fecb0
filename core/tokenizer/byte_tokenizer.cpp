#include "core/tokenizer/byte_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/tokenizer/component.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

constexpr int64_t kMaxTokenLen = 4096;
constexpr const char* kUnknown = "<unk>";

// The bytes a key stands for; nullopt when it has a character that is no byte.
std::optional<std::string> key_bytes(std::string_view key) {
  std::string bytes;
  for (size_t pos = 0; pos < key.size();) {
    const char32_t c = next_code_point(key, pos);
    if (c > 0xFF) return std::nullopt;
    bytes += static_cast<char>(c);
  }
  return bytes;
}

}  // namespace

bool SpikeTokenizer::recognises(const Json& json) {
  if (!json.is_object()) return false;
  const auto algorithm = json.find("algorithm");
  return json.contains("vocab") ||
         (algorithm != json.end() && algorithm->is_string() && *algorithm == "length-max");
}

Result<std::unique_ptr<Tokenizer>> SpikeTokenizer::parse(const Json& json,
                                                         const std::string& where) {
  const JsonFields fields(json, where);
  PLUMB_ASSIGN(const auto algorithm, fields.text("algorithm"));
  if (algorithm.value_or("length-max") != "length-max")
    return input_error("{}: field \"algorithm\" is {}, expected length-max", where,
                       in_quotes(*algorithm));
  PLUMB_ASSIGN(const auto longest, fields.integer("max_token_len", 1, kMaxTokenLen));
  PLUMB_ASSIGN(const TokenIds vocab, parse_vocab(json, where));
  auto tokenizer = std::make_unique<SpikeTokenizer>();
  tokenizer->max_token_len_ = static_cast<size_t>(longest.value_or(24));
  PLUMB_RETURN_IF_ERROR(tokenizer->read_keys(vocab, where));
  PLUMB_RETURN_IF_ERROR(tokenizer->read_atomic(json, vocab, where));
  for (const auto& [bytes, id] : tokenizer->ids_)
    if (!tokenizer->is_special(id) && !bytes.empty() && bytes.size() <= tokenizer->max_token_len_)
      tokenizer->greedy_.add(bytes, id);
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

Status SpikeTokenizer::read_keys(const TokenIds& vocab, const std::string& where) {
  if (vocab.empty()) return input_error("{}: the vocab is empty", where);
  for (const auto& [key, id] : vocab) {
    const auto index = static_cast<size_t>(id);
    if (index >= bytes_of_id_.size()) bytes_of_id_.resize(index + 1), used_.resize(index + 1);
    used_[index] = true;
    const auto bytes = key_bytes(key);
    bytes_of_id_[index] = bytes.value_or(key);
    if (bytes) ids_.emplace(*bytes, id);
    n_unmatchable_ += !bytes || bytes->size() > max_token_len_;
  }
  atomic_.resize(used_.size());
  return ok_status();
}

Status SpikeTokenizer::read_atomic(const Json& json, const TokenIds& vocab,
                                   const std::string& where) {
  std::vector<std::string> names = {"<pad>", kUnknown, "<bos>", "<eos>"};
  if (const auto list = json.find("special_tokens"); list != json.end() && !list->is_null()) {
    if (!list->is_array())
      return input_error("{}: field \"special_tokens\" is {}, expected a list", where,
                         list->type_name());
    for (const Json& name : *list) {
      if (!name.is_string() || name.get_ref<const std::string&>().empty())
        return input_error("{}: special_tokens holds {}, expected names", where,
                           name.is_string() ? "an empty name" : name.type_name());
      names.push_back(name.get<std::string>());
    }
  }
  for (const std::string& name : names) {
    const auto found = vocab.find(name);
    if (found == vocab.end()) continue;
    atomic_[static_cast<size_t>(found->second)] = true;
    bytes_of_id_[static_cast<size_t>(found->second)] = name;
    atomic_strings_.add(name, found->second);
    if (name == kUnknown) unknown_ = found->second;
  }
  return ok_status();
}

void SpikeTokenizer::append_greedy(std::string_view bytes, std::vector<TokenId>& ids) const {
  for (size_t pos = 0; pos < bytes.size();) {
    const auto match = greedy_.match_at(bytes, pos);
    ids.push_back(match ? match->id : unknown_);
    pos = match ? match->end : pos + 1;
  }
}

std::vector<TokenId> SpikeTokenizer::encode(std::string_view text,
                                            const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  size_t done = 0;
  while (options.parse_specials) {
    const auto match = atomic_strings_.find(text, done);
    if (!match) break;
    append_greedy(text.substr(done, match->begin - done), ids);
    ids.push_back(match->id);
    done = match->end;
  }
  append_greedy(text.substr(done), ids);
  return ids;
}

Result<std::string> SpikeTokenizer::decode(std::span<const TokenId> ids,
                                           const DecodeOptions& options) const {
  std::string text, run;
  const auto finish_run = [&] {
    text += repair_utf8(run);
    run.clear();
  };
  for (const TokenId id : ids) {
    const bool known =
        id >= 0 && static_cast<size_t>(id) < used_.size() && used_[static_cast<size_t>(id)];
    // Dropped specials do not end a run: the two halves of a character around one join.
    if (known && is_special(id) && options.skip_specials) continue;
    if (known && !is_special(id)) {
      run += bytes_of_id_[static_cast<size_t>(id)];
      continue;
    }
    finish_run();
    text += known ? bytes_of_id_[static_cast<size_t>(id)] : kUnknown;
  }
  finish_run();
  return text;
}

std::string SpikeTokenizer::piece(TokenId id) const {
  const auto index = static_cast<size_t>(id);
  return id >= 0 && index < used_.size() && used_[index] ? bytes_of_id_[index] : kUnknown;
}

std::optional<TokenId> SpikeTokenizer::token_id(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool SpikeTokenizer::is_special(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < atomic_.size() && atomic_[static_cast<size_t>(id)];
}

std::string SpikeTokenizer::description() const {
  const auto n_atomic = std::count(atomic_.begin(), atomic_.end(), true);
  std::string text =
      fmt::format("greedy longest match over bytes, {} ids, {} atomic, tokens up to {} bytes",
                  vocab_size(), n_atomic, max_token_len_);
  if (n_unmatchable_ > 0) text += fmt::format(" ({} keys can match no text)", n_unmatchable_);
  return text;
}

}  // namespace plumb
