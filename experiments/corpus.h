// Texts of a sweep as token lists, each tokenised once a tokenizer.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

struct TokenizedText {
  std::string name;            // file name without directories
  std::string sha256;          // of the file's bytes
  std::vector<TokenId> ids;
  std::vector<int> bytes;      // UTF-8 bytes of each token's piece
};

// REQUIRES max_tokens >= 0; 0: the whole text. An error when the text is empty or gives fewer than
// two tokens (nothing to predict).
Result<TokenizedText> tokenize_file(const std::string& path, const Tokenizer& tokenizer, int64_t max_tokens);

}  // namespace plumb
