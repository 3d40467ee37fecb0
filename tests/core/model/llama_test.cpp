#include "core/model/llama.h"

#include <gmock/gmock.h>

#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::HasSubstr;

const std::filesystem::path kA = golden_file("llama/retrofit_a_base"), kB = golden_file("llama/retrofit_b_base");

TEST(Llama, LogitsMatchTheReference) {
  for (const char* name : {"retrofit_a", "retrofit_b"}) {
    const Goldens goldens(golden_file(fmt::format("llama/{}.logits.safetensors", name)));
    const auto model = load(golden_file(fmt::format("llama/{}_base", name)));
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->info().family, "llama");
    expect_close(run(*model, goldens.ids("input_ids")), goldens.floats("base_logits_all_layers"), 1e-4, 1e-4, name);
  }
}

TEST(Llama, ACacheGivesTheBitsOfAWholePass) {
  const auto model = load(kB);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 50; ++i) ids.push_back(i * 31 % 97);
  const Mat<float> whole = run(*model, ids);
  auto cache = model->make_cache(nullptr).value()->length() == 0 ? std::move(model->make_cache(nullptr)).value() : nullptr;
  for (size_t i = 0; i < ids.size(); ++i)
    expect_same_bits(run(*model, {ids[i]}, -1, static_cast<int>(i), cache.get()), whole.view().rows_from(i, 1), fmt::format("token {}", i));
  EXPECT_EQ(cache->bytes(), size_t{50} * 9 * 2 * 8 * sizeof(float));
}

TEST(Llama, NewerConfigStyleMeansTheSame) {
  const TempDir dir;
  Json parameters = read_json(kB / "config.json")["rope_scaling"];
  parameters["rope_theta"] = 500000.0;
  const auto newer = load(kB, with_config(dir, kB / "config.json", {{"rope_parameters", parameters}}, {"rope_theta", "rope_scaling"}));
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6, 7};
  expect_same_bits(run(*newer, ids), run(*load(kB), ids), "rope_parameters");
}

TEST(Llama, InfoCountsItsParameters) {
  const auto model = load(kB);
  int64_t total = 0;
  for (const PartCount& part : model->info().parts) total += part.parameters;
  const auto checkpoint = Checkpoint::open(kB);
  int64_t stored = 0;
  for (const TensorInfo& tensor : checkpoint.value().tensors()) stored += static_cast<int64_t>(tensor.element_count());
  EXPECT_EQ(total, stored);
  EXPECT_EQ(model->info().stop_ids, (std::vector<int32_t>{2}));
  EXPECT_EQ(model->info().max_steps, 9);
}

TEST(Llama, RefusesWhatItCannotRunByName) {
  const TempDir dir;
  const auto says = [&](const Json& overrides, const char* part, const std::vector<std::string>& without = {}) {
    EXPECT_THAT(refusal(kB, with_config(dir, kB / "config.json", overrides, without)), HasSubstr(part)) << overrides.dump();
  };
  says({{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2}}}}, "rope type is \"yarn\", expected \"llama3\"");
  says({{"rope_scaling", {{"rope_type", "llama3"}}}}, "field \"factor\"");
  says({{"attention_bias", true}}, "attention_bias");
  says({{"mlp_bias", true}}, "mlp_bias");
  says({{"hidden_act", "gelu"}}, "hidden_act is \"gelu\"");
  says({{"model_type", "mistral"}}, "model_type is \"mistral\"");
  says({{"num_key_value_heads", 3}}, "does not divide");
  says({{"tie_word_embeddings", true}}, "\"lm_head.weight\" differs");
  says({{"eos_token_id", "x"}}, "eos_token_id");
  says({{"num_hidden_layers", 8}}, "does not have: model.layers.8");
  says(Json::object(), "num_attention_heads", {"num_attention_heads"});
}

TEST(Llama, NoiseBelongsToRecurrentStates) {
  const auto model = load(kA);
  EXPECT_TRUE(model->set_noise({}).ok());
  EXPECT_FALSE(model->set_noise({.kind = StateNoise::Kind::kGeom, .amount = 1}).ok());
}

}  // namespace
}  // namespace plumb
