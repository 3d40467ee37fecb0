#include "analysis/stats.h"

#include <limits>
#include <numeric>

#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

TEST(WeightedMean, WeighsAndSaysWhenThereIsNothing) {
  const double values[] = {1, 2, 10}, weights[] = {1, 3, 0}, none[] = {0, 0, 0};
  EXPECT_DOUBLE_EQ(weighted_mean(values, weights), 1.75);
  EXPECT_TRUE(std::isnan(weighted_mean(values, none)));
}

TEST(QuantileBand, InterpolatesAndLeavesOutWhatIsNotFinite) {
  std::vector<float> values = {std::numeric_limits<float>::quiet_NaN(), 10, 0,
                               std::numeric_limits<float>::infinity(), 5};
  const QuantileBand band = quantile_band(values);
  EXPECT_EQ(band.n, 3);
  EXPECT_DOUBLE_EQ(band.p10, 1);
  EXPECT_DOUBLE_EQ(band.p25, 2.5);
  EXPECT_DOUBLE_EQ(band.median, 5);
  EXPECT_DOUBLE_EQ(band.p75, 7.5);
  EXPECT_DOUBLE_EQ(band.p90, 9);
  std::vector<float> none;
  EXPECT_EQ(quantile_band(none).n, 0);
  EXPECT_TRUE(std::isnan(quantile_band(none).median));
}

TEST(Bootstrap, IsAPureFunctionOfItsArguments) {
  const std::vector<double> sums = {10, 12, 9, 30, 11, 8};
  const std::vector<int64_t> tokens = {4, 4, 4, 12, 4, 4};
  const auto one = bootstrap_mean(sums, tokens, 3), two = bootstrap_mean(sums, tokens, 3);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->low, two->low);
  EXPECT_EQ(one->high, two->high);
  EXPECT_DOUBLE_EQ(one->mean, 80.0 / 32);
  EXPECT_EQ(one->n_resamples, 1000);
  EXPECT_EQ(one->level, 0.95);
  const auto other = bootstrap_mean(sums, tokens, 4);
  EXPECT_NE(one->low, other->low);
}

// A result that is recorded must not change from version to version. The numbers were made by an
// independent implementation, in Python.
TEST(Bootstrap, KeepsItsNumbers) {
  const std::vector<double> sums = {10, 12, 9, 30, 11, 8};
  const std::vector<int64_t> tokens = {4, 4, 4, 12, 4, 4};
  const auto interval = bootstrap_mean(sums, tokens, 3);
  EXPECT_DOUBLE_EQ(interval->low, 2.25);
  EXPECT_DOUBLE_EQ(interval->high, 65.0 / 24);
}

TEST(Bootstrap, WeighsChunksByTheirTokens) {
  // Every token costs 2 whatever its chunk's size, so no resample can differ.
  const std::vector<double> sums = {2, 200, 20};
  const std::vector<int64_t> tokens = {1, 100, 10};
  const auto interval = bootstrap_mean(sums, tokens, 0);
  EXPECT_DOUBLE_EQ(interval->low, 2);
  EXPECT_DOUBLE_EQ(interval->high, 2);
}

TEST(Bootstrap, LeavesOutEmptyChunksAndSaysNothingOfOne) {
  const std::vector<double> sums = {5, 0, 0};
  const std::vector<int64_t> tokens = {2, 0, 0};
  EXPECT_FALSE(bootstrap_mean(sums, tokens, 0));
  EXPECT_FALSE(bootstrap_mean({}, {}, 0));
  const std::vector<double> padded = {1, 0, 3}, plain = {1, 3};
  const std::vector<int64_t> padded_n = {1, 0, 1}, plain_n = {1, 1};
  EXPECT_EQ(bootstrap_mean(padded, padded_n, 1)->low, bootstrap_mean(plain, plain_n, 1)->low);
}

// The interval's width for n equal chunks is about 2 * 1.96 * sd / sqrt(n), and it holds the true
// mean in about 95 of 100 repetitions.
TEST(Bootstrap, CoversTheTruthAsOftenAsItSays) {
  constexpr int kRepetitions = 300, kChunks = 50;
  int covered = 0;
  double width = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    std::vector<double> sums(kChunks);
    const std::vector<int64_t> tokens(kChunks, 10);
    const DrawKey key{
        .seed = 11, .stream = RngStream::kSubsample, .row = static_cast<uint32_t>(repetition)};
    for (int i = 0; i < kChunks; ++i) sums[i] = 10 * (3 + 0.5 * standard_normal(key, i));
    const auto interval = bootstrap_mean(sums, tokens, repetition, {.n_resamples = 400});
    covered += interval->low <= 3 && 3 <= interval->high;
    width += (interval->high - interval->low) / kRepetitions;
  }
  const double expected_width = 2 * 1.96 * 0.5 / std::sqrt(kChunks);
  EXPECT_NEAR(width, expected_width, 0.05 * expected_width);
  // Five standard deviations of a binomial count either side of 94 %, the percentile interval's
  // known shortfall at 50 chunks included.
  EXPECT_NEAR(covered / double{kRepetitions}, 0.94, 5 * std::sqrt(0.94 * 0.06 / kRepetitions));
}

TEST(MeanNllInterval, ReadsChunks) {
  const std::vector<ChunkInfo> chunks = {{.n_tokens = 2, .nll_sum_nats = 4},
                                         {.chunk_index = 1, .n_tokens = 2, .nll_sum_nats = 8}};
  const auto interval = mean_nll_interval(chunks, 0);
  ASSERT_TRUE(interval);
  EXPECT_DOUBLE_EQ(interval->mean, 3);
  EXPECT_DOUBLE_EQ(interval->low, 2);
  EXPECT_DOUBLE_EQ(interval->high, 4);
}

}  // namespace
}  // namespace plumb
