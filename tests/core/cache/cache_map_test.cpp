// The public cache, entry by entry (tests/goldens/cache/README.md).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "tests/core/cache/cache_driver.h"

namespace plumb {
namespace {

struct Tally {
  int scenarios = 0, reads = 0, errors = 0, refused_names = 0;
};

std::vector<Entry> expand(const Json& runs) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < runs.size(); i += 3)
    for (int k = 0; k < runs[i + 2].get<int>(); ++k)
      entries.push_back({runs[i].get<int>(), runs[i + 1].get<int>() + k});
  return entries;
}

// The derived scenarios count slots; plumb counts recurrences there.
std::string in_recurrences(const std::string& strategy, int n_core) {
  const size_t at = strategy.find("compress-s");
  if (at == std::string::npos) return strategy;
  const int slots = std::stoi(strategy.substr(at + 10));
  EXPECT_EQ(slots % n_core, 0) << strategy;
  return strategy.substr(0, at + 10) + std::to_string(slots / n_core);
}

void check_scenario(const Json& scenario, GatherMode mode, Tally& tally) {
  const LayerCounts layers{scenario["P"], scenario["K"], scenario["D"]};
  const bool derived = scenario["derived"];
  const auto strategy = scenario["strategy"].get<std::string>();
  const auto name = derived ? in_recurrences(strategy, layers.n_core) : strategy;
  const auto index = derived ? CacheIndex::kRecurrence : CacheIndex::kUpstream;
  auto made = make_kv_policy(name, index, layers, 0);
  ++tally.scenarios;
  if (strategy == "bogus") {  // the reference notices only when an entry is missing
    ASSERT_FALSE(made.ok());
    ++tally.refused_names;
    return;
  }
  ASSERT_TRUE(made.ok()) << made.error().message;
  CacheDriver driver(layers, made.value(), mode);
  const Json& reads = scenario["reads"];
  size_t next = 0;
  bool first = true;
  for (const int depth : scenario["depths"]) {
    const int n = first ? scenario["prefill"].get<int>() : 1;
    first = false;
    driver.extend(n);
    for (const Place& place : driver.places(depth)) {
      ASSERT_LT(next, reads.size());
      const Json& want = reads[next++];
      const auto read = driver.append(place, n);
      if (want.is_string()) {
        ASSERT_FALSE(read.ok()) << "the reference: " << want;
        EXPECT_NE(read.error().message.find("cannot find position"), std::string::npos)
            << read.error().message;
        EXPECT_EQ(next, reads.size());
        ++tally.errors;
        return;
      }
      ASSERT_TRUE(read.ok()) << read.error().message;
      ASSERT_EQ(driver.entries(read.value(), n), expand(want)) << "read " << next - 1;
      ++tally.reads;
    }
  }
  EXPECT_EQ(next, reads.size());
}

Tally check_all(GatherMode mode) {
  Tally tally;
  auto file = read_json_file(PLUMB_SOURCE_DIR "/tests/goldens/cache/cache_map.json");
  EXPECT_TRUE(file.ok()) << file.error().message;
  for (const Json& scenario : file.value()["scenarios"]) {
    SCOPED_TRACE(fmt::format("{} {}/{}/{}{}", scenario["strategy"].get<std::string>(),
                             scenario["P"].get<int>(), scenario["K"].get<int>(),
                             scenario["D"].get<int>(),
                             scenario["derived"].get<bool>() ? " derived" : ""));
    check_scenario(scenario, mode, tally);
  }
  return tally;
}

TEST(CacheMap, EveryReadIsTheReferencesReadAndEveryRefusalItsRefusal) {
  const Tally tally = check_all(GatherMode::kIncremental);
  std::printf(
      "cache map: %d scenarios, %d reads equal, %d errors equal, %d unknown names refused\n",
      tally.scenarios, tally.reads, tally.errors, tally.refused_names);
  EXPECT_EQ(tally.scenarios, 96);
  EXPECT_EQ(tally.refused_names, 2);
}

TEST(CacheMap, HoldsForTheSlowGatherToo) {
  EXPECT_EQ(check_all(GatherMode::kFromScratch).scenarios, 96);
}

}  // namespace
}  // namespace plumb
