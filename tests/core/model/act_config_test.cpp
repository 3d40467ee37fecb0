// What an ACT configuration may say, what a bare file assumes, and foreign tensor names.
#include <gmock/gmock.h>

#include "tests/core/model/act_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::Contains;
using ::testing::HasSubstr;

TEST(Act, ABareWeightsFileIsAModelAndSaysWhatItAssumed) {
  const TempDir dir;
  std::filesystem::copy(kActDir / "rope/model.safetensors", dir.path() / "base.safetensors");
  std::filesystem::copy(kActDir / "variants/xl_final_output_step_learned.safetensors", dir.path() / "sft.safetensors");
  const auto base = load(dir.path() / "base.safetensors"), sft = load(dir.path() / "sft.safetensors");
  ASSERT_TRUE(base != nullptr && sft != nullptr);
  EXPECT_EQ(base->info().family, "act");
  EXPECT_EQ(base->info().max_steps, 8);
  EXPECT_THAT(base->info().notes, Contains(HasSubstr("assumed")));
  EXPECT_THAT(base->info().notes, Contains(HasSubstr("memory per_step")));
  // The shapes decide these.
  EXPECT_EQ(sft->info().max_steps, 5);
  EXPECT_EQ(sft->info().n_heads, 2);
  EXPECT_EQ(sft->info().head_dim, 16);
  EXPECT_THAT(sft->info().notes, Contains(HasSubstr("position xl_relative")));
  const std::string choice = refusal(dir.path());
  EXPECT_THAT(choice, HasSubstr("base.safetensors"));
  EXPECT_THAT(choice, HasSubstr("sft.safetensors"));
}

// The same weights under other names, two of them fused.
void write_foreign(const std::filesystem::path& path, const std::string& block, bool flat_biases) {
  auto file = open_safetensors(kActDir / "variants/xl_final_output_step_learned.safetensors");
  ASSERT_TRUE(file.ok());
  std::vector<std::pair<std::string, LoadedTensor>> made;
  const auto rename = [&](const char* from, const std::string& to) {
    const TensorInfo* info = file.value().find(from);
    ASSERT_NE(info, nullptr) << from;
    made.push_back({to, {"", info->shape, read_f32(*info).value(), ""}});
  };
  const auto fuse = [&](std::initializer_list<const char*> parts, const std::string& to) {
    LoadedTensor all;
    for (const char* part : parts) {
      const TensorInfo* info = file.value().find(part);
      const std::vector<float> values = read_f32(*info).value();
      all.data.insert(all.data.end(), values.begin(), values.end());
      all.shape = {info->shape[0] * static_cast<int64_t>(parts.size()), info->shape[1]};
    }
    made.push_back({to, all});
  };
  rename("tok_emb.weight", "wte.weight");
  rename("tok_emb.weight", "lm_head.weight");
  rename("step_emb.weight", "depth_emb.weight");
  rename("block.norm1.weight", block + ".ln_1.weight");
  rename("block.norm2.weight", block + ".ln_2.weight");
  fuse({"block.attn.wq.weight", "block.attn.wk.weight", "block.attn.wv.weight"}, block + ".attn.qkv.weight");
  rename("block.attn.wo.weight", block + ".attn.proj.weight");
  rename("block.attn.wr.weight", block + ".attn.r_net.weight");
  rename("block.attn.u", block + ".attn.r_w_bias");
  rename("block.attn.v", block + ".attn.r_r_bias");
  fuse({"block.mlp.gate.weight", "block.mlp.up.weight"}, block + ".ffn.w12.weight");
  rename("block.mlp.down.weight", block + ".ffn.w3.weight");
  rename("halt.weight", "ponder.weight");
  rename("halt.bias", "ponder.bias");
  rename("norm_f.weight", "ln_f.weight");
  made.push_back({block + ".attn.fp8_scale", {"", {1}, {2}, ""}});  // what FP8 training leaves behind
  std::vector<NamedTensor> tensors;
  for (auto& [name, tensor] : made) {
    if (flat_biases && name.ends_with("_bias")) tensor.shape = {static_cast<int64_t>(tensor.data.size())};
    tensors.push_back(f32_tensor(name, tensor.shape, tensor.data));
  }
  ASSERT_TRUE(write_safetensors(path, tensors).ok());
}

