#include "core/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <queue>

#include "core/tokenizer/component.h"
#include "core/tokenizer/unicode.h"

namespace plumb {
namespace {

constexpr size_t kMaxMerges = size_t{1} << 23;
constexpr size_t kMaxText = std::numeric_limits<int32_t>::max() / 2;
constexpr uint64_t kNoPair = ~uint64_t{0};

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t n_merges) {
  size_t n_slots = 16;
  while (n_slots < 2 * n_merges) n_slots *= 2;
  slots_.assign(n_slots, Slot{kNoPair, {}});
}

size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = (pair * 0x9E3779B97F4A7C15u) >> 20 & mask;
  while (slots_[slot].pair != kNoPair && slots_[slot].pair != pair) slot = (slot + 1) & mask;
  return slot;
}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  const uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

const MergeTable::Merge* MergeTable::find(TokenId left, TokenId right) const {
  const Slot& slot = slots_[slot_of(pair_key(left, right))];
  return slot.pair == kNoPair ? nullptr : &slot.merge;
}

Result<BpeModel> BpeModel::parse(const Json& json, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(
      check_keys(json, where,
                 {"type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix",
                  "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"}));
  BpeModel model;
  PLUMB_RETURN_IF_ERROR(model.read_vocab(json, where));
  PLUMB_RETURN_IF_ERROR(model.read_options(json, where));
  PLUMB_RETURN_IF_ERROR(model.read_merges(json, where));
  return model;
}

Status BpeModel::read_vocab(const Json& json, const std::string& where) {
  PLUMB_ASSIGN(vocab_, parse_vocab(json, where));
  return ok_status();
}

Status BpeModel::read_options(const Json& json, const std::string& where) {
  const JsonFields fields(json, where);
  PLUMB_ASSIGN(const auto dropout, fields.number("dropout"));
  if (dropout.value_or(0) != 0)
    return input_error("{}: field \"dropout\" is {}, expected none: encoding would be random",
                       where, *dropout);
  PLUMB_ASSIGN(const auto prefix, fields.text("continuing_subword_prefix"));
  PLUMB_ASSIGN(const auto suffix, fields.text("end_of_word_suffix"));
  PLUMB_ASSIGN(const auto unknown, fields.text("unk_token"));
  PLUMB_ASSIGN(const auto fuse, fields.boolean("fuse_unk"));
  PLUMB_ASSIGN(const auto fallback, fields.boolean("byte_fallback"));
  PLUMB_ASSIGN(const auto ignore, fields.boolean("ignore_merges"));
  prefix_ = prefix.value_or("");
  suffix_ = suffix.value_or("");
  fuse_unknown_ = fuse.value_or(false);
  byte_fallback_ = fallback.value_or(false);
  ignore_merges_ = ignore.value_or(false);
  if (unknown) {
    const auto found = vocab_.find(*unknown);
    if (found == vocab_.end())
      return input_error("{}: field \"unk_token\" is {}, expected a token of the vocabulary", where,
                         in_quotes(*unknown));
    unknown_ = found->second;
  }
  return ok_status();
}

Status BpeModel::read_merges(const Json& json, const std::string& where) {
  const auto found = json.find("merges");
  if (found == json.end() || !found->is_array())
    return input_error("{}: field \"merges\" is missing or not a list", where);
  if (found->size() > kMaxMerges)
    return input_error("{}: {} merges, expected at most {}", where, found->size(), kMaxMerges);
  merges_ = MergeTable(found->size());
  joined_of_rank_.reserve(found->size());
  for (const Json& merge : *found) {
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        return input_error("{}: merge {} is {}, expected two tokens and one space", where,
                           n_merges(), in_quotes(text));
      const std::string_view view = text;
      PLUMB_RETURN_IF_ERROR(add_merge(view.substr(0, space), view.substr(space + 1), where));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      PLUMB_RETURN_IF_ERROR(add_merge(merge[0].get_ref<const std::string&>(),
                                      merge[1].get_ref<const std::string&>(), where));
    } else {
      return input_error("{}: merge {} is neither \"a b\" nor [\"a\", \"b\"]", where, n_merges());
    }
  }
  return ok_status();
}

