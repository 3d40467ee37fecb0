#include "core/cache/decode_policy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/cache/cache_driver.h"

namespace plumb {
namespace {

// Prompt, then decoded tokens, then another prompt, then decoded ones; `decoded` and depth by
// token.
struct Call {
  int n, depth;
};
const Call kCalls[] = {{4, 3}, {1, 3}, {1, 5}, {1, 2}, {3, 4}, {1, 6}, {2, 1}, {1, 4}};

void check_reads(const std::string& name, bool last, const LayerCounts& layers, GatherMode mode) {
  CacheDriver driver(layers, policy(name, layers), mode);
  std::vector<Call> token;  // n: rows of the call it came with
  for (const Call& call : kCalls) {
    const int pos0 = driver.cache().length();
    ASSERT_EQ(
        error_of(driver.call(call.n, call.depth,
                             [&](const Place& place, const std::vector<Entry>& seen) {
                               ASSERT_EQ(seen.size(), token.size() + static_cast<size_t>(call.n));
                               for (const Entry& entry : seen) {
                                 Place source = place;
                                 if (place.stage == Stage::kCore && entry.pos < pos0) {
                                   const Call& written = token[static_cast<size_t>(entry.pos)];
                                   const bool own_recurrence =
                                       call.n > 1 && written.n > 1 && place.step < written.depth;
                                   if (!own_recurrence) source.step = last ? written.depth - 1 : 0;
                                 }
                                 EXPECT_EQ(entry.index, driver.index_of(source))
                                     << name << " position " << entry.pos << " step " << place.step;
                               }
                             })),
        "");
    for (int i = 0; i < call.n; ++i) token.push_back(call);
  }
}

TEST(DecodeReuse, LastAndFirstReadWhatTheySay) {
  for (const LayerCounts& layers : shapes())
    for (const auto mode : {GatherMode::kIncremental, GatherMode::kFromScratch}) {
      check_reads("decode-last", true, layers, mode);
      check_reads("decode-first", false, layers, mode);
    }
}

TEST(DecodeReuse, AveragedReadsTheMeanOverATokensRecurrences) {
  for (const LayerCounts& layers : shapes()) {
    CacheDriver driver(layers, policy("decode-averaged", layers));
    std::vector<Call> token;
    for (const Call& call : kCalls) {
      const int pos0 = driver.cache().length();
      driver.extend(call.n);
      for (const Place& place : driver.places(call.depth)) {
        const auto read = driver.append(place, call.n);
        ASSERT_TRUE(read.ok()) << read.error().message;
        const auto rows = CacheDriver::rows(read.value(), call.n);
        ASSERT_EQ(rows.size(), static_cast<size_t>(pos0 + call.n));
        for (int pos = 0; pos < pos0 + call.n; ++pos) {
          float want = static_cast<float>(driver.index_of(place));
          if (place.stage == Stage::kCore && pos < pos0) {
            const Call& written = token[static_cast<size_t>(pos)];
            if (call.n == 1 || written.n == 1 || place.step >= written.depth)
              want = static_cast<float>(layers.n_prelude + place.block) +
                     static_cast<float>((written.depth - 1) * layers.n_core) / 2.0F;
          }
          const auto& row = rows[static_cast<size_t>(pos)];
          EXPECT_NEAR(row[0], want, 1e-5 * (1 + std::abs(want)))
              << "position " << pos << " step " << place.step;
          EXPECT_NEAR(row[3], -want, 1e-5 * (1 + std::abs(want)));
          EXPECT_EQ(row[1], static_cast<float>(pos));
        }
      }
      for (int i = 0; i < call.n; ++i) token.push_back(call);
    }
  }
}

TEST(DecodeReuse, ADecodedTokenCostsOneRecurrence) {
  const LayerCounts layers{4, 4, 4};
  for (const char* name : {"decode-last", "decode-averaged", "decode-first"})
    for (const int depth : {1, 4, 32})
      EXPECT_EQ(kv_entries_per_token(name, CacheIndex::kRecurrence, layers, depth).value(), 12)
          << name;
}

TEST(DecodeReuse, APromptInPartsSeesWhatAWholePromptSees) {
  const LayerCounts layers{2, 3, 1};
  for (const char* name : {"decode-last", "decode-averaged", "decode-first"}) {
    CacheDriver whole(layers, policy(name, layers)), parts(layers, policy(name, layers));
    std::vector<std::vector<Entry>> a, b;
    ASSERT_TRUE(whole.call(6, 4, [&](const Place&, const auto& seen) { a.push_back(seen); }).ok());
    ASSERT_TRUE(parts.call(2, 4).ok());
    ASSERT_TRUE(parts.call(4, 4, [&](const Place&, const auto& seen) { b.push_back(seen); }).ok());
    EXPECT_EQ(a, b) << name;
  }
}

TEST(DecodeReuse, ATokenWithoutRecurrencesIsASentence) {
  const LayerCounts layers{2, 4, 2};
  CacheDriver driver(layers, policy("decode-averaged", layers));
  ASSERT_TRUE(driver.call(1, 0).ok());
  EXPECT_EQ(error_of(driver.call(1, 2)),
            "cache strategy \"decode-averaged\" cannot find position 0 for core layer 0, "
            "recurrence 0: that token left no entry for this layer");
}

}  // namespace
}  // namespace plumb
