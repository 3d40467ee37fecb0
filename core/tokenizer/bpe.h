// BpeModel: byte pair encoding of one pre-token, the "model" of a tokenizer.json.
//
//   "hello"  ->  h e l l o  ->  h e ll o  ->  he ll o  ->  he llo  ->  hello
//
// Of all adjacent pairs the one whose merge stands first in the file is joined, the leftmost
// among equals, until no pair is in the list. Source: Sennrich, Haddow, Birch 2016 (arXiv
// 1508.07909); the treatment of unknown characters follows the `tokenizers` package.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

// Lets a map of strings be searched by string_view.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using TokenIds = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

// The merge list as a hash table: pair of ids -> rank and the id they become.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    TokenId joined;
  };

  explicit MergeTable(size_t n_merges = 0);
  // The last of equal pairs counts.
  void insert(TokenId left, TokenId right, Merge merge);
  // Null when the pair never merges.
  const Merge* find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    uint64_t pair;
    Merge merge;
  };
  size_t slot_of(uint64_t pair) const;

  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
};

class BpeModel {
 public:
  // `json` is the "model" object. Merges may be strings "a b" or pairs ["a", "b"]. Dropout, which
  // makes encoding random, is refused. `where` names file and field in messages.
  static Result<BpeModel> parse(const Json& json, const std::string& where);

  // Appends the ids of one pre-token. REQUIRES `text` is valid UTF-8.
  void encode(std::string_view text, std::vector<TokenId>& out) const;

  const TokenIds& vocab() const { return vocab_; }
  size_t n_merges() const { return joined_of_rank_.size(); }
  bool byte_fallback() const { return byte_fallback_; }

 private:
  struct Symbol {
    TokenId id;
    int32_t previous, next;  // index of the neighbour, -1: none; removed symbols have id -1
  };

  Status read_vocab(const Json& json, const std::string& where);
  Status read_merges(const Json& json, const std::string& where);
  Status read_options(const Json& json, const std::string& where);
  Status add_merge(std::string_view left, std::string_view right, const std::string& where);
  std::vector<Symbol> first_symbols(std::string_view text) const;
  bool append_byte_tokens(std::string_view character, std::vector<TokenId>& ids) const;
  void merge_all(std::vector<Symbol>& symbols) const;

  TokenIds vocab_;
  MergeTable merges_;
  std::vector<TokenId> joined_of_rank_;
  std::string prefix_, suffix_;  // of characters inside a word, and of a word's last one
  std::optional<TokenId> unknown_;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;  // a pre-token that is a vocabulary entry is that entry
};

}  // namespace plumb
