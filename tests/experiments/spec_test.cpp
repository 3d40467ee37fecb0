#include "experiments/spec.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "experiments/plan.h"

namespace plumb {
namespace {

TEST(ParseIntList, TakesListsAndRangesInOrder) {
  EXPECT_EQ(parse_int_list("1,2,4..8,64", "--num-steps", 0, 100).value(), (std::vector<int>{1, 2, 4, 5, 6, 7, 8, 64}));
  EXPECT_EQ(parse_int_list("0", "--num-steps", 0, 100).value(), std::vector<int>{0});
}

TEST(ParseIntList, RefusesTheRestInOneSentence) {
  for (const char* text : {"", "abc", "-1", "1,,2", "1e3", "8..4", "1,1", "1000000000", "1..", "..4", "3.5", "99999999999999999999", " 1"}) {
    const auto result = parse_int_list(text, "--num-steps", 0, 100000);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_NE(result.error().message.find("--num-steps"), std::string::npos) << text;
  }
}

TEST(SweepSpec, SurvivesItsOwnJson) {
  SweepSpec spec;
  spec.models = {"a", "b"};
  spec.texts = {"t"};
  spec.num_steps = {1, 3};
  spec.seeds = {1, 18446744073709551615ULL};
  spec.init_scale = 0.25;
  spec.lags = {0, 2};
  spec.db = "x.db";
  ASSERT_TRUE(spec.resolve().ok());
  const auto back = spec_from_json(spec_to_json(spec), "spec");
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(spec_to_json(back.value()), spec_to_json(spec));
}

TEST(SweepSpec, NamesUnknownKeysAndWrongTypes) {
  const auto failure = [](const char* text) {
    const auto result = spec_from_json(Json::parse(text), "s.json");
    return result.ok() ? std::string("ok") : result.error().message;
  };
  EXPECT_EQ(failure(R"({"model": "m", "num-steps": "1,2..4", "seed": 3})"), "ok");
  EXPECT_NE(failure(R"({"modle": "m"})").find("unknown key \"modle\""), std::string::npos);
  EXPECT_NE(failure(R"({"window": "wide"})").find("\"window\""), std::string::npos);
  EXPECT_NE(failure(R"({"num_steps": [1.5]})").find("\"num_steps\""), std::string::npos);
  EXPECT_NE(failure(R"({"models": [1]})").find("\"models\""), std::string::npos);
  EXPECT_NE(failure("[]").find("JSON object"), std::string::npos);
}

TEST(SweepSpec, ChoosesSequentialScoringWhereACacheActs) {
  SweepSpec spec;
  spec.models = {"m"};
  spec.texts = {"t"};
  spec.db = "x.db";
  SweepSpec cached = spec;
  cached.caches = {"latest"};
  ASSERT_TRUE(spec.resolve().ok());
  ASSERT_TRUE(cached.resolve().ok());
  EXPECT_EQ(spec.scoring, "parallel");
  EXPECT_EQ(cached.scoring, "sequential");
  cached.scoring = "parallel";
  EXPECT_FALSE(cached.resolve().ok());
}

TEST(PlanPasses, IsTheGridWithModelsOutermost) {
  SweepSpec spec;
  spec.models = {"a", "b"};
  spec.texts = {"t", "u"};
  spec.seeds = {0, 1};
  const auto passes = plan_passes(spec);
  ASSERT_EQ(passes.size(), 8u);
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(passes[i].model, i < 4 ? "a" : "b");
}

TEST(ParseRecord, ReadsLatentSelections) {
  const auto plan = parse_record("latents:0..2+9,all,f32");
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan.value().latents.positions, (std::vector<int>{0, 1, 2, 9}));
  EXPECT_TRUE(plan.value().latents.steps.empty());
  EXPECT_FALSE(plan.value().latents.half);
  for (const char* text : {"latents:", "latents:1,2,f64", "latents:1,2,f16,3", "latents!"}) EXPECT_FALSE(parse_record(text).ok()) << text;
}

}  // namespace
}  // namespace plumb
