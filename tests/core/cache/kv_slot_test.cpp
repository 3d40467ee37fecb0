#include "core/cache/kv_slot.h"

#include <gtest/gtest.h>

#include "tests/support/random.h"

namespace plumb {
namespace {

// Rows that there is room for: heads of more than one lie that far apart.
size_t room(const KvRows& rows) { return rows.view().head_rows; }

TEST(KvRows, MakesRoomForWhatIsExpected) {
  const KvFormat format{2, 8};
  KvRows rows;
  rows.reserve(1000, format, 1064);
  EXPECT_EQ(room(rows), 1072);
  rows.reserve(1080, format, 1064);  // more came than that
  EXPECT_EQ(room(rows), 2144);
}

TEST(KvRows, BelievesNoExpectationBeyondTwiceTheNeed) {
  const KvFormat format{2, 8};
  KvRows rows;
  rows.reserve(1, format, 1 << 30);
  EXPECT_EQ(room(rows), 256);
  rows.reserve(300, format, 1 << 30);
  EXPECT_EQ(room(rows), 608);
  rows.reserve(608, format);
  EXPECT_EQ(room(rows), 608);
}

TEST(KvRows, KeepsItsRowsWhileItGrows) {
  for (const bool rounded : {false, true}) {
    const KvFormat format{3, 5, rounded};
    Mat<float> keys = test::random_mat(40, format.kv_dim(), 1), values = test::random_mat(40, format.kv_dim(), 2);
    KvRows grown, whole;
    whole.reserve(40, format);
    for (size_t i = 0; i < 40; ++i) {
      if (rounded) round_to_bf16({keys.row(i), keys.cols()}), round_to_bf16({values.row(i), values.cols()});
      grown.reserve(i + 1, format, i < 20 ? 20 : 0);
      grown.put(i, {keys.row(i), keys.cols()}, {values.row(i), values.cols()});
      whole.put(i, {keys.row(i), keys.cols()}, {values.row(i), values.cols()});
    }
    const auto same = [&](auto of) {
      for (size_t head = 0; head < 3; ++head)
        for (size_t i = 0; i < 40; ++i)
          for (size_t c = 0; c < 5; ++c) {
            const auto at = [&](const KvRows& rows) {
              const auto kv = head_of<decltype(of)>(rows.view(), head, 5);
              return std::pair(kv.keys[i / kKeyPanel * kv.panel_step + c * kKeyPanel + i % kKeyPanel],
                               kv.values[i * kv.value_step + c]);
            };
            const auto a = at(grown), b = at(whole);
            if (std::memcmp(&a.first, &b.first, sizeof(of)) != 0 || std::memcmp(&a.second, &b.second, sizeof(of)) != 0)
              return false;
          }
      return true;
    };
    EXPECT_TRUE(rounded ? same(BF16{}) : same(0.0F));
  }
}

}  // namespace
}  // namespace plumb
