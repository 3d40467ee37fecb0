#include "core/kernels/distribution.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace plumb {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// The obvious versions, in double.
std::vector<double> probabilities(const std::vector<float>& logits) {
  const double max = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.begin(), logits.end());
  double z = 0;
  for (double& x : p) z += x = std::exp(x - max);
  for (double& x : p) x /= z;
  return p;
}

std::vector<double> min_p_masked(std::vector<double> p) {
  const double limit = 0.1 * *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& x : p) sum += x = x < limit ? 1.0 / static_cast<double>(p.size()) : x;
  for (double& x : p) x /= sum;
  return p;
}

double kl(const std::vector<double>& old, const std::vector<double>& now) {
  double sum = 0;
  for (size_t i = 0; i < old.size(); ++i) {
    if (old[i] > 0) sum += old[i] * (std::log(old[i]) - std::log(now[i]));
  }
  return sum;
}

double entropy(const std::vector<double>& p) {
  double sum = 0;
  for (const double x : p) sum -= x * std::log(x + 1e-10);
  return sum;
}

struct Read {
  std::vector<float> shifted;
  Distribution stats;
  DistributionView view() const { return {shifted, stats.log_z, stats.kept_sum, stats.kept_count}; }
};

Read read(const std::vector<float>& logits) {
  Read out{std::vector<float>(logits.size()), {}};
  out.stats = read_distribution(logits, out.shifted);
  return out;
}

std::vector<float> random_logits(size_t n, float spread, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> out(n);
  for (float& x : out) x = std::clamp(normal(generator), -80.0F, 80.0F);
  return out;
}

void expect_matches(const std::vector<float>& old, const std::vector<float>& now) {
  const auto p = probabilities(old), q = probabilities(now);
  const Read a = read(old), b = read(now);
  SCOPED_TRACE(testing::Message() << "V=" << old.size() << " first logit " << old[0]);
  ASSERT_TRUE(a.stats.finite && b.stats.finite);
  EXPECT_NEAR(a.stats.entropy, entropy(p), 1e-6);
  const size_t top1 = static_cast<size_t>(std::max_element(old.begin(), old.end()) - old.begin());
  EXPECT_EQ(a.stats.top1, static_cast<int>(top1));
  EXPECT_NEAR(a.stats.p1, p[top1], 1e-6);
  if (old.size() > 1) {
    std::vector<float> rest = old;
    rest[top1] = -kInf;
    const auto top2 = std::max_element(rest.begin(), rest.end()) - rest.begin();
    EXPECT_EQ(a.stats.top2, top2);
    EXPECT_NEAR(a.stats.p2, p[static_cast<size_t>(top2)], 1e-6);
  } else {
    EXPECT_EQ(a.stats.top2, -1);
    EXPECT_EQ(a.stats.p2, 0);
  }
  EXPECT_NEAR(log_prob(a.stats, a.shifted, 0), std::log(p[0]),
              1e-6 + 1e-7 * std::abs(std::log(p[0])));

  const Divergence moved = compare_distributions(a.view(), b.view());
  // Terms as large as the spread of the logits, f32 each.
  EXPECT_NEAR(moved.kl, kl(p, q), 1e-6 + 3e-7 * kl(p, q));
  EXPECT_NEAR(moved.minp_kl, kl(min_p_masked(p), min_p_masked(q)), 1e-6);
  const std::vector<double> uniform(p.size(), 1.0 / static_cast<double>(p.size()));
  const Divergence first = compare_distributions({}, a.view());
  EXPECT_NEAR(first.kl, kl(uniform, p), 1e-6 + 3e-7 * kl(uniform, p));
  EXPECT_NEAR(first.minp_kl, kl(uniform, min_p_masked(p)), 1e-6);
}

