#include "core/parallel/team.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>

namespace plumb {
namespace {

TEST(Team, RunsEveryPartOnce) {
  for (int threads : {1, 2, 5}) {
    Team team(threads);
    EXPECT_EQ(team.size(), threads);
    for (size_t n : {0, 1, 2, 3, 17, 1000}) {
      std::vector<std::atomic<int>> hits(n);
      team.run(n, [&](size_t part) { hits[part].fetch_add(1); });
      for (auto& hit : hits) EXPECT_EQ(hit.load(), 1);
    }
  }
}

// Loops follow each other without a gap: a late worker must never run a part of the wrong loop.
TEST(Team, ManyShortLoopsStaySeparate) {
  Team team(3);
  for (int round = 0; round < 20000; ++round) {
    int values[4] = {-1, -1, -1, -1};
    team.run(4, [&values, round](size_t part) { values[part] = round; });
    for (int value : values) ASSERT_EQ(value, round);
  }
}

// Workers that overslept a short loop wake into the next, longer one: a ticket of the old loop must
// not pass for one of the new.
TEST(Team, OversleptWorkersTakeNoStaleTickets) {
  Team team(4);  // more threads than cores, so that some are always late
  for (int round = 0; round < 30000; ++round) {
    const size_t n = 2 + static_cast<size_t>(round % 7) * 5;
    std::atomic<int> sum{0};
    team.run(n, [&sum, n](size_t part) { sum.fetch_add(part < n ? 1 : 1000000); });
    ASSERT_EQ(sum.load(), static_cast<int>(n));
  }
}

// A worker that comes late to the last loop must not sleep through the end.
TEST(Team, EndsRightAfterALoop) {
  for (int round = 0; round < 3000; ++round) {
    Team team(3);
    team.run(2, [](size_t) {});
  }
}

TEST(Team, WakesAfterItsWorkersSleep) {
  Team team(2);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> sum{0};
    team.run(100, [&](size_t part) { sum.fetch_add(static_cast<int>(part)); });
    EXPECT_EQ(sum.load(), 4950);
  }
}

}  // namespace
}  // namespace plumb
