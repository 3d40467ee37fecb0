// SpikeTokenizer: greedy longest match over bytes ("length-max"), the tokenizer of the SpikeWhale
// and Byrne models. Its tokenizer.json is a format of its own:
//
//   {"vocab": {"the": 1041, ...}, "vocab_size": 16512, "max_token_len": 24,
//    "algorithm": "length-max", "special_tokens": ["<|im_start|>", ...]}
//
// Each key is a byte string in disguise, character U+00XX for byte XX. Atomic strings (the special
// tokens, <pad>, <unk>, <bos>, <eos>) are cut out of the text first; between them, at each byte,
// the longest key wins, up to max_token_len.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/tokenizer/added_tokens.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

class SpikeTokenizer final : public Tokenizer {
 public:
  // True when `json` is of this format rather than Hugging Face's.
  static bool recognises(const Json& json);
  // `where` names the file in messages.
  static Result<std::unique_ptr<Tokenizer>> parse(const Json& json, const std::string& where);

  // The bytes as they are, valid UTF-8 or not. With parse_specials off no atomic id comes out,
  // except <unk> for a byte that has no key. add_specials has nothing to add.
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  // Bytes between atomic tokens are decoded together; invalid UTF-8 becomes U+FFFD. Unlike the
  // interface's rule, an id without a token is the text "<unk>", as this family defines it.
  Result<std::string> decode(std::span<const TokenId> ids,
                             const DecodeOptions& options) const override;
  std::string piece(TokenId id) const override;
  size_t vocab_size() const override { return bytes_of_id_.size(); }
  // `token` is text; the key is its UTF-8.
  std::optional<TokenId> token_id(std::string_view token) const override;
  bool is_special(TokenId id) const override;
  std::string description() const override;

 private:
  Status read_keys(const TokenIds& vocab, const std::string& where);
  Status read_atomic(const Json& json, const TokenIds& vocab, const std::string& where);
  void append_greedy(std::string_view bytes, std::vector<TokenId>& ids) const;

  TokenIds ids_;                          // bytes -> id
  std::vector<std::string> bytes_of_id_;  // "" for ids unused
  std::vector<bool> used_, atomic_;
  StringMatcher greedy_;  // keys that may match between atomic strings
  StringMatcher atomic_strings_;
  TokenId unknown_ = 1;
  size_t max_token_len_ = 24;  // bytes
  size_t n_unmatchable_ = 0;   // keys that no text can contain
};

}  // namespace plumb
