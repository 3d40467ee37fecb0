// Lookups and compressions by what a reader gets, for every shape.
#include "core/cache/slot_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/core/cache/cache_driver.h"

namespace plumb {
namespace {

const char* const kLookups[] = {"full", "latest", "available", "always-last", "skip", "randomized"};
const char* const kCompressions[] = {"s1",    "s2",      "s3",        "s5",     "r2",
                                     "r3",    "anchor",  "first1",    "first3", "last1",
                                     "last3", "stride2", "boundaries"};

// The recurrence whose entry a token of depth `depth` leaves where recurrence i looks: defined by
// what each compression promises, not by slots.
int kept_recurrence(const std::string& compression, int i, int depth) {
  const int last = depth - 1;
  if (compression == "anchor") return i < 8 ? i : last;
  if (compression == "boundaries") return i == 0 ? 0 : last;
  const size_t digit = compression.find_first_of("0123456789");
  const std::string kind = compression.substr(0, digit);
  const int n = std::stoi(compression.substr(digit));
  if (kind == "s") return i + (last - i) / n * n;
  if (kind == "r" || kind == "stride") return std::min(last, i / n * n + n - 1);
  if (kind == "first") return i < n ? i : last;
  if (kind == "last") return i >= depth - n ? i : depth - n - 1;
  ADD_FAILURE() << compression;
  return -1;
}

TEST(Compression, KeepsThePromisedRecurrenceAtFixedDepth) {
  for (const LayerCounts& layers : shapes())
    for (const std::string compression : kCompressions)
      for (const int depth : {1, 2, 3, 4, 7, 12}) {
        SCOPED_TRACE(
            fmt::format("{} at {} of {}/{}", compression, depth, layers.n_prelude, layers.n_core));
        CacheDriver driver(
            layers, policy("compress-" + compression, layers, CacheIndex::kRecurrence, depth));
        for (const int n : {3, 1, 2, 1}) {
          const int pos0 = driver.cache().length();
          ASSERT_EQ(error_of(driver.call(n, depth,
                                         [&](const Place& place, const std::vector<Entry>& seen) {
                                           ASSERT_EQ(seen.size(), static_cast<size_t>(pos0 + n));
                                           for (const Entry& entry : seen) {
                                             Place source = place;
                                             if (place.stage == Stage::kCore && entry.pos < pos0)
                                               source.step =
                                                   kept_recurrence(compression, place.step, depth);
                                             EXPECT_EQ(entry.index, driver.index_of(source))
                                                 << "position " << entry.pos;
                                           }
                                         })),
                    "");
        }
      }
}

const std::vector<int> kMixedDepths = {3, 1, 4, 2, 6, 1, 3, 9, 5, 12, 2, 10};

TEST(Lookup, StaysInItsOwnLayerForEveryShapeAndCompression) {
  for (const LayerCounts& layers : shapes())
    for (const std::string lookup : kLookups)
      for (const std::string compression : kCompressions) {
        SCOPED_TRACE(fmt::format("{}-compress-{} {}/{}", lookup, compression, layers.n_prelude,
                                 layers.n_core));
        CacheDriver driver(layers, policy(lookup + "-compress-" + compression, layers,
                                          CacheIndex::kRecurrence, 12));
        int n = 4;
        for (const int depth : kMixedDepths) {
          ASSERT_EQ(error_of(driver.call(n, depth,
                                         [&](const Place& place, const std::vector<Entry>& seen) {
                                           for (const Entry& entry : seen) {
                                             if (place.stage != Stage::kCore) {
                                               EXPECT_EQ(entry.index, driver.index_of(place));
                                             } else {
                                               EXPECT_EQ(
                                                   (entry.index - layers.n_prelude) % layers.n_core,
                                                   place.block);
                                             }
                                           }
                                         })),
                    "");
          n = 1;
        }
      }
}

// What each lookup promises, without compression, from the depths alone.
TEST(Lookup, FindsThePromisedRecurrence) {
  for (const LayerCounts& layers : shapes())
    for (const std::string lookup : {"full", "latest", "available", "always-last", "skip"}) {
      SCOPED_TRACE(fmt::format("{} {}/{}", lookup, layers.n_prelude, layers.n_core));
      CacheDriver driver(layers, policy(lookup, layers));
      std::vector<int> depth_of;
      int n = 4;
      for (const int depth : kMixedDepths) {
        ASSERT_EQ(error_of(driver.call(
                      n, depth,
                      [&](const Place& place, const std::vector<Entry>& seen) {
                        if (place.stage != Stage::kCore) return;
                        const int i = place.step;
                        const bool missing = std::any_of(depth_of.begin(), depth_of.end(),
                                                         [&](int d) { return d <= i; });
                        std::vector<Entry> want;
                        for (int pos = 0; pos < static_cast<int>(depth_of.size()) + n; ++pos) {
                          const int reached = pos < static_cast<int>(depth_of.size())
                                                  ? depth_of[static_cast<size_t>(pos)]
                                                  : i + 1;
                          Place source = place;
                          if (reached <= i && (lookup == "full" || lookup == "skip")) continue;
                          source.step = lookup == "always-last" && missing
                                            ? reached - 1
                                            : std::min(reached - 1, i);
                          want.push_back({driver.index_of(source), pos});
                        }
                        EXPECT_EQ(seen, want) << "recurrence " << i;
                      })),
                  "");
        for (int k = 0; k < n; ++k) depth_of.push_back(depth);
        n = 1;
      }
    }
}

using Reads = std::vector<std::vector<Entry>>;

Reads all_reads(const std::string& name, const LayerCounts& layers, const std::vector<int>& depths,
                uint64_t seed = 0, CacheIndex index = CacheIndex::kRecurrence) {
  CacheDriver driver(layers, policy(name, layers, index, 12, seed));
  Reads reads;
  int n = 3;
  for (const int depth : depths) {
    EXPECT_EQ(error_of(driver.call(
                  n, depth,
                  [&](const Place&, const std::vector<Entry>& seen) { reads.push_back(seen); })),
              "");
    n = 1;
  }
  return reads;
}

TEST(Lookup, AllAgreeWhenNothingExitsEarlyAndNothingIsCompressed) {
  for (const LayerCounts& layers : shapes())
    for (const auto index : {CacheIndex::kRecurrence, CacheIndex::kUpstream}) {
      const std::vector<int> depths(6, 5);
      const Reads full = all_reads("full", layers, depths, 0, index);
      for (const std::string lookup : kLookups)
        EXPECT_EQ(all_reads(lookup, layers, depths, 3, index), full) << lookup;
    }
}

TEST(Lookup, RandomizedIsAFunctionOfItsSeedAndSpreadsOverEarlierRecurrences) {
  const LayerCounts layers{2, 4, 2};
  const Reads a = all_reads("randomized", layers, kMixedDepths, 1);
  EXPECT_EQ(all_reads("randomized", layers, kMixedDepths, 1), a);
  EXPECT_NE(all_reads("randomized", layers, kMixedDepths, 2), a);

  // 300 tokens of depth 4, then one that is missing below: each of the 4 recurrences about equally.
  CacheDriver driver(layers, policy("randomized", layers, CacheIndex::kRecurrence, 0, 7));
  ASSERT_EQ(error_of(driver.call(300, 4)), "");
  std::map<int, int> counts;
  ASSERT_EQ(error_of(driver.call(1, 5,
                                 [&](const Place& place, const std::vector<Entry>& seen) {
                                   if (place.stage == Stage::kCore && place.step == 4)
                                     for (const Entry& entry : seen)
                                       if (entry.pos < 300) ++counts[(entry.index - 2) / 4];
                                 })),
            "");
  ASSERT_EQ(counts.size(), 4U);
  for (const auto& [step, count] : counts)
    EXPECT_NEAR(count, 300, 5 * 15) << step;  // 5 sigma of 1200 draws
}

std::string first_error(const std::string& name, CacheIndex index, const LayerCounts& layers,
                        const std::vector<int>& depths) {
  CacheDriver driver(layers, policy(name, layers, index));
  int n = 2;
  for (const int depth : depths) {
    if (const Status status = driver.call(n, depth); !status.ok()) return status.error().message;
    n = 1;
  }
  return "";
}

TEST(Upstream, CombinationsThatCannotWorkSayWhy) {
  const LayerCounts layers{2, 4, 2};
  const auto up = CacheIndex::kUpstream;
  EXPECT_EQ(first_error("compress-s16", up, layers, {3, 1, 4}),
            "cache strategy \"compress-s16\" (--cache-index upstream) cannot find position 2 in "
            "slot 6 (core layer 0, "
            "recurrence 1): that token did not write it, and compress-s16 alone does not say what "
            "to read instead; "
            "put a lookup before it, as in latest-compress-s16");
  EXPECT_EQ(first_error("compress-s4", up, layers, {3, 1, 4}), "");   // one recurrence fills it
  EXPECT_EQ(first_error("compress-s16", up, layers, {4, 7, 5}), "");  // four do
  for (const char* name : {"compress-r4", "compress-anchor"})
    EXPECT_NE(first_error(name, up, layers, {3, 1, 4}).find("alone does not say"),
              std::string::npos)
        << name;
  EXPECT_NE(
      first_error("latest-m4-compress-r4", up, layers, {3, 1, 4}).find("cover all four residues"),
      std::string::npos);
  EXPECT_EQ(first_error("latest-m4-compress-r4", up, layers, {4, 5, 9}), "");
  EXPECT_EQ(first_error("latest-m4-compress-r2", up, layers, {2, 5, 2, 7}), "");
  // Another core width: the class modulo 4 skips the layer's own entries.
  EXPECT_NE(first_error("latest-m4", up, {1, 2, 1}, {3, 1, 4}).find("cannot find position"),
            std::string::npos);
  // "full" is a lookup only as a whole name.
  EXPECT_NE(first_error("full-compress-s16", up, layers, {3, 1, 4}).find("cannot find position"),
            std::string::npos);
}

TEST(Recurrence, TheSameCombinationsWorkWhereTheyCan) {
  for (const LayerCounts& layers : shapes()) {
    const auto index = CacheIndex::kRecurrence;
    EXPECT_EQ(first_error("latest-compress-r4", index, layers, {3, 1, 4}), "");
    EXPECT_EQ(first_error("full-compress-s16", index, layers, {3, 1, 4}), "");
    EXPECT_EQ(first_error("compress-s1", index, layers, {3, 1, 4}), "");
    EXPECT_NE(
        first_error("compress-s16", index, layers, {3, 1, 4}).find("as in latest-compress-s16"),
        std::string::npos);
    // A token of depth 0 has nothing to offer.
    EXPECT_NE(first_error("latest", index, layers, {0, 1}).find("ran too few recurrences"),
              std::string::npos);
    EXPECT_EQ(first_error("skip", index, layers, {0, 1}), "");
  }
}

TEST(Recurrence, AgreesWithUpstreamOnThePublicShape) {
  const LayerCounts layers{2, 4, 2};
  for (const std::string lookup : kLookups) {
    if (lookup == "randomized") continue;
    for (const int n : {1, 2, 4}) {
      if (lookup == "full") continue;
      EXPECT_EQ(all_reads(fmt::format("{}-compress-s{}", lookup, n), layers, kMixedDepths),
                all_reads(fmt::format("{}-compress-s{}", lookup, 4 * n), layers, kMixedDepths, 0,
                          CacheIndex::kUpstream));
    }
    EXPECT_EQ(all_reads(lookup, layers, kMixedDepths),
              all_reads(lookup, layers, kMixedDepths, 0, CacheIndex::kUpstream));
  }
  EXPECT_EQ(all_reads("latest-compress-anchor", layers, kMixedDepths),
            all_reads("latest-compress-anchor", layers, kMixedDepths, 0, CacheIndex::kUpstream));
}

}  // namespace
}  // namespace plumb
