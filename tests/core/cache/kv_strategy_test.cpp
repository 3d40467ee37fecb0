#include "core/cache/kv_strategy.h"

#include <gtest/gtest.h>

#include "core/cache/kv_policies.h"

namespace plumb {
namespace {

constexpr LayerCounts kShape{2, 4, 2};

std::string canonical(const std::string& name, CacheIndex index = CacheIndex::kRecurrence,
                      int n_core = 4) {
  const auto made = make_kv_policy(name, index, {2, n_core, 2}, 0, 8);
  return made.ok() ? made.value()->name() : "error: " + made.error().message;
}

TEST(KvStrategy, EveryListedNameIsAccepted) {
  int lookups = 0, compressions = 0;
  for (const KvNameHelp& help : kv_strategy_help()) {
    EXPECT_FALSE(help.meaning.empty());
    EXPECT_EQ(help.meaning.find('\n'), std::string_view::npos);
    std::string name(help.spelling);
    if (name.ends_with("{n}")) name.replace(name.size() - 3, 3, "3");
    EXPECT_EQ(canonical(name), name);
    lookups += help.kind == KvNameKind::kLookup;
    compressions += help.kind == KvNameKind::kCompression;
    if (help.kind != KvNameKind::kCompression) continue;
    for (const KvNameHelp& lookup : kv_strategy_help()) {
      if (lookup.kind != KvNameKind::kLookup) continue;
      const std::string both = std::string(lookup.spelling) + "-" + name;
      EXPECT_EQ(canonical(both), both);
    }
  }
  EXPECT_EQ(lookups, 6);
  EXPECT_EQ(compressions, 7);
}

TEST(KvStrategy, NamesMeanWhatTheTableSays) {
  const auto parsed =
      parse_kv_strategy("always-last-compress-stride12", CacheIndex::kRecurrence, 4);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().lookup, KvLookup::kAlwaysLast);
  EXPECT_EQ(parsed.value().compression, KvCompression::kStride);
  EXPECT_EQ(parsed.value().n, 12);
  const auto alone = parse_kv_strategy("compress-s16", CacheIndex::kRecurrence, 4);
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(alone.value().lookup, KvLookup::kNone);
  EXPECT_EQ(alone.value().compression, KvCompression::kModulo);
  EXPECT_EQ(parse_kv_strategy("decode-averaged", CacheIndex::kRecurrence, 4).value().reuse,
            KvDecodeReuse::kAveraged);
}

TEST(KvStrategy, UpstreamSpellingsAreAccepted) {
  EXPECT_EQ(canonical("latest-m4"), "latest");
  EXPECT_EQ(canonical("latest-m4-compress-s16"), "latest-compress-s16");
  EXPECT_EQ(canonical("latest-m2", CacheIndex::kRecurrence, 2), "latest");
  EXPECT_EQ(canonical("latest", CacheIndex::kUpstream), "latest-m4");
  EXPECT_EQ(canonical("always-last-m4-compress-s16", CacheIndex::kUpstream),
            "always-last-m4-compress-s16");
  EXPECT_EQ(canonical("skip-compress-s16", CacheIndex::kUpstream), "skip-compress-s16");
}

TEST(KvStrategy, ImpossibleNamesGetASentence) {
  for (const char* name :
       {"", "bogus", "Full", "latest-", "-latest", "latest-m", "latest-m4-", "full-m4", "skip-m4",
        "latest-compress-", "compress-", "latestcompress-s4", "-compress-s4", "compress-x3",
        "compress-anchor3", "decode-last-compress-s4", "decode-", "latest-latest", "compress-s-1"})
    EXPECT_NE(canonical(name).find("is unknown; known: full, latest"), std::string::npos)
        << name << ": " << canonical(name);
  for (const char* name :
       {"compress-s", "compress-s0", "compress-s4-latest", "latest-compress-s4-compress-s4",
        "latest-compress-r99999999999", "compress-first", "compress-s65537", "compress-s4x"})
    EXPECT_NE(canonical(name).find("needs a whole number from 1 to 65536"), std::string::npos)
        << name << ": " << canonical(name);
  EXPECT_EQ(canonical("latest-m3"),
            "error: cache strategy \"latest-m3\": -m3 counts the layers of the core, which has 4; "
            "write latest");
  EXPECT_NE(canonical("latest-m2", CacheIndex::kUpstream, 2).find("write latest-m4"),
            std::string::npos);
}

TEST(KvStrategy, WhatThePublicCodeLacksIsRefusedUnderItsIndex) {
  for (const char* name : {"decode-last", "compress-first4", "latest-compress-boundaries",
                           "compress-stride2", "latest-compress-last2"})
    EXPECT_NE(canonical(name, CacheIndex::kUpstream).find("--cache-index recurrence"),
              std::string::npos)
        << name;
}

TEST(KvStrategy, KeepingTheLastNeedsToKnowTheDepth) {
  const auto made = make_kv_policy("latest-compress-last4", CacheIndex::kRecurrence, kShape, 0);
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().message.find("--num-steps"), std::string::npos);
}

}  // namespace
}  // namespace plumb
