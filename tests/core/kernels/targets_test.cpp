// The exact path has the same bits whatever vectors the processor has.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "tests/core/kernels/attend_fixture.h"
#include "tests/core/kernels/pack_fixture.h"

namespace plumb {
namespace {

using test::random_mat;
using test::same_bits;

// Kernels run as on a processor that has these instruction sets, while it lives.
class OnlyTargets {
 public:
  explicit OnlyTargets(int64_t targets) { set(targets); }
  ~OnlyTargets() { set(0); }  // what there is

 private:
  static void set(int64_t targets) {
    hwy::SetSupportedTargetsForTest(targets);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

constexpr int64_t kTargets[] = {HWY_AVX3, HWY_AVX2, HWY_SCALAR};

bool has(int64_t target) { return target == HWY_SCALAR || (hwy::SupportedTargets() & target) != 0; }

TEST(Targets, ProductsHaveTheBitsOfTheirDefinition) {
  for (const WeightType type : {WeightType::kF32, WeightType::kBF16, WeightType::kI8})
    for (const size_t rows : {1, 7, 40}) {
      const PackedMatrix w = test::pack(type, random_mat(83, 515, 1));
      const Mat<float> x = random_mat(rows, 515, 2), old = random_mat(rows, 83, 3);
      Mat<float> want = old;
      matmul_reference(x, w, want, MatmulMode::kAdd);
      for (const int64_t target : kTargets) {
        if (!has(target)) continue;
        const OnlyTargets only(target);
        Team team(2);
        Mat<float> got = old;
        matmul(team, x, w, got, MatmulMode::kAdd);
        EXPECT_TRUE(same_bits(got, want)) << weight_type_name(type) << ' ' << rows << ' ' << hwy::TargetName(target);
      }
    }
}

TEST(Targets, AttentionAgrees) {
  const AttentionShape shape{4, 2, 20, 0.3F};
  const Mat<float> queries = random_mat(37, 80, 4);
  const test::Kv kv = test::make_kv(37, 40, 5);
  Mat<float> want(37, 80);
  AttentionJob job;
  job.queries = queries;
  job.kv = kv.view();
  job.out = want;
  attend_reference(shape, job);
  for (const int64_t target : kTargets) {
    if (!has(target)) continue;
    const OnlyTargets only(target);
    Team team(2);
    Mat<float> got(37, 80);
    job.out = got;
    attend(team, shape, std::span(&job, 1));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got.data()[i], want.data()[i], 1e-5) << hwy::TargetName(target);
  }
}

}  // namespace
}  // namespace plumb
