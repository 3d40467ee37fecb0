// Added tokens: strings that become one id before anything else looks at the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/tokenizer/pretokenize.h"

namespace plumb {

// Finds the leftmost, and there the longest, of a set of strings.
class StringMatcher {
 public:
  struct Match {
    size_t begin, end;
    TokenId id;
  };

  // The last id given to equal strings counts. REQUIRES `text` is not empty.
  void add(std::string_view text, TokenId id);
  bool empty() const { return nodes_.size() == 1; }
  // The longest match that begins at `begin`; nullopt when there is none.
  std::optional<Match> match_at(std::string_view text, size_t begin) const;
  // The first match at or after `from`.
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  struct Node {
    std::unordered_map<char, uint32_t> next;
    TokenId id = -1;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
  bool starts_[256] = {};  // bytes that some string begins with
};

struct AddedToken {
  TokenId id = -1;
  std::string content;
  bool special = false;      // dropped by skip_specials
  bool normalized = true;    // looked for behind the normalizer, in its own normalized form
  bool single_word = false;  // not beside a word character
  bool lstrip = false;       // takes the white space on its left along
  bool rstrip = false;
};

class AddedTokens {
 public:
  // `json` is the "added_tokens" list. `normalize` is applied to tokens marked normalized.
  static Result<AddedTokens> parse(const Json& json, const std::string& where,
                                   const std::vector<NormalizeStep>& normalize);

  // Cuts the tokens of one kind out of a piece of text, with or without those that are special.
  void extract(const Piece& piece, bool normalized, bool specials, std::vector<Piece>& out) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // The string decoding starts from: the normalized form of normalized tokens.
  const std::string& decoded(size_t index) const { return forms_[index]; }
  // Null when `id` was not added.
  const AddedToken* find(TokenId id) const;
  bool empty() const { return tokens_.empty(); }

 private:
  bool stands_alone(std::string_view text, size_t begin, size_t end) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> forms_;
  std::unordered_map<TokenId, size_t> index_of_id_;
  StringMatcher plain_, normalized_;
};

}  // namespace plumb