TEST(Act, GuessesForeignNames) {
  const auto own = load_variant("xl_final_output_step_learned");
  const TempDir dir;
  Json config = index()["default_config"];
  config.update({{"position", "xl_relative"}, {"memory", "final_output"}, {"step_embedding", "learned"}});
  const std::filesystem::path where = dir.write("config.json", config.dump());
  const Ids ids = {5, 17, 80, 3};
  for (const char* block : {"shared", "layers.0", "cell"}) {
    write_foreign(dir.path() / "foreign.safetensors", block, block[0] == 'c');
    const auto foreign = load(dir.path() / "foreign.safetensors", {.config = where});
    ASSERT_NE(foreign, nullptr) << block;
    EXPECT_EQ(foreign->info().family, "act");
    EXPECT_THAT(foreign->info().notes, Contains(HasSubstr("names were guessed")));
    EXPECT_THAT(foreign->info().notes, Contains(HasSubstr("fp8_scale")));
    expect_same_bits(run(*foreign, ids), run(*own, ids), block);
  }
}

TEST(Act, RefusesUnknownAndContradictingFields) {
  const TempDir dir;
  const auto refused = [&](const Json& fields) {
    return refusal(kActDir / "rope", with_config(dir, kActDir / "rope/config.json", fields));
  };
  for (const char* field : {"position", "rope_layout", "step_embedding", "input_injection", "norm_type", "norm_place", "halting",
                            "halt_input", "combine", "at_max", "halted_state", "memory"}) {
    const std::string why = refused({{field, "sideways"}});
    EXPECT_THAT(why, HasSubstr(fmt::format("field \"{}\" is \"sideways\", expected \"", field)));
  }
  EXPECT_THAT(refused({{"position", "xl_relative"}}), HasSubstr("tensor \"block.attn.wr.weight\" is missing"));
  EXPECT_THAT(refused({{"position", "learned"}}), HasSubstr("tensor \"pos_emb.weight\" is missing"));
  EXPECT_THAT(refused({{"norm_type", "layer"}}), HasSubstr("tensor \"block.norm1.bias\" is missing"));
  EXPECT_THAT(refused({{"halting", "none"}}), HasSubstr("tensor \"halt.weight\" is in"));
  EXPECT_THAT(refused({{"final_norm", false}}), HasSubstr("norm_f.weight"));
  EXPECT_THAT(refused({{"halted_state", "running"}, {"memory", "final_state"}}), HasSubstr("expected another of the two"));
  EXPECT_THAT(refused({{"epsilon", 1.5}}), HasSubstr("\"epsilon\" is 1.5, expected"));
  EXPECT_THAT(refused({{"max_steps", 0}}), HasSubstr("\"max_steps\" is 0, expected 1 to"));
  EXPECT_THAT(refused({{"mem_len", -1}}), HasSubstr("\"mem_len\" is -1, expected 0 to"));
  EXPECT_THAT(refused({{"n_heads", 3}}), HasSubstr("\"block.attn.wq.weight\" has shape [64, 64], expected [48, 64]"));
  EXPECT_THAT(refused({{"model_type", "huginn_raven"}}), HasSubstr("expected \"act_recurrent\""));
  EXPECT_EQ(refused({{"architectures", {"Act"}}}), "");
}

TEST(Act, RefusesWhatItCannotRun) {
  const auto model = load_rope();
  EXPECT_THAT(check_depth(model->info(), 7).error().message, HasSubstr("recurrences 1 to 6"));
  EXPECT_FALSE(check_depth(model->info(), 0).ok());
  EXPECT_FALSE(model->make_cache(make_kv_policy("latest", CacheIndex::kRecurrence, {0, 1, 0}, 0, 4).value()).ok());
  EXPECT_FALSE(model->set_noise({StateNoise::Kind::kFixed, 1, 0}).ok());
}

TEST(Act, WritesTheConfigItRead) {
  const TempDir dir;
  auto first = Checkpoint::open(kActDir / "rope");
  const Json written = act_config_json(read_act_config(first.value()).value());
  auto second = Checkpoint::open(kActDir / "rope", {.config = dir.write("again.json", written.dump())});
  const ActConfig again = read_act_config(second.value()).value();
  EXPECT_EQ(act_config_json(again), written);
  EXPECT_TRUE(again.notes.empty()) << again.notes.front();
}

}  // namespace
}  // namespace plumb
