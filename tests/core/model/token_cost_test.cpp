#include "core/model/token_cost.h"

#include <gtest/gtest.h>

#include "core/model/families.h"
#include "tests/support/golden.h"

namespace plumb {
namespace {

struct Priced {
  ModelInfo info;
  TokenCost cost;
};

Priced price(const std::string& name) {
  Team team(1);
  auto checkpoint = Checkpoint::open(test::golden_path(name));
  EXPECT_TRUE(checkpoint.ok());
  auto model = load_model(checkpoint.value(), Precision::kF32, team);
  EXPECT_TRUE(model.ok());
  return {model.value()->info(), token_cost(model.value()->info())};
}

TEST(TokenCost, OfALoopedModelIsTwiceItsMatrices) {
  // 64 wide, 4 heads, 2 / 4 / 2 blocks, vocabulary 259, tied.
  const Priced huginn = price("raven/huginn_a");
  const double block = huginn.cost.prelude / 2;
  EXPECT_GT(block, 2.0 * 4 * 64 * 64);
  EXPECT_EQ(huginn.cost.step, 4 * block + 2.0 * 2 * 64 * 64);  // and the adapter
  EXPECT_EQ(huginn.cost.readout, 2 * block + 2.0 * 259 * 64);  // and the tied head
  EXPECT_EQ(huginn.cost.prelude_per_key, 2 * 4.0 * 64);
  EXPECT_EQ(huginn.cost.step_per_key, 4 * 4.0 * 64);
}

TEST(TokenCost, AnUntiedHeadCountsOnce) {
  const Priced huginn = price("raven/huginn_b");  // 48 wide, 1 / 2 / 1, vocabulary 131
  EXPECT_EQ(huginn.cost.readout, huginn.cost.prelude + 2.0 * 131 * 48);
}

TEST(TokenCost, AStepOfAPlainModelIsOneOfItsBlocks) {
  const Priced llama = price("llama/retrofit_a_base");
  int64_t blocks = 0;
  for (const PartCount& part : llama.info.parts)
    if (part.work == PartWork::kBlocks) blocks += part.parameters;
  EXPECT_EQ(llama.cost.step * llama.info.layers.n_core, 2.0 * static_cast<double>(blocks));
  EXPECT_EQ(llama.cost.prelude, 0);
}

TEST(TokenCost, EveryFamilySaysWhatAStepCosts) {
  for (const char* name : {"raven/huginn_a", "llama/retrofit_a_converted", "llama/retrofit_a_base",
                           "crowfeather", "spikewhale/full"}) {
    SCOPED_TRACE(name);
    const Priced model = price(name);
    EXPECT_GT(model.cost.step, 0);
    EXPECT_GT(model.cost.readout, 0);
  }
}

}  // namespace
}  // namespace plumb
