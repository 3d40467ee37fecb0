// What a legend says: only what tells settings apart.
#include "analysis/queries.h"
#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

std::vector<std::string> labels_of(const std::vector<Setting>& settings) {
  std::vector<std::string> labels;
  for (const Series& series : split_by_setting(settings).series) labels.push_back(series.label);
  return labels;
}
using Labels = std::vector<std::string>;

TEST(SplitBySetting, OneSeriesHasNoLabel) {
  EXPECT_EQ(labels_of({made_up_setting(), made_up_setting()}), Labels{""});
  EXPECT_TRUE(split_by_setting({}).series.empty());
}

TEST(SplitBySetting, WhatFollowsFromTheModelIsNotRepeated) {
  Setting act = made_up_setting("act");
  act.state = "", act.segment_len = 128, act.family = "act";
  EXPECT_EQ(labels_of({made_up_setting("april"), act}), (Labels{"april", "act"}));
}

TEST(SplitBySetting, EveryFieldThatDecidesNumbersTellsRowsApart) {
  const Setting base = made_up_setting();
  std::vector<Setting> others(17, base);
  others[0].model_name = "b", others[1].model_sha256 = "f00dfeed11", others[2].text_name = "b";
  others[3].text_sha256 = "cafebabe22", others[4].window = 1, others[5].stride = 1;
  others[6].scoring = "sequential", others[7].seed = 9, others[8].state = "zero";
  others[9].init_scale = 0.5, others[10].dtype = "bf16", others[11].cache = "latest";
  others[12].cache_index = "upstream", others[13].rule = "kl<0.1", others[14].segment_len = 4;
  others[15].mem_len = 4, others[16].extra_json = "{\"a\":1}";
  for (const Setting& other : others) {
    const SeriesSplit split = split_by_setting({base, other, base});
    ASSERT_EQ(split.series.size(), 2u) << split.varies;
    EXPECT_EQ(split.series[0].rows, (std::vector<size_t>{0, 2}));
    EXPECT_NE(split.series[0].label, split.series[1].label);
    EXPECT_FALSE(split.varies.empty());
  }
  EXPECT_EQ(labels_of({base, others[1]})[1], "weights f00dfeed");
  EXPECT_EQ(labels_of({base, others[13]}), (Labels{"fixed depth", "kl<0.1"}));
}

TEST(SplitBySetting, ShortenedTextsAreToldByTheirTokens) {
  Setting part = made_up_setting();
  part.extra_json = "{\"max_tokens\":600}";
  const SeriesSplit split = split_by_setting({made_up_setting(), part});
  EXPECT_EQ(split.varies, "max_tokens");
  EXPECT_EQ(labels_of({made_up_setting(), part}), (Labels{"all tokens", "600 tokens"}));
}

TEST(SplitBySetting, SubtitleHoldsWhatAllShare) {
  Setting other = made_up_setting();
  other.seed = 1;
  EXPECT_EQ(split_by_setting({made_up_setting(), other}).common,
            "april-70m · wiki · f32 · state like-init · window 256 · stride 128");
}

}  // namespace
}  // namespace plumb
