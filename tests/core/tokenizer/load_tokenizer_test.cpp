#include <gtest/gtest.h>

#include "golden.h"

namespace plumb {
namespace {

constexpr const char* kTiny =
    R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}})";

std::string refusal(const std::filesystem::path& folder) {
  const auto tokenizer = load_tokenizer(folder);
  return tokenizer.ok() ? "accepted" : tokenizer.error().message;
}

TEST(LoadTokenizer, LooksInTheDirectoryThenInItsTokenizerFolder) {
  ScratchFolder folder;
  folder.write("tokenizer/tokenizer.json", kTiny);
  EXPECT_EQ(must_load(folder.path())->vocab_size(), 2u);
  folder.write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"x": 0}, "merges": []}})");
  EXPECT_EQ(must_load(folder.path())->vocab_size(), 1u);
}

TEST(LoadTokenizer, SaysWhatWasLookedFor) {
  ScratchFolder folder;
  EXPECT_NE(refusal(folder.path()).find("tokenizer.json"), std::string::npos);
  EXPECT_NE(refusal(folder.path() / "absent").find("merges.txt"), std::string::npos);
  folder.write("vocab.json", "{}");
  EXPECT_NE(refusal(folder.path()).find("not merges.txt"), std::string::npos);
}

TEST(LoadTokenizer, RefusesABrokenFileInOneSentenceThatNamesIt) {
  const auto with = [](const std::string& field) {
    return R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, )" + field + "}";
  };
  const std::string broken[] = {
      "",
      "{",
      "[]",
      "null",
      "7",
      "{}",
      R"({"model": null})",
      R"({"model": 3})",
      R"({"model": {"type": "Unigram", "vocab": []}})",
      R"({"model": {"type": 3}})",
      "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"\xFF\": 0}, \"merges\": []}}",
      with(R"("normalizer": {"type": "BertNormalizer"})"),
      with(R"("normalizer": {"type": "Bert\nNormalizer"})"),
      with(R"("pre_tokenizer": 5)"),
      with(R"("decoder": {"type": "CTC"})"),
      with(R"("post_processor": {"type": "BertProcessing"})"),
      with(R"("post_processor": {"type": "TemplateProcessing", "single": []})"),
      with(R"("post_processor": {"type": "TemplateProcessing",
           "single": [{"SpecialToken": {"id": "<s>"}}], "special_tokens": {}})"),
      with(R"("added_tokens": [{"id": -1, "content": "x"}])"),
      with(R"("added_tokens": [{"id": 0, "content": "x"}])"),
      with(R"("added_tokens": [{"id": 1, "content": "a"}])"),
      with(R"("added_tokens": [{"content": "x"}])"),
      with(R"("surprise": true)"),
  };
  ScratchFolder folder;
  for (const std::string& text : broken) {
    folder.write("tokenizer.json", text);
    const std::string message = refusal(folder.path());
    EXPECT_EQ(message.find((folder.path() / "tokenizer.json").string()), 0u)
        << text << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(LoadTokenizer, RefusesEveryTruncation) {
  const std::string whole = golden_json("llama2_style/tokenizer.json").dump();
  ScratchFolder folder;
  for (size_t length = 0; length < whole.size(); length += 97) {
    folder.write("tokenizer.json", whole.substr(0, length));
    EXPECT_NE(refusal(folder.path()), "accepted") << length;
  }
}

TEST(LoadTokenizer, NamesABadLineOfMerges) {
  ScratchFolder folder;
  folder.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
  folder.write("merges.txt", "#version: 0.2\na b\nab\n");
  EXPECT_NE(refusal(folder.path()).find("line 3"), std::string::npos) << refusal(folder.path());
  folder.write("merges.txt", "#version: 0.2\r\na b\r\n");
  EXPECT_EQ(must_load(folder.path())->encode("ab"), std::vector<TokenId>{2});
}

TEST(SpecialTokens, GathersNamesThenIds) {
  ScratchFolder folder;
  folder.write("tokenizer.json", kTiny);
  const auto tokenizer = must_load(folder.path());
  EXPECT_TRUE(special_tokens(folder.path(), *tokenizer).value().eos_ids.empty());
  folder.write(
      "tokenizer_config.json",
      R"({"bos_token": {"content": "a", "lstrip": false}, "eos_token": null, "pad_token": "zz"})");
  folder.write("tokenizer/special_tokens_map.json", R"({"eos_token": "b"})");
  folder.write("generation_config.json",
               R"({"bos_token_id": 9, "eos_token_id": [7, 1], "pad_token_id": -1})");
  const auto tokens = special_tokens(folder.path(), *tokenizer);
  ASSERT_TRUE(tokens.ok()) << tokens.error().message;
  EXPECT_EQ(tokens.value().bos, 0);
  EXPECT_EQ(tokens.value().eos, 1);
  EXPECT_EQ(tokens.value().pad, std::nullopt);
  EXPECT_EQ(tokens.value().eos_ids, (std::vector<TokenId>{1, 7}));
}

TEST(SpecialTokens, RefusesNamesAndIdsThatMeanNothing) {
  ScratchFolder folder;
  folder.write("tokenizer.json", kTiny);
  const auto tokenizer = must_load(folder.path());
  const auto refused = [&](const std::string& file, const std::string& text,
                           const std::string& part) {
    folder.write(file, text);
    const auto tokens = special_tokens(folder.path(), *tokenizer);
    ASSERT_FALSE(tokens.ok()) << text;
    EXPECT_NE(tokens.error().message.find(part), std::string::npos) << tokens.error().message;
    EXPECT_NE(tokens.error().message.find(file), std::string::npos) << tokens.error().message;
    std::filesystem::remove(folder.path() / file);
  };
  refused("tokenizer_config.json", R"({"eos_token": "zz"})", "\"zz\"");
  refused("tokenizer_config.json", R"({"eos_token": 5})", "eos_token");
  refused("tokenizer_config.json", "[", "JSON");
  refused("tokenizer_config.json", "[]", "array");
  refused("generation_config.json", R"({"eos_token_id": "b"})", "eos_token_id");
  refused("generation_config.json", R"({"eos_token_id": [1, -2]})", "-2");
  refused("generation_config.json", R"({"bos_token_id": [1, 2]})", "expected one");
}

}  // namespace
}  // namespace plumb
