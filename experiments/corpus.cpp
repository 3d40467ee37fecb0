#include "experiments/corpus.h"

#include <filesystem>

#include "core/base/json.h"
#include "core/io/utf8.h"
#include "core/record/provenance.h"

namespace plumb {
namespace {

constexpr size_t kMaxTextBytes = size_t{4} << 30;

// Only tokens that stand for bytes can carry a text that is not UTF-8; others would score a repaired
// one in silence.
Status check_encoding(const std::string& path, const std::string& bytes, const Tokenizer& tokenizer,
                      const std::vector<TokenId>& ids) {
  const size_t valid = valid_utf8_prefix(bytes);
  if (valid == bytes.size()) return ok_status();
  std::string carried;
  for (TokenId id : ids) carried += tokenizer.piece(id);
  if (carried == bytes) return ok_status();
  return input_error("{}: byte 0x{:02X} at offset {} is not UTF-8, which the model's tokenizer reads; convert the text first",
                     path, static_cast<unsigned char>(bytes[valid]), valid);
}

}  // namespace

Result<TokenizedText> tokenize_file(const std::string& path, const Tokenizer& tokenizer, int64_t max_tokens) {
  PLUMB_ASSIGN(const std::string bytes, read_text_file(path, kMaxTextBytes));
  if (bytes.empty()) return input_error("{}: the text is empty", path);
  TokenizedText text;
  text.name = std::filesystem::path(path).filename().string();
  text.sha256 = sha256_of_text(bytes);
  text.ids = tokenizer.encode(bytes);
  PLUMB_RETURN_IF_ERROR(check_encoding(path, bytes, tokenizer, text.ids));
  if (max_tokens > 0 && static_cast<int64_t>(text.ids.size()) > max_tokens) text.ids.resize(static_cast<size_t>(max_tokens));
  if (text.ids.size() < 2)
    return input_error("{}: the text gives {} token(s), expected at least 2 so that one can be predicted", path, text.ids.size());
  text.bytes.reserve(text.ids.size());
  for (TokenId id : text.ids) text.bytes.push_back(static_cast<int>(tokenizer.piece(id).size()));
  return text;
}

}  // namespace plumb
