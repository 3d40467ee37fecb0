// The counting behind `plumb bench`, and the shapes of its random checkpoints.
#include <gtest/gtest.h>
#include <unistd.h>

#include "core/model/families.h"
#include "experiments/bench/bench_row.h"
#include "experiments/bench/machine.h"
#include "experiments/bench/model_cost.h"
#include "experiments/bench/synthetic.h"

namespace plumb {
namespace {

const char* const kPocket = PLUMB_SOURCE_DIR "/experiments/models/pocket-raven";

ModelCost cost_of(const std::string& path) {
  auto checkpoint = Checkpoint::open(path);
  EXPECT_TRUE(checkpoint.ok());
  Team team(1);
  const auto model = load_model(checkpoint.value(), Precision::kF32, team);
  EXPECT_TRUE(model.ok());
  auto cost = count_cost(checkpoint.value(), model.value()->info());
  EXPECT_TRUE(cost.ok());
  return cost.value();
}

// Width 256, 4 heads, feed-forward 640, vocabulary 4096, blocks 1 / 2 / 1, stored as bf16.
TEST(ModelCost, CountsALoopedModelByHand) {
  const ModelCost cost = cost_of(kPocket);
  const int64_t e = 256, f = 640, v = 4096, block = 3 * e * e + e * e + 3 * e * f;
  EXPECT_EQ(cost.prelude.numbers, block);
  EXPECT_EQ(cost.core.numbers, 2 * block + 2 * e * e);
  EXPECT_EQ(cost.coda.numbers, block);
  EXPECT_EQ(cost.head.numbers, v * e);
  EXPECT_EQ(cost.stored_bytes, 2);
  // Three tokens see 1 + 2 + 3 keys in each of 1 + 5 * 2 + 1 layers; a key costs a product with the
  // query and one with the weight, each a multiply and an add.
  const int64_t matrices =
      2 * 3 * (cost.prelude.numbers + 5 * cost.core.numbers + cost.coda.numbers + v * e);
  EXPECT_EQ(cost.flops(3, 5), static_cast<double>(matrices + 12 * 6 * 2 * 2 * e));
}

TEST(ModelCost, BytesFollowThePrecision) {
  const ModelCost cost = cost_of(kPocket);
  const auto numbers = static_cast<double>(cost.core.numbers);
  EXPECT_EQ(cost.bytes(cost.core, Precision::kBF16), 2 * numbers);
  EXPECT_EQ(cost.bytes(cost.core, Precision::kF32), 2 * numbers)
      << "bf16 weights stay bf16 under f32 arithmetic";
  const double outputs = 2 * (3 * 256 + 256 + 2 * 640 + 256) + 256;  // two blocks and the adapter
  EXPECT_EQ(cost.bytes(cost.core, Precision::kI8), numbers + 4 * outputs);
}

TEST(ModelCost, AWindowLimitsTheKeysOfItsBlock) {
  ModelCost cost;
  cost.attention_width = 1;
  cost.layers = {0, 1, 0};
  cost.windows = {2, 0};
  // Four tokens: 1 + 2 + 2 + 2 keys under a window of two, 1 + 2 + 3 + 4 without.
  EXPECT_EQ(cost.flops(4, 2), 4.0 * (7 + 10));
}

// Published counts.
TEST(SyntheticCheckpoints, HaveThePublishedNumberOfParameters) {
  const auto count = [](const char* name) { return synthetic_model(name).value().count(); };
  EXPECT_EQ(count("act-110m"), 110'209'281U);
  EXPECT_EQ(count("crowfeather-50m"), 54'538'752U);
  EXPECT_EQ(count("byrne-86m"), 96'944'515U);
  EXPECT_NEAR(static_cast<double>(count("huginn-0125")) - 65536.0 * 5280, 3.564e9, 0.01e9);
  EXPECT_FALSE(synthetic_model("april").ok());
}

TEST(SyntheticCheckpoints, LoadAsTheirFamily) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("plumb_synthetic_" + std::to_string(getpid()));
  const SyntheticModel model = synthetic_model("crowfeather-50m").value();
  ASSERT_TRUE(write_synthetic(model, DType::kBF16, folder).ok());
  const auto checkpoint = Checkpoint::open(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(family_name(checkpoint.value()), "crowfeather");
  EXPECT_EQ(checkpoint.value().tensors().size(), model.tensors.size());
  Team team(2);
  const auto loaded = load_model(checkpoint.value(), Precision::kBF16, team);
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  std::filesystem::remove_all(folder);
}

TEST(MedianOf, LeavesTheFirstRunOutAndHonoursTheBudget) {
  double next = 100;
  const auto falling = [&]() -> Result<double> { return next -= 10; };
  const Measured all = median_of({3, 1e3}, falling).value();
  EXPECT_EQ(all.runs, 3);
  EXPECT_EQ(all.value, 70) << "of 80, 70, 60; 90 warmed up";
  const Measured one = median_of({3, 0}, falling).value();
  EXPECT_EQ(one.runs, 1) << "a first run that took the budget is the measurement";
  EXPECT_EQ(one.value, 50);
}

TEST(Ceilings, SizesLieInTheirLevelOfMemory) {
  constexpr size_t kMiB = size_t{1} << 20;
  for (const CacheSizes caches : {CacheSizes{2 * kMiB, 300 * kMiB}, CacheSizes{kMiB / 2, 32 * kMiB},
                                  CacheSizes{kMiB, 16 * kMiB}}) {
    const BandwidthSizes sizes = bandwidth_sizes(caches, 2);
    EXPECT_LE(sizes.l2, 2 * caches.l2);
    EXPECT_GT(sizes.l3, 2 * caches.l2);
    EXPECT_LE(sizes.l3, caches.l3);
  }
}

TEST(Ceilings, AreMeasuredOnOneAndOnAllCores) {
  Team team(2);
  const ArithmeticCeilings found = measure_arithmetic(team);
  for (const Ceiling& ceiling : {found.f32, found.bf16(), found.int8()}) {
    EXPECT_GT(ceiling.one, 0.1);
    EXPECT_GT(ceiling.all, 0.1);
  }
  EXPECT_GE(found.bf16().all, found.f32.all) << "widening to f32 is always there";
  const Ceiling reading = measure_read_bandwidth(team, size_t{1} << 20);
  EXPECT_GT(reading.one, 0.1);
  EXPECT_GT(reading.all, 0.1);
}

}  // namespace
}  // namespace plumb
