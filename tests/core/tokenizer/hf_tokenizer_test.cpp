// Equality with the PyPI package `tokenizers` (tests/goldens/tokenizer/README.md).
#include <gtest/gtest.h>

#include "golden.h"

namespace plumb {
namespace {

struct Style {
  const char* name;
  std::filesystem::path folder;
};

void PrintTo(const Style& style, std::ostream* out) { *out << style.name; }

class HfTokenizerStyle : public testing::TestWithParam<Style> {};

TEST_P(HfTokenizerStyle, EncodesAndDecodesAsThePackageDoes) {
  const auto tokenizer = must_load(GetParam().folder);
  ASSERT_NE(tokenizer, nullptr);
  const Json goldens = golden_json("style_goldens.json");
  const Json& rows = goldens.at(GetParam().name);
  ASSERT_GE(rows.size(), 20u);
  for (const Json& row : rows) {
    const auto ids = row["ids"].get<std::vector<TokenId>>();
    expect_row(*tokenizer, row["text"], row["add_specials"], row["parse_specials"], ids);
    expect_decoded(*tokenizer, ids, row["decoded"], row["decoded_skip"]);
  }
}

TEST_P(HfTokenizerStyle, PiecesJoinToTheText) {
  const auto tokenizer = must_load(GetParam().folder);
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = "The whale's café: 日本 🙂 and\n  more\ttext";
  std::string joined;
  for (const TokenId id : tokenizer->encode(text)) joined += tokenizer->piece(id);
  // Llama-2's style puts a space in front of every text.
  const bool prefixed = std::string(GetParam().name) == "llama2_style";
  // Huginn's expression drops some lone spaces and marks: they match no alternative.
  if (std::string(GetParam().name) != "huginn_style") {
    EXPECT_EQ(joined, (prefixed ? " " : "") + text);
  }
  EXPECT_NE(joined.find("café"), std::string::npos);
}

TEST_P(HfTokenizerStyle, EveryIdHasAPiece) {
  const auto tokenizer = must_load(GetParam().folder);
  ASSERT_NE(tokenizer, nullptr);
  ASSERT_GT(tokenizer->vocab_size(), 256u);
  for (size_t id = 0; id < tokenizer->vocab_size(); ++id)
    EXPECT_FALSE(tokenizer->piece(static_cast<TokenId>(id)).empty()) << id;
}

INSTANTIATE_TEST_SUITE_P(All, HfTokenizerStyle,
                         testing::Values(Style{"huginn_style", golden_dir() / "huginn_style"},
                                         Style{"llama3_style", golden_dir() / "llama3_style"},
                                         Style{"llama2_style", golden_dir() / "llama2_style"},
                                         Style{"gpt2_style", golden_dir() / "gpt2_style"},
                                         Style{"pocket",
                                               source_dir() / "experiments/models/pocket-raven"}),
                         [](const auto& style) { return std::string(style.param.name); });

TEST(HfTokenizer, RepairsInvalidUtf8OfItsInput) {
  const auto tokenizer = must_load(golden_dir() / "gpt2_style");
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->encode("a\xC3 b\xED\xA0\x80"),
            tokenizer->encode("a\xEF\xBF\xBD b\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
}

TEST(HfTokenizer, NamesAnIdOutsideTheVocabulary) {
  const auto tokenizer = must_load(golden_dir() / "gpt2_style");
  ASSERT_NE(tokenizer, nullptr);
  for (const TokenId id :
       {TokenId{-1}, static_cast<TokenId>(tokenizer->vocab_size()), 2147483647}) {
    const auto text = tokenizer->decode(std::vector<TokenId>{id});
    ASSERT_FALSE(text.ok());
    EXPECT_NE(text.error().message.find(std::to_string(id)), std::string::npos);
    EXPECT_EQ(tokenizer->piece(id), "");
  }
}

TEST(HfTokenizer, KnowsItsSpecialTokens) {
  const auto tokenizer = must_load(golden_dir() / "gpt2_style");
  ASSERT_NE(tokenizer, nullptr);
  const auto id = tokenizer->token_id("<|endoftext|>");
  ASSERT_TRUE(id.has_value());
  EXPECT_TRUE(tokenizer->is_special(*id));
  EXPECT_FALSE(tokenizer->is_special(*tokenizer->token_id("a")));
  EXPECT_EQ(tokenizer->encode("a<|endoftext|>").back(), *id);
  for (const TokenId other : tokenizer->encode("a<|endoftext|>", {.parse_specials = false}))
    EXPECT_NE(other, *id);
  EXPECT_EQ(tokenizer->token_id("no such token"), std::nullopt);
}

TEST(HfTokenizer, TakesTimeInProportionToAHundredThousandEqualCharacters) {
  // Quadratic merging would take minutes here; the suite's time limit is the assertion.
  for (const char* style : {"gpt2_style", "llama2_style", "llama3_style", "huginn_style"}) {
    const auto tokenizer = must_load(golden_dir() / style);
    ASSERT_NE(tokenizer, nullptr);
    for (const char* unit : {"a", " ", "\n", "<", "!"}) {
      std::string text;
      for (int i = 0; i < 100'000; ++i) text += unit;
      const auto back = tokenizer->decode(tokenizer->encode(text));
      ASSERT_TRUE(back.ok());
      EXPECT_EQ(back.value(), text) << style;
    }
  }
}

}  // namespace
}  // namespace plumb