Status BpeModel::add_merge(std::string_view left, std::string_view right,
                           const std::string& where) {
  const std::string joined =
      std::string(left) + std::string(right.substr(std::min(prefix_.size(), right.size())));
  const auto a = vocab_.find(left), b = vocab_.find(right), c = vocab_.find(joined);
  for (const auto& [found, token] : {std::pair{a, left}, {b, right}, {c, std::string_view(joined)}})
    if (found == vocab_.end())
      return input_error("{}: merge {} needs the token {}, which is not in the vocabulary", where,
                         n_merges(), in_quotes(token));
  merges_.insert(a->second, b->second, {static_cast<uint32_t>(n_merges()), c->second});
  joined_of_rank_.push_back(c->second);
  return ok_status();
}

bool BpeModel::append_byte_tokens(std::string_view character, std::vector<TokenId>& ids) const {
  const size_t before = ids.size();
  for (const char c : character) {
    const auto found = vocab_.find(fmt::format("<0x{:02X}>", static_cast<uint8_t>(c)));
    if (found == vocab_.end()) {
      ids.resize(before);
      return false;
    }
    ids.push_back(found->second);
  }
  return true;
}

std::vector<BpeModel::Symbol> BpeModel::first_symbols(std::string_view text) const {
  std::vector<TokenId> ids;
  ids.reserve(text.size());
  bool unknown_waits = false;  // an unknown is written when the next known character comes
  const auto write_unknown = [&] {
    if (unknown_waits) ids.push_back(*unknown_);
    unknown_waits = false;
  };
  std::string decorated;
  for (size_t pos = 0; pos < text.size();) {
    std::string_view character = text.substr(pos, utf8_length(text[pos]));
    const bool first = pos == 0;
    pos += character.size();
    if (const bool last = pos >= text.size();
        (!first && !prefix_.empty()) || (last && !suffix_.empty())) {
      decorated = first ? "" : prefix_;
      decorated += character;
      if (last) decorated += suffix_;
      character = decorated;
    }
    if (const auto found = vocab_.find(character); found != vocab_.end()) {
      write_unknown();
      ids.push_back(found->second);
    } else if (byte_fallback_ && append_byte_tokens(character, ids)) {
      continue;  // a waiting unknown stays waiting, and so comes after the bytes, as published
    } else if (unknown_) {
      if (!fuse_unknown_) write_unknown();
      unknown_waits = true;
    }
  }
  write_unknown();

  std::vector<Symbol> symbols(ids.size());
  const auto n = static_cast<int32_t>(ids.size());
  for (int32_t i = 0; i < n; ++i) symbols[i] = {ids[i], i - 1, i + 1 < n ? i + 1 : -1};
  return symbols;
}

// Joins pairs in the order (rank, position), kept as one number a candidate in a heap. An entry
// whose symbols changed since it was pushed is dropped, unless the pair that stands there now
// becomes the same token.
void BpeModel::merge_all(std::vector<Symbol>& symbols) const {
  std::vector<uint64_t> entries;
  entries.reserve(symbols.size());
  const auto candidate = [&](int32_t left) -> std::optional<uint64_t> {
    if (left < 0 || symbols[left].next < 0) return std::nullopt;
    const auto* merge = merges_.find(symbols[left].id, symbols[symbols[left].next].id);
    if (merge == nullptr) return std::nullopt;
    return uint64_t{merge->rank} << 32 | static_cast<uint32_t>(left);
  };
  for (size_t i = 0; i < symbols.size(); ++i)
    if (const auto entry = candidate(static_cast<int32_t>(i))) entries.push_back(*entry);
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue(std::greater<>{},
                                                                             std::move(entries));
  while (!queue.empty()) {
    const uint64_t top = queue.top();
    queue.pop();
    const auto left = static_cast<int32_t>(top & 0xFFFFFFFF);
    Symbol& symbol = symbols[left];
    if (symbol.id < 0 || symbol.next < 0) continue;
    Symbol& right = symbols[symbol.next];
    const auto* merge = merges_.find(symbol.id, right.id);
    if (merge == nullptr || merge->joined != joined_of_rank_[top >> 32]) continue;
    symbol.id = merge->joined;
    symbol.next = right.next;
    right.id = -1;
    if (symbol.next >= 0) symbols[symbol.next].previous = left;
    if (const auto entry = candidate(symbol.previous)) queue.push(*entry);
    if (const auto entry = candidate(left)) queue.push(*entry);
  }
}

void BpeModel::encode(std::string_view text, std::vector<TokenId>& out) const {
  PLUMB_CHECK(text.size() <= kMaxText);
  if (ignore_merges_)
    if (const auto found = vocab_.find(text); found != vocab_.end()) {
      out.push_back(found->second);
      return;
    }
  std::vector<Symbol> symbols = first_symbols(text);
  merge_all(symbols);
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) out.push_back(symbol.id);
}

}  // namespace plumb
