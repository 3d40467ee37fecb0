#include "core/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace plumb {
namespace {

Result<int> positive(int value) {
  if (value > 0) return value;
  return input_error("value is {}, expected a positive one", value);
}

Result<int> sum(int a, int b) {
  PLUMB_ASSIGN(const int first, positive(a));
  PLUMB_ASSIGN(int second, positive(b));
  second += first;
  return second;
}

Status all_positive(int a, int b, int* calls) {
  ++*calls;
  PLUMB_RETURN_IF_ERROR(positive(a));
  ++*calls;
  PLUMB_RETURN_IF_ERROR(positive(b));
  ++*calls;
  return ok_status();
}

TEST(Result, HoldsAValueOrASentence) {
  const auto good = positive(3), bad = positive(-3);
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good.value(), 3);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "value is -3, expected a positive one");
}

TEST(Result, KeepsTheKindThatDecidesTheExitStatus) {
  EXPECT_EQ(input_error("bad flag").kind, ErrorKind::kInput);
  EXPECT_EQ(work_error("disk {}", "full").kind, ErrorKind::kWork);
  const auto passed_on = []() -> Result<std::string> {
    PLUMB_ASSIGN(const int unused, Result<int>(work_error("disk full")));
    return std::to_string(unused);
  }();
  ASSERT_FALSE(passed_on.ok());
  EXPECT_EQ(passed_on.error().kind, ErrorKind::kWork);
  EXPECT_EQ(passed_on.error().message, "disk full");
}

TEST(Result, AssignReturnsTheFirstError) {
  EXPECT_EQ(sum(2, 3).value(), 5);
  EXPECT_EQ(sum(-2, -3).error().message, "value is -2, expected a positive one");
  EXPECT_EQ(sum(2, -3).error().message, "value is -3, expected a positive one");
}

TEST(Result, ReturnIfErrorStopsThere) {
  int calls = 0;
  EXPECT_TRUE(all_positive(1, 2, &calls).ok());
  EXPECT_EQ(calls, 3);
  calls = 0;
  EXPECT_FALSE(all_positive(-1, 2, &calls).ok());
  EXPECT_EQ(calls, 1);
}

// The expression may hold commas, and the target an existing variable.
TEST(Result, AssignEvaluatesItsExpressionOnce) {
  int calls = 0;
  const auto outcome = [&]() -> Status {
    int target = 0;
    PLUMB_ASSIGN(target, [&](int a, int b) -> Result<int> {
      ++calls;
      return a + b;
    }(1, 2));
    EXPECT_EQ(target, 3);
    return ok_status();
  }();
  EXPECT_TRUE(outcome.ok());
  EXPECT_EQ(calls, 1);
}

TEST(Result, MovesValuesThatCannotBeCopied) {
  Result<std::unique_ptr<int>> made(std::make_unique<int>(7));
  ASSERT_TRUE(made.ok());
  const std::unique_ptr<int> taken = std::move(made).value();
  EXPECT_EQ(*taken, 7);
  const auto through = []() -> Result<std::unique_ptr<int>> {
    PLUMB_ASSIGN(auto inner, Result<std::unique_ptr<int>>(std::make_unique<int>(9)));
    return inner;
  }();
  EXPECT_EQ(*through.value(), 9);
}

TEST(ResultDeathTest, AskingForWhatIsNotThereStops) {
  const auto good = positive(1), bad = positive(-1);
  EXPECT_DEATH((void)bad.value(), "CHECK");
  EXPECT_DEATH((void)good.error(), "CHECK");
}

}  // namespace
}  // namespace plumb
