#include "core/base/torch_rng.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/json.h"

namespace plumb {
namespace {

// Goldens hold what one torch version drew: tests/goldens/rng/README.md.
class TorchRng : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string path = std::string(PLUMB_SOURCE_DIR) + "/tests/goldens/rng/" + GetParam();
    auto golden = read_json_file(path);
    ASSERT_TRUE(golden.ok()) << golden.error().message;
    golden_ = std::move(golden).value();
    const auto name = golden_.at("trunc_normal").get<std::string>();
    ASSERT_TRUE(name == "inverse_cdf" || name == "rejection");
    method_ = name == "rejection" ? TorchTruncNormal::kRejection : TorchTruncNormal::kInverseCdf;
  }

  Json golden_;
  TorchTruncNormal method_ = TorchTruncNormal::kInverseCdf;
};

uint64_t seed_of(const Json& entry) { return std::stoull(entry.at("seed").get<std::string>()); }

// Eight hexadecimal digits a float.
std::vector<float> floats_of(const Json& digits) {
  const auto& text = digits.get_ref<const std::string&>();
  std::vector<float> values;
  for (size_t i = 0; i + 8 <= text.size(); i += 8) {
    uint32_t bits = 0;
    std::from_chars(text.data() + i, text.data() + i + 8, bits, 16);
    values.push_back(std::bit_cast<float>(bits));
  }
  return values;
}

std::string fnv1a(const std::vector<float>& values) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const float value : values)
    for (int shift = 0; shift < 32; shift += 8)
      hash = (hash ^ (std::bit_cast<uint32_t>(value) >> shift & 0xFF)) * 0x100000001B3;
  return fmt::format("{:016x}", hash);
}

float next_uniform(TorchGenerator& generator) {
  float value = 0.0F;
  generator.fill_uniform(0.0, 1.0, {&value, 1});
  return value;
}

std::vector<float> first(const std::vector<float>& values, size_t count) {
  return {values.begin(), values.begin() + static_cast<ptrdiff_t>(count)};
}

// Every uniform is compared through the hash, bit for bit.
TEST_P(TorchRng, UniformsAreBitEqual) {
  for (const Json& entry : golden_.at("primitives")) {
    TorchGenerator generator(seed_of(entry));
    std::vector<float> values(2000);
    generator.fill_uniform(0.0, 1.0, values);
    EXPECT_EQ(first(values, 32), floats_of(entry.at("uniforms")));
    EXPECT_EQ(fnv1a(values), entry.at("uniforms_hash"));
    constexpr double kEnd = 0.9973002039367398;
    generator.fill_uniform(-kEnd, kEnd, values);
    EXPECT_EQ(first(values, 32), floats_of(entry.at("stretched")));
    EXPECT_EQ(fnv1a(values), entry.at("stretched_hash"));
  }
}

// Sizes below 16 are double-precision scalar draws, equal but for a libm that rounds differently.
// Larger ones carry a few single-precision roundings of torch's log, sqrt, sin and cos: 8 eps on
// values up to 1.5 * 4.
TEST_P(TorchRng, NormalsOfEverySizeClassFollowEachOther) {
  for (const Json& entry : golden_.at("primitives")) {
    TorchGenerator generator(seed_of(entry));
    std::vector<float> uniforms(4000);
    generator.fill_uniform(0.0, 1.0, uniforms);
    for (const Json& digits : entry.at("normals")) {
      const std::vector<float> expected = floats_of(digits);
      std::vector<float> values(expected.size());
      generator.fill_normal(0.25, 1.5, values);
      for (size_t i = 0; i < values.size(); ++i) {
        if (values.size() < 16)
          EXPECT_FLOAT_EQ(values[i], expected[i]);
        else
          EXPECT_NEAR(values[i], expected[i], 8 * 0x1p-23 * 6.0) << i << " of " << values.size();
      }
    }
    EXPECT_EQ(next_uniform(generator), floats_of(entry.at("next"))[0]);
  }
}

TEST_P(TorchRng, RavenInitialStatesMatch) {
  const size_t stride = golden_.at("stride").get<size_t>();
  for (const Json& entry : golden_.at("states")) {
    const auto shape = entry.at("shape").get<std::vector<size_t>>();
    const InitialStateScale scale{.std = entry.at("std").get<double>(),
                                  .emb_scale = entry.at("emb_scale").get<double>(),
                                  .init_scale = entry.at("init_scale").get<double>()};
    const Mat<float> state =
        torch_initial_state(seed_of(entry), shape[0], shape[1], shape[2], scale, method_);
    ASSERT_EQ(state.rows(), shape[0] * shape[1]);
    ASSERT_EQ(state.cols(), shape[2]);
    std::vector<float> kept;
    for (size_t i = 0; i < state.size(); i += state.size() < 64 ? 1 : stride)
      kept.push_back(state.data()[i]);
    if (state.size() >= 64)
      kept.insert(kept.end(), state.data() + state.size() - 16, state.data() + state.size());
    const std::vector<float> expected = floats_of(entry.at("values"));
    ASSERT_EQ(kept.size(), expected.size());
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_NEAR(kept[i], expected[i], 1e-6) << "seed " << entry.at("seed") << " value " << i;
  }
}

// That the generator has moved on exactly as far as torch's, rejection rounds included.
TEST_P(TorchRng, TruncatedNormalsConsumeWhatTorchConsumes) {
  for (const Json& entry : golden_.at("states")) {
    const auto shape = entry.at("shape").get<std::vector<size_t>>();
    const double std = entry.at("std").get<double>() * entry.at("init_scale").get<double>();
    std::vector<float> values(shape[0] * shape[1] * shape[2]);
    TorchGenerator generator(seed_of(entry));
    generator.fill_normal(0.0, 1.0, values);
    generator.fill_trunc_normal(method_, std, 3.0 * std, values);
    EXPECT_EQ(next_uniform(generator), floats_of(entry.at("next"))[0]);
  }
}

std::string case_name(const testing::TestParamInfo<const char*>& golden) {
  std::string name = golden.param;
  name.resize(name.find(".json"));
  name[name.find('.')] = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Versions, TorchRng, testing::Values("torch_2.11.json", "torch_2.15.json"),
                         case_name);

// The first word of the reference MT19937 for its default seed 5489, and the 10000th as the C++
// standard states it for std::mt19937.
TEST(TorchGenerator, IsTheReferenceMersenneTwister) {
  TorchGenerator generator(5489);
  EXPECT_EQ(generator.random_u32(), 3499211612u);
  for (int i = 2; i < 10000; ++i) generator.random_u32();
  EXPECT_EQ(generator.random_u32(), 4123659995u);
}

TEST(TorchGenerator, OnlyTheLowHalfOfASeedCounts) {
  TorchGenerator small(7), large(7 + (uint64_t{1} << 32));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(small.random_u64(), large.random_u64());
}

TEST(TorchInitialState, ScaleZeroGivesZeros) {
  const InitialStateScale scale{.std = 0.1, .emb_scale = 8.0, .init_scale = 0.0};
  const Mat<float> state = torch_initial_state(3, 1, 2, 16, scale, TorchTruncNormal::kInverseCdf);
  for (size_t i = 0; i < state.size(); ++i) EXPECT_EQ(state.data()[i], 0.0F);
}

}  // namespace
}  // namespace plumb
