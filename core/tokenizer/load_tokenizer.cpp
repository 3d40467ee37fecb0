// Which file a tokenizer comes from (declared in tokenizer.h).
#include <nlohmann/json.hpp>

#include "core/tokenizer/byte_tokenizer.h"
#include "core/tokenizer/component.h"
#include "core/tokenizer/hf_tokenizer.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = size_t{64} << 20;

Result<std::unique_ptr<Tokenizer>> load_json(const fs::path& path) {
  PLUMB_ASSIGN(const Json json, read_json_file(path, kMaxFileBytes));
  if (!json.is_object())
    return input_error("{}: is {}, expected an object", path.string(), json.type_name());
  if (SpikeTokenizer::recognises(json)) return SpikeTokenizer::parse(json, path.string());
  return HfTokenizer::parse(json, path.string());
}

// The lines of a merges.txt, but for its version line.
Result<Json> read_merges(const fs::path& path) {
  PLUMB_ASSIGN(const std::string text, read_text_file(path, kMaxFileBytes));
  Json merges = Json::array();
  for (size_t pos = 0, line = 1; pos < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', pos), text.size());
    std::string merge = text.substr(pos, end - pos);
    pos = end + 1;
    if (merge.ends_with('\r')) merge.pop_back();
    if (merge.starts_with("#version") || merge.empty()) continue;
    if (merge.find(' ') == std::string::npos)
      return input_error("{}: line {} is {}, expected two tokens and one space", path.string(),
                         line, in_quotes(merge));
    merges.push_back(std::move(merge));
  }
  return merges;
}

// GPT-2's two files are the model of a tokenizer.json whose other parts are known.
Result<std::unique_ptr<Tokenizer>> load_gpt2(const fs::path& vocab_path,
                                             const fs::path& merges_path) {
  PLUMB_ASSIGN(Json vocab, read_json_file(vocab_path, kMaxFileBytes));
  PLUMB_ASSIGN(Json merges, read_merges(merges_path));
  const std::string where = fmt::format("{} and {}", vocab_path.string(), merges_path.string());
  static constexpr const char* kEndOfText = "<|endoftext|>";
  Json added = Json::array();
  if (vocab.is_object() && vocab.contains(kEndOfText))
    added.push_back({{"id", vocab[kEndOfText]}, {"content", kEndOfText}, {"special", true}});
  const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return HfTokenizer::parse(
      {{"added_tokens", std::move(added)},
       {"pre_tokenizer", byte_level},
       {"decoder", byte_level},
       {"model", {{"vocab", std::move(vocab)}, {"merges", std::move(merges)}}}},
      where);
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const fs::path& directory) {
  for (const fs::path& folder : {directory, directory / "tokenizer"}) {
    std::error_code ignored;
    if (fs::exists(folder / "tokenizer.json", ignored)) return load_json(folder / "tokenizer.json");
    const bool has_vocab = fs::exists(folder / "vocab.json", ignored);
    const bool has_merges = fs::exists(folder / "merges.txt", ignored);
    if (has_vocab && has_merges) return load_gpt2(folder / "vocab.json", folder / "merges.txt");
    if (has_vocab || has_merges)
      return input_error("{}: has {} but not {}", folder.string(),
                         has_vocab ? "vocab.json" : "merges.txt",
                         has_vocab ? "merges.txt" : "vocab.json");
  }
  return input_error(
      "{}: no tokenizer: expected tokenizer.json, or vocab.json and merges.txt, there or in its "
      "folder tokenizer/",
      directory.string());
}

}  // namespace plumb
