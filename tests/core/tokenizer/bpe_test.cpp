// The fast merging against the slow, obvious one, and the model's own refusals.
#include "core/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <random>

#include "golden.h"

namespace plumb {
namespace {

// Joins the first pair of lowest rank, again and again: the definition.
std::vector<std::string> merge_slowly(
    std::vector<std::string> parts,
    const std::vector<std::pair<std::string, std::string>>& merges) {
  for (;;) {
    size_t best_rank = merges.size(), best = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      for (size_t rank = 0; rank < best_rank; ++rank)
        if (merges[rank] == std::pair{parts[i], parts[i + 1]}) best_rank = rank, best = i;
    if (best_rank == merges.size()) return parts;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, FastMergingEqualsTheDefinition) {
  std::mt19937 random(5);
  for (int round = 0; round < 40; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    Json vocab = {{"a", 0}, {"b", 1}, {"c", 2}}, list = Json::array();
    while (merges.size() < 14) {
      const std::string left = tokens[random() % tokens.size()],
                        right = tokens[random() % tokens.size()];
      // One way to make each token, as training gives it.
      if (vocab.contains(left + right)) continue;
      vocab[left + right] = tokens.size();
      tokens.push_back(left + right);
      merges.emplace_back(left, right);
      list.push_back({left, right});
    }
    const auto model = BpeModel::parse({{"vocab", vocab}, {"merges", list}}, "random");
    ASSERT_TRUE(model.ok()) << model.error().message;
    for (int text = 0; text < 20; ++text) {
      std::vector<std::string> letters(random() % 40);
      std::string whole;
      for (auto& letter : letters) whole += letter = tokens[random() % 3];
      std::vector<TokenId> ids, expected;
      model.value().encode(whole, ids);
      for (const auto& part : merge_slowly(letters, merges)) expected.push_back(vocab[part]);
      EXPECT_EQ(ids, expected) << whole;
    }
  }
}

std::string refusal(const Json& json) {
  const auto model = BpeModel::parse(json, "t.json model");
  return model.ok() ? "accepted" : model.error().message;
}

TEST(Bpe, RefusesWhatItCannotReadAndSaysWhy) {
  const Json vocab = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const auto expect = [](const Json& json, const std::string& part) {
    EXPECT_NE(refusal(json).find(part), std::string::npos) << refusal(json);
    EXPECT_EQ(refusal(json).find("t.json model"), 0u) << refusal(json);
  };
  expect({{"merges", Json::array()}}, "\"vocab\"");
  expect({{"vocab", vocab}}, "\"merges\"");
  expect({{"vocab", {{"a", -1}}}, {"merges", Json::array()}}, "-1");
  expect({{"vocab", {{"a", 1e9}}}, {"merges", Json::array()}}, "\"a\"");
  expect({{"vocab", {{"a", 4194304}}}, {"merges", Json::array()}}, "4194304");
  expect({{"vocab", {{"a", 3}, {"b", 3}}}, {"merges", Json::array()}}, "3 twice");
  expect({{"vocab", vocab}, {"merges", {"b a"}}}, "\"ba\"");
  expect({{"vocab", vocab}, {"merges", {"a  b"}}}, "one space");
  expect({{"vocab", vocab}, {"merges", {"ab"}}}, "one space");
  expect({{"vocab", vocab}, {"merges", {{"a", "b", "c"}}}}, "merge 0");
  expect({{"vocab", vocab}, {"merges", {"a b"}}, {"dropout", 0.1}}, "dropout");
  expect({{"vocab", vocab}, {"merges", {"a b"}}, {"unk_token", "?"}}, "unk_token");
  expect({{"vocab", vocab}, {"merges", {"a b"}}, {"fuse_unk", "yes"}}, "fuse_unk");
  expect({{"vocab", vocab}, {"merges", {"a b"}}, {"surprise", 1}}, "surprise");
  EXPECT_EQ(refusal({{"vocab", vocab}, {"merges", {"a b"}}}), "accepted");
}

TEST(Bpe, UnknownCharactersFuseOnlyWhenAsked) {
  Json json = {{"vocab", {{"a", 0}, {"?", 1}}}, {"merges", Json::array()}, {"unk_token", "?"}};
  const auto ids = [&] {
    std::vector<TokenId> out;
    const auto model = BpeModel::parse(json, "t");
    if (model.ok()) model.value().encode("axya", out);
    return out;
  };
  EXPECT_EQ(ids(), (std::vector<TokenId>{0, 1, 1, 0}));
  json["fuse_unk"] = true;
  EXPECT_EQ(ids(), (std::vector<TokenId>{0, 1, 0}));
  json.erase("unk_token");
  EXPECT_EQ(ids(), (std::vector<TokenId>{0, 0}));
}

TEST(Bpe, PrefixAndSuffixMarkThePlaceInTheWord) {
  const Json json = {{"vocab", {{"a", 0}, {"##b", 1}, {"##c</w>", 2}, {"a</w>", 3}, {"ab", 4}}},
                     {"merges", {"a ##b"}},
                     {"continuing_subword_prefix", "##"},
                     {"end_of_word_suffix", "</w>"}};
  const auto model = BpeModel::parse(json, "t");
  ASSERT_TRUE(model.ok()) << model.error().message;
  std::vector<TokenId> ids;
  model.value().encode("abc", ids);
  model.value().encode("a", ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{4, 2, 3}));
}

}  // namespace
}  // namespace plumb
