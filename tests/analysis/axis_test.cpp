#include "analysis/axis.h"

#include <gtest/gtest.h>

#include <cmath>

namespace plumb {
namespace {

std::string labels(const std::vector<Tick>& ticks) {
  std::string text;
  for (const Tick& tick : ticks) text += (text.empty() ? "" : " ") + tick.label;
  return text;
}

TEST(DepthAxis, LabelsPowersOfTwoAndGivesZeroAPlaceOfItsOwn) {
  const DepthAxis axis = depth_axis({0, 1, 2, 4, 8, 16, 32, 64});
  EXPECT_EQ(labels(axis.ticks), "0 1 2 4 8 16 32 64");
  EXPECT_EQ(axis.place(64), 6);
  EXPECT_LE(axis.place(0), -1);
  EXPECT_LT(axis.low, axis.place(0));
  EXPECT_GT(axis.high, 6);
  EXPECT_EQ(labels(depth_axis({1, 3, 12, 50}).ticks), "1 2 4 8 16 32");
}

TEST(DepthAxis, LabelsFewDepthsThemselves) {
  EXPECT_EQ(labels(depth_axis({5}).ticks), "5");
  EXPECT_EQ(labels(depth_axis({3, 4, 5}).ticks), "3 4 5");
  EXPECT_EQ(labels(depth_axis({0}).ticks), "0");
  const DepthAxis one = depth_axis({32});
  EXPECT_LT(one.low, 5);
  EXPECT_GT(one.high, 5);
}

TEST(LogAxis, HasRoundTicksHoweverNarrowOrWide) {
  EXPECT_EQ(labels(log_axis(12, 90000).ticks), "10¹ 10² 10³ 10⁴ 10⁵");
  EXPECT_EQ(labels(log_axis(1e-6, 1).ticks), "10⁻⁶ 10⁻⁵ 10⁻⁴ 10⁻³ 10⁻² 10⁻¹ 10⁰");
  for (const double high :
       {20.0 + 1e-9, 20.001, 20.5, 22.0, 31.0, 60.0, 2e2, 2e3, 2e5, 2e9, 2e20}) {
    const Axis axis = log_axis(20, high);
    EXPECT_GE(axis.ticks.size(), 3u) << high;
    EXPECT_LE(axis.ticks.size(), 12u) << high;
    EXPECT_LT(axis.low, 20) << high;
    EXPECT_GT(axis.high, high) << high;
    for (size_t i = 0; i < axis.ticks.size(); ++i) {
      EXPECT_GE(axis.ticks[i].at, axis.low);
      EXPECT_LE(axis.ticks[i].at, axis.high);
      if (i > 0) {
        EXPECT_NE(axis.ticks[i].label, axis.ticks[i - 1].label) << high;
      }
    }
  }
  EXPECT_FALSE(log_axis(7, 7).ticks.empty());
}

TEST(LinearAxis, HasAMarginAndRoundTicks) {
  EXPECT_EQ(labels(linear_axis(0, 10).ticks), "0 2 4 6 8 10");
  EXPECT_EQ(labels(linear_axis(2.91, 3.02).ticks), "2.925 2.950 2.975 3.000 3.025");
  for (const double value : {0.0, 3.0, -2.0}) {
    const Axis axis = linear_axis(value, value);
    EXPECT_LT(axis.low, value);
    EXPECT_GT(axis.high, value);
    EXPECT_GE(axis.ticks.size(), 2u);
  }
}

TEST(StepTicks, AreAllStepsOrMultiplesOfAPowerOfTwo) {
  EXPECT_EQ(labels(step_ticks(1)), "1");
  EXPECT_EQ(labels(step_ticks(8)), "1 2 3 4 5 6 7 8");
  EXPECT_EQ(labels(step_ticks(32)), "1 4 8 12 16 20 24 28 32");
  EXPECT_EQ(labels(step_ticks(64)), "1 8 16 24 32 40 48 56 64");
  EXPECT_LE(step_ticks(100000).size(), 10u);
}

TEST(Grouped, SplitsThousands) {
  EXPECT_EQ(grouped(7), "7");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1\u202f000");
  EXPECT_EQ(grouped(-1234567), "-1\u202f234\u202f567");
}

}  // namespace
}  // namespace plumb
