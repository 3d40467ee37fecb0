#include "core/kernels/attend_bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/kernels/matmul_bf16.h"
#include "tests/core/kernels/attend_fixture.h"

namespace plumb {
namespace {

using Case = test::AttendCase;
using test::Kv;
using test::make_kv;
using test::random_mat;
using test::same_bits;

Mat<float> attend_with(Team& team, const AttentionShape& shape, AttentionJob job,
                       std::optional<Bf16Unit> unit = {}) {
  Mat<float> out(job.queries.rows(), job.queries.cols());
  job.out = out.view();
  attend_bf16(team, shape, {&job, 1}, unit);
  return out;
}

std::vector<Bf16Unit> units() {
  std::vector<Bf16Unit> all;
  for (const Bf16Unit unit : {Bf16Unit::kWiden, Bf16Unit::kDots, Bf16Unit::kTiles})
    if (available(unit)) all.push_back(unit);
  return all;
}

class AttendBf16 : public ::testing::TestWithParam<Case> {};

// A score of k products of numbers rounded to 2^-9 of themselves is off by about 2^-9 |q| |k|
// scale, the weights as much of themselves, and so are the values: a few 2^-9 of the values' spread
// in all.
TEST_P(AttendBf16, StaysWithinTheRoundingOfItsInputs) {
  const Case& c = GetParam();
  const AttentionShape shape = c.shape();
  const Kv kv = make_kv(c.before + c.rows, c.n_kv_heads * c.head_dim, 7);
  const Mat<float> q = random_mat(c.rows, c.n_heads * c.head_dim, 9, 2);
  Mat<float> want(q.rows(), q.cols());
  const AttentionJob job{q.view(), want.view(), kv.view(), c.before, c.window, c.first_key};
  attend_reference(shape, job);
  float spread = 0;
  for (size_t i = 0; i < want.size(); ++i) spread = std::max(spread, std::fabs(want.data()[i]));
  Team one(1), two(2), three(3);
  for (const Bf16Unit unit : units()) {
    SCOPED_TRACE(bf16_unit_name(unit));
    const Mat<float> got = attend_with(one, shape, job, unit);
    double squares = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      const float off = std::fabs(got.data()[i] - want.data()[i]);
      ASSERT_LE(off, 2e-2F * spread) << "at " << i;
      squares += static_cast<double>(off) * off;
    }
    EXPECT_LE(std::sqrt(squares / static_cast<double>(want.size())), 4e-3 * spread);
    EXPECT_TRUE(same_bits(got, attend_with(two, shape, job, unit)));
    EXPECT_TRUE(same_bits(got, attend_with(three, shape, job, unit)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttendBf16,
    ::testing::Values(Case{16, 0, 2, 2, 16, 0, 0}, Case{33, 20, 4, 1, 48, 0, 0},
                      Case{100, 0, 4, 2, 64, 0, 0}, Case{64, 64, 6, 2, 80, 0, 0},
                      Case{70, 5, 2, 2, 128, 0, 0}, Case{40, 30, 2, 1, 32, 16, 0},
                      Case{200, 77, 3, 3, 64, 50, 0}, Case{45, 100, 4, 4, 10, 0, 37},
                      Case{50, 3, 1, 1, 200, 1, 0}, Case{129, 300, 8, 2, 24, 100, 211}));

TEST(AttendBf16, ARowDoesNotDependOnTheRowsBesideIt) {
  const AttentionShape shape{4, 2, 24, 0.2F};
  const Kv kv = make_kv(153, 48, 11);
  const Mat<float> q = random_mat(153, 96, 13);
  for (const Bf16Unit unit : units()) {
    SCOPED_TRACE(bf16_unit_name(unit));
    Mat<float> whole(153, 96), parts(153, 96);
    Team team(3);
    const AttentionJob all{q.view(), whole.view(), kv.view(), 0, 40};
    attend_bf16(team, shape, {&all, 1}, unit);
    std::vector<AttentionJob> jobs;
    for (const auto& [first, count] : {std::pair<size_t, size_t>{0, 17}, {17, 70}, {87, 66}})
      jobs.push_back({q.view().rows_from(first, count), parts.view().rows_from(first, count),
                      kv.view(), first, 40});
    attend_bf16(team, shape, jobs, unit);
    EXPECT_TRUE(same_bits(whole, parts));
  }
}

TEST(AttendBf16, FewRowsKeepTheBitsOfF32BesideJobsOfMany) {
  const AttentionShape shape{2, 1, 32, 0.2F};
  const Kv kv = make_kv(90, 32, 21);
  const Mat<float> q = random_mat(90, 64, 23);
  Mat<float> many(60, 64), few(kFewestRoundedRows - 1, 64);
  Team team(2);
  const AttentionJob jobs[] = {{q.view().rows_from(0, few.rows()), few.view(), kv.view(), 70},
                               {q.view().rows_from(30, 60), many.view(), kv.view(), 30}};
  attend_bf16(team, shape, jobs);
  EXPECT_TRUE(same_bits(few, attend_with(team, shape, jobs[0], Bf16Unit::kWiden)));
  EXPECT_EQ(same_bits(many, attend_with(team, shape, jobs[1], Bf16Unit::kWiden)),
            bf16_unit() == Bf16Unit::kWiden);
}

TEST(AttendBf16, MayWriteOverItsQueries) {
  const AttentionShape shape{4, 4, 16, 0.25F};
  const Kv kv = make_kv(80, 64, 31);
  Mat<float> q = random_mat(80, 64, 33), out(80, 64);
  Team team(2);
  AttentionJob job{q.view(), out.view(), kv.view()};
  attend_bf16(team, shape, {&job, 1});
  job.out = q.view();
  attend_bf16(team, shape, {&job, 1});
  EXPECT_TRUE(same_bits(q, out));
}

TEST(AttendBf16, SurvivesScoresThatOverflowAnExponential) {
  const AttentionShape shape{1, 1, 8, 50.0F};
  const Kv kv = make_kv(36, 8, 15);
  const Mat<float> q = random_mat(20, 8, 17, 30);
  Mat<float> out(20, 8);
  const AttentionJob job{q.view(), out.view(), kv.view(), 16};
  Team team(1);
  attend_bf16(team, shape, {&job, 1});
  for (size_t i = 0; i < out.size(); ++i) EXPECT_TRUE(std::isfinite(out.data()[i]));
}

}  // namespace
}  // namespace plumb
