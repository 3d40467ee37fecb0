#include "core/kernels/attend.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/kernels/attend_fixture.h"

namespace plumb {
namespace {

using Case = test::AttendCase;
using test::Kv;
using test::make_kv;
using test::random_mat;
using test::same_bits;

class AttendCases : public ::testing::TestWithParam<Case> {};

TEST_P(AttendCases, EqualsTheReference) {
  const Case& c = GetParam();
  const AttentionShape shape = c.shape();
  const Kv kv = make_kv(c.before + c.rows, c.n_kv_heads * c.head_dim, 7);
  const Mat<float> q = random_mat(c.rows, c.n_heads * c.head_dim, 9, 2);
  Mat<float> want(q.rows(), q.cols()), got(q.rows(), q.cols());
  AttentionJob job{q.view(), want.view(), kv.view(), c.before, c.window};
  attend_reference(shape, job);
  job.out = got.view();
  Team team(2);
  attend(team, shape, {&job, 1});
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got.data()[i], want.data()[i], 2e-6 * (1 + std::fabs(want.data()[i])) * 4);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttendCases,
                         ::testing::Values(Case{1, 0, 2, 2, 16, 0}, Case{1, 100, 4, 2, 64, 0}, Case{9, 0, 3, 3, 16, 0},
                                           Case{33, 20, 4, 1, 10, 0}, Case{70, 5, 2, 2, 96, 0}, Case{40, 30, 2, 1, 32, 16},
                                           Case{1, 50, 2, 2, 8, 7}, Case{5, 3, 1, 1, 200, 1}));

TEST(Attend, AQueryOverACacheGetsTheBitsOfTheWholePass) {
  const AttentionShape shape{4, 2, 24, 0.2F};
  const Kv kv = make_kv(53, 48, 11);
  const Mat<float> q = random_mat(53, 96, 13);
  Mat<float> whole(53, 96), single(53, 96);
  Team team(3);
  const AttentionJob all{q.view(), whole.view(), kv.view(), 0, 0};
  attend(team, shape, {&all, 1});
  for (size_t t = 0; t < 53; ++t) {
    const AttentionJob one{q.view().rows_from(t, 1), single.view().rows_from(t, 1), kv.view(), t, 0};
    attend(team, shape, {&one, 1});
  }
  EXPECT_TRUE(same_bits(whole, single));
}

// One position with several keys of its own is that many caches, each ending in one of them.
TEST(Attend, AlternativesGetTheBitsOfTheirOwnCaches) {
  for (const size_t before : {0, 5, 16, 63, 200}) {
    const AttentionShape shape{6, 2, 20, 0.2F};
    Kv kv = make_kv(before + 1, 40, 11);
    const Mat<float> q = random_mat(9, 120, 13), keys = random_mat(9, 40, 17),
                     values = random_mat(9, 40, 19);
    Mat<float> together(9, 120), alone(9, 120);
    Team team(3);
    for (const size_t window : {0, 30}) {
      AttentionJob job{q.view(), together.view(), kv.view(), before, window};
      job.own_keys = keys.view();
      job.own_values = values.view();
      attend(team, shape, {&job, 1});
      Mat<float> want(9, 120);
      job.out = want.view();
      attend_reference(shape, job);
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_NEAR(together.data()[i], want.data()[i], 1e-5 * (1 + std::fabs(want.data()[i])));
      for (size_t t = 0; t < 9; ++t) {
        put_key(kv.keys.data(), 40, before, {keys.row(t), 40});
        std::copy(values.row(t), values.row(t) + 40, kv.values.row(before));
        const AttentionJob one{q.view().rows_from(t, 1), alone.view().rows_from(t, 1), kv.view(),
                               before, window};
        attend(team, shape, {&one, 1});
      }
      EXPECT_TRUE(same_bits(together, alone)) << before << " keys before, window " << window;
    }
  }
}

// The same keys and values, each head's by themselves, in either precision.
TEST(Attend, HeadsByThemselvesGetTheBitsOfHeadsSideBySide) {
  constexpr size_t kKeys = 75, kHeads = 3, kDim = 20, kRows = 80;
  const AttentionShape shape{2 * kHeads, kHeads, kDim, 0.2F};
  Kv side = make_kv(kKeys, kHeads * kDim, 11);
  round_to_bf16({side.keys.data(), side.keys.size()});
  round_to_bf16({side.values.data(), side.values.size()});
  const Mat<float> q = random_mat(7, 2 * kHeads * kDim, 13);
  Mat<float> apart_keys(kHeads * kRows / 16, kDim * 16), apart_values(kHeads * kRows, kDim);
  Mat<BF16> rounded_keys(apart_keys.rows(), apart_keys.cols()),
      rounded_values(apart_values.rows(), apart_values.cols());
  for (size_t h = 0; h < kHeads; ++h)
    for (size_t j = 0; j < kKeys; ++j)
      for (size_t c = 0; c < kDim; ++c) {
        const size_t at = (h * kRows + j / 16 * 16) * kDim + c * 16 + j % 16;
        apart_keys.data()[at] = side.keys(j / 16, (h * kDim + c) * 16 + j % 16);
        apart_values(h * kRows + j, c) = side.values(j, h * kDim + c);
      }
  for (size_t i = 0; i < apart_keys.size(); ++i)
    rounded_keys.data()[i] = bf16_from_f32(apart_keys.data()[i]);
  for (size_t i = 0; i < apart_values.size(); ++i)
    rounded_values.data()[i] = bf16_from_f32(apart_values.data()[i]);
  KvView apart{apart_keys.data(), apart_values.data(), kHeads * kDim, kHeads * kDim, kRows}, rounded;
  rounded.kv_dim = rounded.value_stride = kHeads * kDim;
  rounded.head_rows = kRows;
  rounded.rounded_keys = rounded_keys.data();
  rounded.rounded_values = rounded_values.data();
  Team team(2);
  Mat<float> want(7, q.cols());
  AttentionJob job{q.view(), want.view(), side.view(), kKeys - 7, 40};
  attend(team, shape, {&job, 1});
  for (const KvView& view : {apart, rounded}) {
    Mat<float> got(7, q.cols()), reference(7, q.cols());
    job.kv = view;
    job.out = got.view();
    attend(team, shape, {&job, 1});
    EXPECT_TRUE(same_bits(got, want));
    job.out = reference.view();
    attend_reference(shape, job);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got.data()[i], reference.data()[i], 1e-5 * (1 + std::fabs(got.data()[i])));
  }
}

