// Tokenizer: text to ids and back, exactly as the published tokenizer files define it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace plumb {

using TokenId = int32_t;

struct EncodeOptions {
  // Recognise special tokens written in the text; off, they are ordinary text (added tokens that
  // are not special are recognised either way).
  bool parse_specials = true;
  bool add_specials = false;  // apply the file's post-processor (e.g. prepend <|begin_text|>)
};

struct DecodeOptions {
  bool skip_specials = false;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Any bytes are accepted; invalid UTF-8 is replaced or kept as the family defines.
  virtual std::vector<TokenId> encode(std::string_view text,
                                      const EncodeOptions& options = {}) const = 0;
  // Ids outside the vocabulary are an error naming the id.
  virtual Result<std::string> decode(std::span<const TokenId> ids,
                                     const DecodeOptions& options = {}) const = 0;

  // The bytes of one token as they would stand in running text, for axis labels and `--json`
  // pieces ("Ġthe" -> " the"). May be an incomplete UTF-8 sequence.
  virtual std::string piece(TokenId id) const = 0;
  virtual size_t vocab_size() const = 0;  // largest id + 1
  virtual std::optional<TokenId> token_id(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  virtual std::string description() const = 0;  // one line for `inspect`: kind, vocabulary, regex
};

// Finds the tokenizer of a model: tokenizer.json, or vocab.json + merges.txt, in `directory` or in
// its tokenizer/ folder. An absent or unusable file is an error that names what was looked for.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::filesystem::path& directory);

// The ids with a part to play, as the files beside a tokenizer name them.
struct SpecialTokens {
  std::optional<TokenId> bos, eos, pad, unk;
  std::vector<TokenId> eos_ids;  // every id that ends a text, `eos` first; empty: none named
};

// Reads tokenizer_config.json, special_tokens_map.json (names) and generation_config.json (ids),
// each where present, in `directory` and its tokenizer/ folder; the first to name a role decides,
// and the eos ids of all are gathered. A bos or eos name that is not in the vocabulary is an error;
// such a pad or unk is left out, since nothing here needs them.
Result<SpecialTokens> special_tokens(const std::filesystem::path& directory,
                                     const Tokenizer& tokenizer);

}  // namespace plumb
