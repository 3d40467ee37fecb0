// Normalizers and pre-tokenizers of a tokenizer.json: from a text to the pieces BPE sees.
//
//   "It's 5 o'clock"  --Split-->  "It" "'s" " " "5" " o" "'clock"  --ByteLevel-->  "It" "'s" "Ġ"
//   ...
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

// A stretch of text on its way to ids.
struct Piece {
  std::string text;       // valid UTF-8
  bool at_start = false;  // begins where the whole text begins (Metaspace "first" asks)
  TokenId token = -1;     // >= 0: an added token; the steps leave it alone
};

using NormalizeStep = std::function<void(Piece&)>;
using PreTokenizeStep = std::function<void(std::vector<Piece>&)>;

// Appends the steps of the "normalizer" object: Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD,
// Lowercase, Strip. Any other type, or an unknown option, is an error naming it.
Status parse_normalizer(const Json& json, const std::string& where,
                        std::vector<NormalizeStep>& steps);

// Appends the steps of the "pre_tokenizer" object: Sequence, Split, ByteLevel, Metaspace,
// Whitespace, WhitespaceSplit, Digits, Punctuation.
Status parse_pre_tokenizer(const Json& json, const std::string& where,
                           std::vector<PreTokenizeStep>& steps);

}  // namespace plumb
