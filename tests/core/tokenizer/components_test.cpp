// Every supported component, alone and around one tiny model, against the package's answers.
#include <gtest/gtest.h>

#include "core/tokenizer/decode.h"
#include "core/tokenizer/hf_tokenizer.h"
#include "core/tokenizer/pretokenize.h"
#include "golden.h"

namespace plumb {
namespace {

TEST(Normalizer, EveryTypeRewritesAsThePackageDoes) {
  const Json goldens = golden_json("components.json");
  for (const Json& variant : goldens.at("normalizers")) {
    std::vector<NormalizeStep> steps;
    const Status status = parse_normalizer(variant["json"], "fixture", steps);
    ASSERT_TRUE(status.ok()) << status.error().message;
    for (size_t i = 0; i < goldens["texts"].size(); ++i) {
      Piece piece{goldens["texts"][i], true};
      for (const auto& step : steps) step(piece);
      EXPECT_EQ(piece.text, variant["results"][i].get<std::string>())
          << variant["name"] << " of " << goldens["texts"][i];
    }
  }
}

TEST(PreTokenizer, EveryTypeCutsAsThePackageDoes) {
  const Json goldens = golden_json("components.json");
  for (const Json& variant : goldens.at("pre_tokenizers")) {
    std::vector<PreTokenizeStep> steps;
    const Status status = parse_pre_tokenizer(variant["json"], "fixture", steps);
    ASSERT_TRUE(status.ok()) << status.error().message;
    for (size_t i = 0; i < goldens["texts"].size(); ++i) {
      const std::string text = goldens["texts"][i];
      std::vector<Piece> pieces;
      if (!text.empty()) pieces.push_back({text, true});
      for (const auto& step : steps) step(pieces);
      std::vector<std::string> cut;
      for (const Piece& piece : pieces) cut.push_back(piece.text);
      const Json& expected = variant["results"][i];
      EXPECT_EQ(cut, expected.is_null() ? std::vector<std::string>{text}
                                        : expected.get<std::vector<std::string>>())
          << variant["name"] << " of " << goldens["texts"][i];
    }
  }
}

TEST(Pipeline, AddedTokensDecodersAndPostProcessorsAnswerAsThePackageDoes) {
  const Json goldens = golden_json("components.json");
  for (const Json& variant : goldens.at("pipelines")) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    Json whole = variant["parts"];
    whole["model"] = goldens["model"];
    const auto tokenizer = HfTokenizer::parse(whole, "fixture");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
    for (const Json& row : variant["rows"]) {
      const auto ids = row[3].get<std::vector<TokenId>>();
      expect_row(*tokenizer.value(), goldens["texts"][row[0].get<size_t>()], row[1], row[2], ids);
      if (row.size() > 4) expect_decoded(*tokenizer.value(), ids, row[4], row[5]);
    }
  }
}

TEST(Decoder, StripTakesFromBothEndsAndStopsAtAnEmptyToken) {
  std::vector<DecodeStep> steps;
  const Json json = {{"type", "Strip"}, {"content", "_"}, {"start", 1}, {"stop", 2}};
  ASSERT_TRUE(parse_decoder(json, "fixture", steps).ok());
  std::vector<std::string> tokens = {"__a___", "_", "", "b_"};
  steps[0].tokens(tokens);
  EXPECT_EQ(tokens, (std::vector<std::string>{"_a_", "", "", "b"}));
}

TEST(Decoder, ByteFallbackGivesOneReplacementForEachByteOfABrokenRun) {
  std::vector<DecodeStep> steps;
  ASSERT_TRUE(parse_decoder({{"type", "ByteFallback"}}, "fixture", steps).ok());
  std::vector<std::string> tokens = {"<0xC3>", "<0xA9>", "x", "<0xE2>", "<0x82>", "<0x0>"};
  steps[0].tokens(tokens);
  EXPECT_EQ(tokens, (std::vector<std::string>{"é", "x", "\uFFFD", "\uFFFD", "<0x0>"}));
  EXPECT_EQ(steps[0].piece("<0xE2>"), "\xE2");
}

TEST(Components, AnUnknownTypeOrOptionIsNamed) {
  std::vector<PreTokenizeStep> steps;
  const auto message = [&](const Json& json) {
    const Status status = parse_pre_tokenizer(json, "t.json pre_tokenizer", steps);
    return status.ok() ? std::string("accepted") : status.error().message;
  };
  EXPECT_NE(message({{"type", "BertPreTokenizer"}}).find("\"BertPreTokenizer\""),
            std::string::npos);
  EXPECT_NE(message({{"type", "Digits"}, {"fancy", 1}}).find("\"fancy\""), std::string::npos);
  EXPECT_NE(message({{"type", "Split"}}).find("pattern"), std::string::npos);
  EXPECT_NE(message({{"typ", "Split"}}).find("\"type\""), std::string::npos);
  EXPECT_NE(message({{"type", "Sequence"}}).find("pretokenizers"), std::string::npos);
  EXPECT_NE(message({{"type", "Split"}, {"behavior", "Sideways"}, {"pattern", {{"String", "a"}}}})
                .find("Sideways"),
            std::string::npos);
  EXPECT_NE(message({{"type", "Split"}, {"behavior", "Removed"}, {"pattern", {{"Regex", "a("}}}})
                .find("a("),
            std::string::npos);
  EXPECT_NE(message({{"type", "Metaspace"}, {"replacement", "ab"}}).find("one character"),
            std::string::npos);
}

}  // namespace
}  // namespace plumb
