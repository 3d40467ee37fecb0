// The decoder of a tokenizer.json: from token strings back to text.
//
//   "▁Hello" "<0xC3>" "<0xA9>"  --Replace-->  " Hello" ..  --ByteFallback-->  " Hello" "é"
//                               --Fuse-->  " Helloé"  --Strip-->  "Helloé"
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"

namespace plumb {

struct DecodeStep {
  // Rewrites the list; the text is what is left, joined.
  std::function<void(std::vector<std::string>&)> tokens;
  // Rewrites one token as it stands amid others, to bytes. Nothing is stripped or replaced here.
  std::function<std::string(std::string)> piece;
};

// Appends the steps of the "decoder" object: Sequence, ByteLevel, Replace, ByteFallback, Fuse,
// Strip, Metaspace. Any other type, or an unknown option, is an error naming it.
Status parse_decoder(const Json& json, const std::string& where, std::vector<DecodeStep>& steps);

}  // namespace plumb