TEST(Attend, SurvivesScoresThatOverflowAnExponential) {
  const AttentionShape shape{1, 1, 8, 50.0F};
  const Kv kv = make_kv(20, 8, 15);
  const Mat<float> q = random_mat(4, 8, 17, 30);
  Mat<float> out(4, 8);
  const AttentionJob job{q.view(), out.view(), kv.view(), 16, 0};
  Team team(1);
  attend(team, shape, {&job, 1});
  for (size_t i = 0; i < out.size(); ++i) EXPECT_TRUE(std::isfinite(out.data()[i]));
}

// From any position on, whole panels, parts of them and widths that are no multiple of four.
TEST(Attend, PutsKeysInPanels) {
  for (const size_t kv_dim : {1, 6, 40})
    for (const size_t first : {0, 3, 4, 16, 21})
      for (const size_t n : {1, 3, 4, 37}) {
        const Mat<float> wide = random_mat(n, kv_dim + 5, first + n);
        Mat<float> panels(5, kv_dim * kKeyPanel), want(5, kv_dim * kKeyPanel);
        put_keys(wide.view().cols_from(2, kv_dim), first, panels.data());
        for (size_t i = 0; i < n; ++i)
          for (size_t c = 0; c < kv_dim; ++c)
            want((first + i) / kKeyPanel, c * kKeyPanel + (first + i) % kKeyPanel) = wide(i, c + 2);
        EXPECT_TRUE(same_bits(panels, want)) << kv_dim << ' ' << first << ' ' << n;
      }
}

}  // namespace
}  // namespace plumb