TEST(Distribution, MatchesTheObviousVersionAtEveryLengthOnEveryInstructionSet) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (size_t n = 1; n <= 70; ++n) {
      const auto old = random_logits(n, 3, static_cast<uint32_t>(n));
      auto now = old;
      const auto step = random_logits(n, 0.3F, static_cast<uint32_t>(1000 + n));
      for (size_t i = 0; i < n; ++i) now[i] += step[i];
      expect_matches(old, now);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(Distribution, MatchesTheObviousVersionAtVocabularySizes) {
  for (const size_t n : {4096, 32003, 65536}) {
    for (const float spread : {0.01F, 1.0F, 4.0F, 40.0F}) {
      for (const float change : {0.001F, 0.1F, 1.0F}) {
        auto old = random_logits(n, spread, static_cast<uint32_t>(n));
        auto now = old;
        const auto step = random_logits(n, spread * change, 7);
        for (size_t i = 0; i < n; ++i) now[i] += step[i];
        // Min-p thresholds are compared in f32: a token within rounding of the border may fall on
        // the other side, so keep the tokens away from it.
        for (std::vector<float>* row : {&old, &now}) {
          const float border = *std::max_element(row->begin(), row->end()) + std::log(0.1F);
          for (float& x : *row) {
            if (std::abs(x - border) < 2e-5F) x = border - 4e-5F;
          }
        }
        expect_matches(old, now);
      }
    }
  }
}

TEST(Distribution, SmallDivergencesKeepTheirDigits) {
  auto old = random_logits(32003, 3, 1);
  old[77] = 15;
  auto now = old;
  for (size_t i = 0; i < now.size(); i += 3) now[i] += 0.001F;
  for (float& x : now) x += 30;  // a common shift is no change
  const double exact = kl(probabilities(old), probabilities(now));
  ASSERT_LT(exact, 1e-6);
  EXPECT_NEAR(compare_distributions(read(old).view(), read(now).view()).kl, exact, 1e-7);
}

TEST(Distribution, ExtremeLogitsStayExact) {
  expect_matches({80, -80, 79.5F, 0, -3}, {-80, 80, 79, 1, 2});
  expect_matches({80, -80, -80}, {80, -79, -80});
  const Read sharp = read({100, 0, 0, 0});
  EXPECT_NEAR(sharp.stats.entropy, 0, 1e-9);
  EXPECT_EQ(sharp.stats.p1, 1);
}

TEST(Distribution, MinusInfinityIsAProbabilityOfZero) {
  const std::vector<float> masked = {1, -kInf, 2, -kInf, 0.5F}, open = {1, 0, 2, 0.25F, 0.5F};
  const Read a = read(masked), b = read(open);
  ASSERT_TRUE(a.stats.finite);
  EXPECT_NEAR(a.stats.entropy, entropy(probabilities(masked)), 1e-6);
  EXPECT_NEAR(compare_distributions(a.view(), b.view()).kl,
              kl(probabilities(masked), probabilities(open)), 1e-6);
  EXPECT_EQ(compare_distributions(b.view(), a.view()).kl, std::numeric_limits<double>::infinity());
  EXPECT_EQ(compare_distributions({}, a.view()).kl, std::numeric_limits<double>::infinity());
  EXPECT_EQ(compare_distributions(a.view(), a.view()).kl, 0);
  EXPECT_TRUE(std::isfinite(compare_distributions(b.view(), a.view()).minp_kl));
}

TEST(Distribution, UnusableLogitsAreReported) {
  for (const std::vector<float>& bad : {std::vector<float>{1, std::nanf(""), 2},
                                        {1, kInf, 2},
                                        {-kInf, -kInf},
                                        std::vector<float>(40, std::nanf(""))}) {
    const Read row = read(bad);
    EXPECT_FALSE(row.stats.finite);
    EXPECT_EQ(row.stats.top1, -1);
    EXPECT_TRUE(std::isnan(row.stats.entropy) && std::isnan(row.stats.p1));
  }
  // A NaN beyond the first vector must be seen too.
  std::vector<float> late(5000, 0.0F);
  late[4999] = std::nanf("");
  EXPECT_FALSE(read(late).stats.finite);
}

TEST(Distribution, TiesGoToTheSmallestId) {
  std::vector<float> logits(100, 0.0F);
  logits[90] = logits[31] = logits[64] = 2;
  const Distribution stats = read(logits).stats;
  EXPECT_EQ(stats.top1, 31);
  EXPECT_EQ(stats.top2, 64);
  EXPECT_EQ(stats.p1, stats.p2);
  EXPECT_EQ(read(std::vector<float>(20, 1.5F)).stats.top2, 1);
}

TEST(Distribution, RankOneIsTheArgmaxAndTiesCountSmallerIds) {
  std::mt19937 generator(5);
  for (const size_t n : {1, 7, 33, 1000}) {
    std::vector<float> logits(n);
    for (float& x : logits) x = static_cast<float>(generator() % 10);  // many ties
    for (size_t target = 0; target < n; ++target) {
      int expected = 1;
      for (size_t i = 0; i < n; ++i) {
        expected += logits[i] > logits[target] || (logits[i] == logits[target] && i < target);
      }
      ASSERT_EQ(rank_in_row(logits, static_cast<int>(target)), expected);
    }
    EXPECT_EQ(rank_in_row(logits, read(logits).stats.top1), 1);
  }
}

TEST(Distribution, ReadsInPlaceWithTheSameBits) {
  auto logits = random_logits(32003, 5, 3);
  const Read apart = read(logits);
  const Distribution in_place = read_distribution(logits, logits);
  EXPECT_EQ(logits, apart.shifted);
  EXPECT_EQ(in_place.entropy, apart.stats.entropy);
  EXPECT_EQ(in_place.log_z, apart.stats.log_z);
}

TEST(Distribution, WritesLogSoftmax) {
  const auto logits = random_logits(4096, 5, 3);
  const auto p = probabilities(logits);
  std::vector<float> out(logits.size());
  log_softmax(logits, out);
  for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], std::log(p[i]), 4e-6);
}

}  // namespace
}  // namespace plumb
