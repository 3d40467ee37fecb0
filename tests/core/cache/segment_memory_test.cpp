#include "core/cache/segment_memory.h"

#include <gmock/gmock.h>

namespace plumb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr size_t kWidth = 4;

MemoryShape shape(MemoryKind kind, int memory_len) { return {kind, memory_len, 3, kWidth, kWidth, false}; }

std::vector<float> row(int pos, int step) { return std::vector<float>(kWidth, static_cast<float>(100 * step + pos)); }

// One token with keys at the first `n_steps` steps; its last state is row(pos, 50), its output row(pos, 60).
void add_token(SegmentMemory& memory, int n_steps) {
  const int pos = memory.length();
  memory.extend(std::vector<int32_t>{7});
  for (int step = 0; step < n_steps; ++step) memory.put(step, pos, row(pos, step), row(pos, step));
  memory.keep(pos, row(pos, 50), {}, row(pos, 60));
}

float value_at(const SegmentMemory& memory, int step, int pos) { return memory.view(step).values[memory.index_of(pos) * kWidth]; }
float key_at(const SegmentMemory& memory, int step, int pos) {
  const size_t index = memory.index_of(pos);
  return memory.view(step).keys[index / kKeyPanel * kWidth * kKeyPanel + index % kKeyPanel];
}

TEST(SegmentMemory, MovesOnlyAtABorder) {
  SegmentMemory memory(shape(MemoryKind::kPerStep, 3));
  for (int i = 0; i < 5; ++i) add_token(memory, 3);
  EXPECT_EQ(memory.first_visible(), 0);
  memory.end_segment();
  EXPECT_EQ(memory.first_visible(), 2);
  EXPECT_EQ(memory.segment_start(), 5);
  memory.end_segment();  // nothing is open
  EXPECT_EQ(memory.first_visible(), 2);
  add_token(memory, 3);
  EXPECT_EQ(memory.first_visible(), 2);
}

TEST(SegmentMemory, NamesTheTokensThatLackAKey) {
  SegmentMemory memory(shape(MemoryKind::kPerStep, 8));
  add_token(memory, 1);
  add_token(memory, 3);
  add_token(memory, 2);
  EXPECT_THAT(memory.missing(0, 3), IsEmpty());
  EXPECT_THAT(memory.missing(1, 3), ElementsAre(0));
  memory.put(1, 0, row(0, 1), row(0, 1));
  EXPECT_THAT(memory.missing(2, 3), ElementsAre(0, 2));
  EXPECT_THAT(memory.missing(2, 2), ElementsAre(0));
  memory.end_segment();
  EXPECT_THAT(memory.missing(2, 3), ElementsAre(0, 2));  // per-step memory keeps what it has
  EXPECT_EQ(memory.row(2)[0], row(2, 50)[0]);
}

TEST(SegmentMemory, FinalRowsStandForTheirTokensAfterABorder) {
  for (const MemoryKind kind : {MemoryKind::kFinalOutput, MemoryKind::kFinalState}) {
    SegmentMemory memory(shape(kind, 8));
    add_token(memory, 3);
    EXPECT_FALSE(memory.enters_as_is(0));
    EXPECT_EQ(memory.row(0)[0], row(0, 50)[0]);
    memory.end_segment();
    EXPECT_TRUE(memory.enters_as_is(0));
    EXPECT_THAT(memory.missing(0, 1), ElementsAre(0));
    EXPECT_EQ(memory.row(0)[0], row(0, kind == MemoryKind::kFinalOutput ? 60 : 50)[0]);
    memory.put(0, 0, row(0, 9), row(0, 9));
    memory.repeat(1, 0);
    EXPECT_EQ(value_at(memory, 1, 0), row(0, 9)[0]);
    EXPECT_EQ(key_at(memory, 1, 0), row(0, 9)[0]);
  }
}

TEST(SegmentMemory, ForgettingLosesNothingThatIsVisible) {
  SegmentMemory memory(shape(MemoryKind::kPerStep, 20));
  for (int i = 0; i < 1000; ++i) {
    add_token(memory, i % 4 == 3 ? 1 : 3);
    memory.end_segment();
    for (int pos = memory.first_visible(); pos < memory.length(); ++pos) {
      ASSERT_EQ(memory.row(pos)[0], row(pos, 50)[0]);
      for (int step = 0; step < (pos % 4 == 3 ? 1 : 3); ++step) {
        ASSERT_EQ(value_at(memory, step, pos), row(pos, step)[0]) << i;
        ASSERT_EQ(key_at(memory, step, pos), row(pos, step)[0]) << i;
      }
      // A key stays in its lane.
      ASSERT_EQ(memory.index_of(pos) % kKeyPanel, static_cast<size_t>(pos) % kKeyPanel);
    }
    ASSERT_LT(memory.index_of(memory.length()), 120U);
  }
  EXPECT_EQ(memory.bytes(), (15 * 3 + 5) * 2 * kWidth * sizeof(float) + 20 * kWidth * sizeof(float));
}

TEST(SegmentMemory, NoMemoryForgetsEverySegment) {
  SegmentMemory memory(shape(MemoryKind::kNone, 8));
  add_token(memory, 3);
  memory.end_segment();
  EXPECT_EQ(memory.first_visible(), 1);
  EXPECT_EQ(memory.bytes(), 0U);
}

TEST(SegmentMemory, GoesBackWithinTheOpenSegmentOnly) {
  SegmentMemory memory(shape(MemoryKind::kPerStep, 8));
  add_token(memory, 3);
  memory.end_segment();
  add_token(memory, 3);
  add_token(memory, 2);
  ASSERT_TRUE(memory.truncate(2).ok());
  EXPECT_EQ(memory.length(), 2);
  add_token(memory, 3);
  EXPECT_THAT(memory.missing(2, 3), IsEmpty());
  EXPECT_THAT(memory.truncate(0).error().message, HasSubstr("cannot go back to position 0"));
}

}  // namespace
}  // namespace plumb
