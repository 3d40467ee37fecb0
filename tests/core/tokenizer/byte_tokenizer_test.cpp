#include "core/tokenizer/byte_tokenizer.h"

#include <gtest/gtest.h>

#include "golden.h"

namespace plumb {
namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

std::unique_ptr<Tokenizer> spike(const Json& json) {
  auto tokenizer = SpikeTokenizer::parse(json, "spike.json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

class SpikeGolden : public testing::TestWithParam<const char*> {};

TEST_P(SpikeGolden, EncodesAndDecodesAsTheReferenceDoes) {
  const auto tokenizer = spike(golden_json(std::string(GetParam()) + ".json"));
  ASSERT_NE(tokenizer, nullptr);
  const Json goldens = golden_json(std::string(GetParam()) + "_goldens.json");
  ASSERT_GT(goldens.at("encode").size(), 2u);
  for (const Json& row : goldens["encode"]) {
    const std::string text = from_hex(row["utf8_hex"]);
    const auto ids = tokenizer->encode(text);
    EXPECT_EQ(ids, row["ids"].get<std::vector<TokenId>>()) << text;
    EXPECT_EQ(tokenizer->decode(ids).value(), from_hex(row["decoded_utf8_hex"])) << text;
    EXPECT_EQ(tokenizer->decode(ids, {.skip_specials = true}).value(),
              from_hex(row["decoded_skip_special_utf8_hex"]))
        << text;
  }
  for (const Json& row : goldens.at("decode")) {
    const auto ids = row["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->decode(ids).value(), from_hex(row["utf8_hex"])) << row["ids"];
    EXPECT_EQ(tokenizer->decode(ids, {.skip_specials = true}).value(),
              from_hex(row["skip_special_utf8_hex"]))
        << row["ids"];
  }
}

INSTANTIATE_TEST_SUITE_P(All, SpikeGolden, testing::Values("spike", "spike_gaps"));

TEST(SpikeTokenizer, IsFoundByItsTopLevelVocab) {
  const auto tokenizer = [] {
    ScratchFolder folder;
    folder.write("tokenizer.json", golden_json("spike.json").dump());
    return must_load(folder.path());
  }();
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_NE(tokenizer->description().find("greedy longest match"), std::string::npos);
}

TEST(SpikeTokenizer, SpecialsInTheTextAreOrdinaryBytesWhenNotParsed) {
  const auto tokenizer = spike(golden_json("spike.json"));
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = "a<|im_start|>b<eos>";
  EXPECT_GT(tokenizer->encode(text, {.parse_specials = false}).size(),
            tokenizer->encode(text).size());
  for (const TokenId id : tokenizer->encode(text, {.parse_specials = false}))
    EXPECT_FALSE(tokenizer->is_special(id)) << id;
}

TEST(SpikeTokenizer, KeysThatAreNoBytesKeepTheirIdAndAreCounted) {
  const auto tokenizer = spike({{"vocab", {{"<unk>", 1}, {"a", 5}, {"日", 6}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->encode("a日"), (std::vector<TokenId>{5, 1, 1, 1}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{6}).value(), "日");
  EXPECT_NE(tokenizer->description().find("1 keys can match no text"), std::string::npos);
}

TEST(SpikeTokenizer, RefusesABrokenFileInOneSentence) {
  for (const Json& json : {Json{{"algorithm", "length-max"}}, Json{{"vocab", Json::array()}},
                           Json{{"vocab", Json::object()}}, Json{{"vocab", {{"a", "x"}}}},
                           Json{{"vocab", {{"a", 0}}}, {"max_token_len", 0}},
                           Json{{"vocab", {{"a", 0}}}, {"special_tokens", 7}},
                           Json{{"vocab", {{"a", 0}}}, {"special_tokens", {""}}},
                           Json{{"vocab", {{"a", 0}}}, {"algorithm", "length-min"}}}) {
    const auto tokenizer = SpikeTokenizer::parse(json, "spike.json");
    ASSERT_FALSE(tokenizer.ok()) << json;
    EXPECT_EQ(tokenizer.error().message.find("spike.json"), 0u) << tokenizer.error().message;
  }
}

}  // namespace
}  // namespace plumb
