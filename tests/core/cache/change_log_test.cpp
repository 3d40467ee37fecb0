#include "core/cache/change_log.h"

#include <gtest/gtest.h>

#include "core/base/rng.h"

namespace plumb {
namespace {

TEST(ChangeLog, FirstSinceIsTheMinimumOfAllLaterNotes) {
  ChangeLog log;
  std::vector<int> notes;
  for (uint64_t i = 0; i < 400; ++i) {
    const int pos =
        static_cast<int>(uniform_below({.seed = 3, .stream = RngStream::kBootstrap}, i, 50));
    log.note(pos);
    notes.push_back(pos);
    EXPECT_EQ(log.now(), i + 1);
    for (uint64_t moment = 0; moment <= log.now(); moment += 7) {
      int want = ChangeLog::kNone;
      for (uint64_t k = moment; k < notes.size(); ++k) want = std::min(want, notes[k]);
      ASSERT_EQ(log.first_since(moment), want);
    }
    ASSERT_EQ(log.first_since(log.now()), ChangeLog::kNone);
  }
}

}  // namespace
}  // namespace plumb
