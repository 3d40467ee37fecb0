#include "experiments/corpus.h"

#include <filesystem>

#include "core/base/json.h"
#include "core/record/provenance.h"

namespace plumb {
namespace {

constexpr size_t kMaxTextBytes = size_t{4} << 30;

}  // namespace

Result<TokenizedText> tokenize_file(const std::string& path, const Tokenizer& tokenizer, int64_t max_tokens) {
  PLUMB_ASSIGN(const std::string bytes, read_text_file(path, kMaxTextBytes));
  if (bytes.empty()) return input_error("{}: the text is empty", path);
  TokenizedText text;
  text.name = std::filesystem::path(path).filename().string();
  text.sha256 = sha256_of_text(bytes);
  text.ids = tokenizer.encode(bytes);
  if (max_tokens > 0 && static_cast<int64_t>(text.ids.size()) > max_tokens) text.ids.resize(static_cast<size_t>(max_tokens));
  if (text.ids.size() < 2)
    return input_error("{}: the text gives {} token(s), expected at least 2 so that one can be predicted", path, text.ids.size());
  text.bytes.reserve(text.ids.size());
  for (TokenId id : text.ids) text.bytes.push_back(static_cast<int>(tokenizer.piece(id).size()));
  return text;
}

}  // namespace plumb
