// HfTokenizer: a Hugging Face tokenizer.json with a BPE model.
//
//   text --added tokens--> pieces --normalizer--> --normalized added tokens--> --pre-tokenizer-->
//        --BPE--> ids --post-processor--> ids
//
// The measure is equality with the PyPI package `tokenizers`. Different on purpose: invalid UTF-8
// is repaired with U+FFFD (there it cannot be given), ids without a token are an error (there they
// vanish), skip_specials skips normalized special tokens too, and the file's truncation and
// padding, which belong to batches, are not applied.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/json.h"
#include "core/tokenizer/added_tokens.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/decode.h"
#include "core/tokenizer/pretokenize.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

class HfTokenizer final : public Tokenizer {
 public:
  // `where` names the file in messages.
  static Result<std::unique_ptr<Tokenizer>> parse(const Json& json, const std::string& where);

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override;
  Result<std::string> decode(std::span<const TokenId> ids,
                             const DecodeOptions& options) const override;
  std::string piece(TokenId id) const override;
  size_t vocab_size() const override { return tokens_.size(); }
  std::optional<TokenId> token_id(std::string_view token) const override;
  bool is_special(TokenId id) const override;
  std::string description() const override;

 private:
  // A post-processor's template: ids around the text's own, which stand at kText.
  using Template = std::vector<TokenId>;
  static constexpr TokenId kText = -1;

  Status parse_steps_of(const Json& json, const std::string& where);
  Status parse_added(const Json& json, const std::string& where);
  Status parse_post_processor(const Json& json, const std::string& where);
  Status parse_template(const Json& json, const std::string& where);
  Result<std::vector<TokenId>> template_ids(const Json& json, const Json& piece,
                                            const std::string& where) const;
  std::vector<Piece> pieces_of(std::string_view text, const EncodeOptions& options) const;
  bool has_token(TokenId id) const;

  BpeModel model_;
  AddedTokens added_;
  std::vector<NormalizeStep> normalizer_;
  std::vector<PreTokenizeStep> pre_tokenizer_;
  std::vector<DecodeStep> decoder_;
  std::vector<Template> templates_;
  std::vector<std::string> tokens_;  // id -> what decoding starts from; "" also for ids unused
  std::vector<bool> used_;
  std::string pre_tokenizer_text_;  // for description()
};

}  // namespace plumb
