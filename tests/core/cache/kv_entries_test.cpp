// The closed formula for KV entries is what a cache really holds.
#include <gtest/gtest.h>

#include "tests/core/cache/cache_driver.h"

namespace plumb {
namespace {

void check(const std::string& name, CacheIndex index, const LayerCounts& layers, int depth) {
  SCOPED_TRACE(fmt::format("{} {}/{}/{} depth {}", name, layers.n_prelude, layers.n_core,
                           layers.n_coda, depth));
  const auto rules = policy(name, layers, index, std::max(depth, 1));
  CacheDriver driver(layers, rules);
  constexpr int kPrompt = 3, kDecoded = 2;
  ASSERT_EQ(error_of(driver.call(kPrompt, depth)), "");
  const int64_t prompt = rules->entries_per_token(depth, KvPhase::kPrefill);
  EXPECT_EQ(static_cast<int64_t>(driver.cache().entries()), kPrompt * prompt);
  for (int i = 0; i < kDecoded; ++i) ASSERT_EQ(error_of(driver.call(1, depth)), "");
  const auto decoded = kv_entries_per_token(name, index, layers, depth);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(static_cast<int64_t>(driver.cache().entries()),
            kPrompt * prompt + kDecoded * decoded.value());
  EXPECT_EQ(driver.cache().bytes(), driver.cache().entries() * 2 * CacheDriver::kDim * 4);
}

const int kDepths[] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 32};

TEST(KvEntries, StoredBytesEqualTheFormula) {
  for (const LayerCounts& layers : shapes())
    for (const int depth : kDepths)
      for (const char* name :
           {"full", "latest", "available", "always-last", "skip", "randomized", "compress-s1",
            "compress-s3", "latest-compress-s16", "compress-r1", "compress-r3", "compress-anchor",
            "compress-first4", "compress-last4", "compress-stride4", "compress-boundaries",
            "decode-last", "decode-averaged", "decode-first"})
        check(name, CacheIndex::kRecurrence, layers, depth);
}

TEST(KvEntries, HoldsForThePublicArithmetic) {
  for (const LayerCounts& layers : shapes())
    for (const int depth : kDepths)
      for (const char* name : {"full", "latest-m4", "compress-s1", "compress-s3", "compress-s16",
                               "compress-r1", "compress-r3", "compress-r4", "compress-anchor"})
        check(name, CacheIndex::kUpstream, layers, depth);
}

TEST(KvEntries, TheTwoMeaningsOfS16) {
  const LayerCounts layers{2, 4, 2};
  EXPECT_EQ(kv_entries_per_token("compress-s16", CacheIndex::kRecurrence, layers, 32).value(),
            2 + 16 * 4 + 2);
  EXPECT_EQ(kv_entries_per_token("compress-s16", CacheIndex::kUpstream, layers, 32).value(), 20);
  EXPECT_EQ(kv_entries_per_token("full", CacheIndex::kUpstream, layers, 32).value(), 132);
  EXPECT_FALSE(kv_entries_per_token("bogus", CacheIndex::kUpstream, layers, 32).ok());
}

}  // namespace
}  // namespace plumb
