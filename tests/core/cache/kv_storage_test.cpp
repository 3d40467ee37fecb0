#include "core/cache/kv_storage.h"

#include <gtest/gtest.h>

#include "core/base/rng.h"
#include "tests/core/cache/cache_driver.h"

namespace plumb {
namespace {

std::vector<std::string> every_kind_of_strategy() {
  std::vector<std::string> names = {"full",        "latest",     "available",   "always-last",
                                    "skip",        "randomized", "decode-last", "decode-averaged",
                                    "decode-first"};
  for (const char* lookup : {"latest", "always-last", "skip", "randomized", "full"})
    for (const char* compression : {"s2", "r2", "anchor", "first2", "last2", "boundaries"})
      names.push_back(std::string(lookup) + "-compress-" + compression);
  return names;
}

// One random life of a cache: prompts, tokens of any depth, peeked codas, forgotten tails. Returns
// every row of every read, in order, and error sentences.
std::vector<std::vector<float>> random_life(const std::string& name, const LayerCounts& layers,
                                            CacheIndex index, uint32_t life, GatherMode mode,
                                            int64_t* gathered) {
  CacheDriver driver(layers, policy(name, layers, index, 6, 5), mode);
  uint32_t drawn = 0;
  const auto below = [&](uint64_t bound) {
    return static_cast<int>(
        uniform_below({.seed = 11, .stream = RngStream::kBootstrap, .row = life}, drawn++, bound));
  };
  std::vector<std::vector<float>> seen;
  for (int call = 0; call < 24; ++call) {
    const int n = below(4) == 0 ? 1 + below(20) : 1, depth = 1 + below(6);
    driver.extend(n);
    bool failed = false;
    for (const Place& place : driver.places(depth)) {
      for (int look = place.stage == Stage::kCoda ? below(3) : 0; look >= 0 && !failed; --look) {
        const auto read = driver.append(place, n);
        failed = !read.ok();
        if (failed) {
          seen.push_back({static_cast<float>(read.error().message.size())});
          continue;
        }
        for (auto& row : CacheDriver::rows(read.value(), n)) seen.push_back(std::move(row));
        seen.push_back({static_cast<float>(read.value().n_before)});
        if (look > 0) driver.cache().drop_coda(driver.cache().length() - n, n);
      }
      if (failed) break;
    }
    if (failed || below(6) == 0) {
      const int length = driver.cache().length();
      EXPECT_TRUE(
          driver.cache()
              .truncate(failed ? std::max(0, length - n) : below(static_cast<uint64_t>(length) + 1))
              .ok());
    }
  }
  *gathered += driver.cache().rows_gathered();
  return seen;
}

TEST(KvCache, IncrementalGatheringReadsWhatGatheringFromScratchReads) {
  for (const auto index : {CacheIndex::kRecurrence, CacheIndex::kUpstream})
    for (const std::string& name : every_kind_of_strategy()) {
      int64_t fast = 0, slow = 0;
      if (index == CacheIndex::kUpstream && !make_kv_policy(name, index, {2, 4, 2}, 0, 6).ok())
        continue;
      for (const LayerCounts& layers :
           {LayerCounts{2, 4, 2}, LayerCounts{4, 3, 1}, LayerCounts{1, 2, 1}, LayerCounts{1, 2, 0}})
        for (uint32_t life = 0; life < 2; ++life) {
          SCOPED_TRACE(
              fmt::format("{} {}/{} life {}", name, layers.n_prelude, layers.n_core, life));
          ASSERT_EQ(random_life(name, layers, index, life, GatherMode::kIncremental, &fast),
                    random_life(name, layers, index, life, GatherMode::kFromScratch, &slow));
        }
      EXPECT_LE(fast, slow) << name;
    }
}

// A prompt that stopped at 4 of 32 recurrences, then decoding at full depth.
TEST(KvCache, ADecodeStepGathersNoMoreThanTheLastTokens) {
  const LayerCounts layers{2, 2, 2};
  for (const char* name :
       {"latest", "available", "always-last", "skip", "full", "decode-averaged", "decode-first"}) {
    CacheDriver driver(layers, policy(name, layers));
    ASSERT_TRUE(driver.call(200, 4).ok());
    ASSERT_TRUE(driver.call(1, 32).ok());
    ASSERT_TRUE(driver.call(1, 32).ok());
    for (const int depth : {32, 7, 32}) {
      const int64_t before = driver.cache().rows_gathered();
      ASSERT_TRUE(driver.call(1, depth).ok());
      // Reads: 32 * 2; of each, the own token and those since the slot was last read.
      EXPECT_LE(driver.cache().rows_gathered() - before, 32 * 2 * 3) << name << " depth " << depth;
    }
  }
}

TEST(KvCache, NothingIsGatheredWhenNothingIsMissing) {
  const LayerCounts layers{2, 4, 2};
  for (const char* name :
       {"full", "latest", "always-last", "randomized", "latest-compress-s2", "decode-last"}) {
    CacheDriver driver(layers, policy(name, layers));
    ASSERT_TRUE(driver.call(30, 6).ok());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(driver.call(1, 6).ok());
    EXPECT_EQ(driver.cache().rows_gathered(), 0) << name;
  }
}

TEST(KvCache, APeekedCodaLeavesNothingUntilKept) {
  const LayerCounts layers{1, 1, 2};
  CacheDriver driver(layers, policy("full", layers));
  ASSERT_TRUE(driver.call(3, 1).ok());
  const size_t entries = driver.cache().entries();
  driver.extend(1);
  ASSERT_TRUE(driver.append({Stage::kPrelude, 0, 0}, 1).ok());
  ASSERT_TRUE(driver.append({Stage::kCoda, 0, 0}, 1).ok());
  ASSERT_TRUE(driver.append({Stage::kCoda, 1, 0}, 1).ok());
  EXPECT_EQ(driver.cache().entries(), entries + 3);
  driver.cache().drop_coda(3, 1);
  EXPECT_EQ(driver.cache().entries(), entries + 1);
  driver.cache().keep_coda(3, 1, 0);
  EXPECT_EQ(driver.cache().entries(), entries + 3);
}

// Whatever the format, what is read is what was written, and a mean is one.
TEST(KvCache, FormatsDifferInLayoutAndBytesAlone) {
  const LayerCounts layers{1, 1, 0};
  for (const KvFormat& format : {KvFormat{1, 6}, KvFormat{3, 2}, KvFormat{2, 3, true}}) {
    KvCache cache(layers, format, policy("decode-averaged", layers));
    const auto value_at = [&](const KvRead& read, size_t row, size_t c) {
      const size_t head = c / format.head_dim, i = c % format.head_dim;
      if (!format.rounded)
        return head_of<float>(read.view, head, format.head_dim)
            .values[row * head_of<float>(read.view, head, format.head_dim).value_step + i];
      const auto kv = head_of<BF16>(read.view, head, format.head_dim);
      return f32_from_bf16(kv.values[row * kv.value_step + i]);
    };
    // A number that bf16 holds.
    const auto written = [](int pos, size_t c) {
      return static_cast<float>(pos % 16) + static_cast<float>(c) / 8;
    };
    for (int pos = 0; pos < 40; ++pos) {
      const int32_t id = 0;
      cache.extend({&id, 1});
      Mat<float> row(1, 6);
      for (size_t c = 0; c < 6; ++c) row(0, c) = written(pos, c);
      const auto read = cache.append({Stage::kPrelude, 0, 0}, pos, row, row);
      ASSERT_TRUE(read.ok());
      for (int p = 0; p <= pos; ++p)
        for (size_t c = 0; c < 6; ++c)
          ASSERT_EQ(value_at(read.value(), static_cast<size_t>(p), c), written(p, c));
      // The shared entry of the core: the mean of two recurrences.
      ASSERT_TRUE(cache.append({Stage::kCore, 0, 0}, pos, row, row).ok());
      for (size_t c = 0; c < 6; ++c) row(0, c) += 2;
      ASSERT_TRUE(cache.append({Stage::kCore, 0, 1}, pos, row, row).ok());
      if (pos == 0) continue;
      const auto core = cache.append({Stage::kCore, 0, 2}, pos, row, row);
      ASSERT_TRUE(core.ok());
      for (size_t c = 0; c < 6; ++c) EXPECT_EQ(value_at(core.value(), 0, c), written(0, c) + 1);
    }
    EXPECT_EQ(cache.bytes(), cache.entries() * format.bytes());
  }
}

// Tokens that ran too far and were taken back leave what those that stopped in time leave.
TEST(KvCache, StepsTakenBackNeverWere) {
  for (const std::string& name : every_kind_of_strategy())
    for (const LayerCounts& layers : {LayerCounts{2, 4, 2}, LayerCounts{1, 2, 1}}) {
      SCOPED_TRACE(fmt::format("{} {}/{}", name, layers.n_prelude, layers.n_core));
      CacheDriver ran_ahead(layers, policy(name, layers, CacheIndex::kRecurrence, 9, 5)),
          plain(layers, policy(name, layers, CacheIndex::kRecurrence, 9, 5));
      ASSERT_TRUE(ran_ahead.call(3, 5).ok());
      ASSERT_TRUE(plain.call(3, 5).ok());
      for (const int depth : {3, 5, 1, 4}) {
        const Status status = plain.call(1, depth);
        ran_ahead.extend(1);
        Status ahead = ok_status();
        for (const Place& place : ran_ahead.places(9)) {
          if (place.stage == Stage::kCoda) break;
          if (place == Place{Stage::kCore, 0, 1}) ran_ahead.cache().begin_run_ahead();
          const auto read = ran_ahead.append(place, 1);
          if (!read.ok()) break;  // further than a token may go
        }
        ran_ahead.cache().take_back_steps(depth);
        for (int j = 0; j < layers.n_coda; ++j)
          for (const int step : {depth, 9})
            ASSERT_TRUE(ran_ahead.append({Stage::kCoda, j, step}, 1).ok());
        ran_ahead.cache().keep_coda(ran_ahead.cache().length() - 1, 1, depth);
        EXPECT_EQ(ran_ahead.cache().entries(), plain.cache().entries());
        if (!status.ok()) break;
      }
      for (const Place& place : plain.places(5)) {
        if (place == Place{Stage::kPrelude, 0, 0}) {
          plain.extend(1);
          ran_ahead.extend(1);
        }
        const auto want = plain.append(place, 1), got = ran_ahead.append(place, 1);
        ASSERT_EQ(want.ok(), got.ok());
        if (!want.ok()) break;
        EXPECT_EQ(CacheDriver::rows(got.value(), 1), CacheDriver::rows(want.value(), 1));
      }
    }
}

TEST(KvCache, TruncatingForgetsEverySlotsTail) {
  const LayerCounts layers{2, 4, 2};
  for (const std::string& name : every_kind_of_strategy()) {
    CacheDriver driver(layers, policy(name, layers, CacheIndex::kRecurrence, 6)),
        shorter(layers, policy(name, layers, CacheIndex::kRecurrence, 6));
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(driver.call(2, i % 3 + 2).ok());
      if (i < 3) {
        ASSERT_TRUE(shorter.call(2, i % 3 + 2).ok());
      }
    }
    ASSERT_TRUE(driver.cache().truncate(6).ok());
    EXPECT_EQ(driver.cache().length(), 6);
    EXPECT_EQ(driver.cache().entries(), shorter.cache().entries()) << name;
    driver.extend(1);
    shorter.extend(1);
    std::vector<std::vector<std::vector<float>>> a, b;
    for (const Place& place : driver.places(6)) {
      a.push_back(CacheDriver::rows(driver.append(place, 1).value(), 1));
      b.push_back(CacheDriver::rows(shorter.append(place, 1).value(), 1));
    }
    EXPECT_EQ(a, b) << name;
  }
}

TEST(KvCacheDeathTest, WritingAPositionTwiceWithoutCompressionIsOurMistake) {
  const LayerCounts layers{2, 4, 2};
  const Place core{Stage::kCore, 0, 0}, coda{Stage::kCoda, 0, 0};
  CacheDriver plain(layers, policy("latest", layers)),
      compressed(layers, policy("compress-s1", layers));
  ASSERT_TRUE(plain.call(3, 2).ok());
  ASSERT_TRUE(compressed.call(3, 2).ok());
  EXPECT_TRUE(plain.append(coda, 1).ok());
  EXPECT_TRUE(compressed.append(core, 1).ok());
  EXPECT_DEATH((void)plain.append(core, 1), "overwrites");
}

}  // namespace
}  // namespace plumb
