// A text written by one variant of a checkpoint is best predicted by that variant.
#include "experiments/probe.h"

#include <gmock/gmock.h>

#include "core/decode/generate.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::HasSubstr;

Checkpoint open_as(const std::filesystem::path& weights, const Json& config) {
  const TempDir dir;
  auto checkpoint = Checkpoint::open(weights, {.config = dir.write("config.json", config.dump())});
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  return std::move(checkpoint).value();
}

// Drawn from the model's own probabilities: of all models, it is then the best on average.
std::vector<int32_t> own_text(const Checkpoint& checkpoint, int n_tokens) {
  auto model = load_model(checkpoint, Precision::kF32, team());
  EXPECT_TRUE(model.ok()) << model.error().message;
  const ModelInfo& info = model.value()->info();
  GenerateRequest request;
  // Sequences as long as a window, so that no token saw what scoring does not show it.
  const int length = info.max_positions > 0 ? std::min(info.max_positions, 64) : 64;
  for (int32_t first = 0; first * length < n_tokens; ++first)
    request.prompts.push_back({first + 1});
  request.max_new_tokens = length - 1;
  request.sampler.sample = true;
  request.sampler.temperature = 1;
  auto texts = generate(*model.value(), team(), request);
  EXPECT_TRUE(texts.ok()) << texts.error().message;
  std::vector<int32_t> ids;
  for (const Generated& text : texts.value())
    ids.insert(ids.end(), text.tokens.begin(), text.tokens.end());
  ids.push_back(0);
  return ids;
}

Json without(Json config, const std::vector<std::string>& fields) {
  for (const std::string& field : fields) config.erase(field);
  return config;
}

ProbeResult probe(const Checkpoint& checkpoint, std::vector<int32_t> ids, int budget = 256) {
  ProbeRequest request;
  request.ids = std::move(ids);
  request.window = 64;
  request.budget = budget;
  auto result = run_probe(checkpoint, team(), request);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? std::move(result).value() : ProbeResult{};
}

// The values of one row, by field.
Json values_of(const ProbeResult& result, const ProbeRow& row) {
  Json values = Json::object();
  for (size_t i = 0; i < result.switches.size(); ++i)
    values[result.switches[i].field] = Json::parse(result.switches[i].values[row.values[i]]);
  return values;
}

// The true values rank first, and the config written has them.
void expect_found(const ProbeResult& result, const Json& truth, const std::string& what) {
  ASSERT_FALSE(result.rows.empty()) << what;
  const Json first = values_of(result, result.rows[0]);
  for (const auto& [field, value] : truth.items()) {
    EXPECT_EQ(first.value(field, Json("not searched")), value) << what << ": " << field;
    EXPECT_EQ(result.config.value(field, Json()), value) << what << ": " << field;
  }
}

struct ActCase {
  const char* name;
  Json truth;
};

TEST(Probe, FindsTheVariantThatAnActCheckpointWasMadeAs) {
  const Json index = read_json(golden_file("act/index.json"));
  const std::vector<std::string> open = {"rope_layout", "norm_place", "input_injection",
                                         "combine",     "halt_input", "step_embedding"};
  for (const ActCase& c :
       {ActCase{"rope_interleaved", {{"rope_layout", "interleaved"}}},
        ActCase{"post_rms", {{"norm_place", "post"}}},
        ActCase{"inject_add", {{"input_injection", "add"}}},
        ActCase{"combine_lerp", {{"combine", "lerp"}}},
        ActCase{"step_sinusoidal", {{"step_embedding", "sinusoidal"}}},
        ActCase{"t2t_style",
                {{"halt_input", "before"}, {"combine", "lerp"}, {"step_embedding", "sinusoidal"}}},
        ActCase{"early_break", {{"rope_layout", "half"}, {"norm_place", "pre"}}}}) {
    Json config = index["default_config"];
    config["segment_len"] = 16;
    for (const Json& variant : index["variants"])
      if (variant["name"] == c.name) config.update(variant["override"]);
    const auto weights = golden_file(fmt::format("act/variants/{}.safetensors", c.name));
    const std::vector<int32_t> ids = own_text(open_as(weights, config), 1024);
    const ProbeResult result = probe(open_as(weights, without(config, open)), ids);
    EXPECT_EQ(result.n_combinations, 64) << c.name;
    EXPECT_EQ(result.rows.size() + result.refused.size(), 64U) << c.name;
    EXPECT_EQ(result.n_tokens, ids.size() - 1);
    expect_found(result, c.truth, c.name);
  }
}

TEST(Probe, MemoryShowsOverSeveralSegments) {
  const Json index = read_json(golden_file("act/index.json"));
  for (const char* memory : {"final_output", "final_state"}) {
    Json config = index["default_config"];
    config["segment_len"] = 16;
    config["memory"] = memory;
    const auto weights = golden_file(fmt::format("act/variants/mem_{}.safetensors", memory));
    const std::vector<int32_t> ids = own_text(open_as(weights, config), 1024);
    const ProbeResult result =
        probe(open_as(weights, without(config, {"memory", "halted_state"})), ids);
    EXPECT_EQ(values_of(result, result.rows[0])["memory"], memory);
    // Running states with final_state memory cannot be.
    ASSERT_EQ(result.refused.size(), 1U);
    EXPECT_THAT(result.refused[0], HasSubstr("\"final_state\""));
  }
}

TEST(Probe, FindsTheFormsOfASpikeWhale) {
  const auto dir = golden_file("spikewhale/full");
  for (const auto& [read, write, gate] : {std::tuple{"softmax", "softmax", "half_open"},
                                          std::tuple{"sigmoid", "softmax_x_n", "half_open"},
                                          std::tuple{"raw", "sigmoid_x_2", "erf_only"}}) {
    Json config = read_json(dir / "config.json");
    const Json truth = {{"hc_read_map", read}, {"hc_write_map", write}, {"engram_gate_form", gate}};
    config.update(truth);
    const std::vector<int32_t> ids = own_text(open_as(dir, config), 1024);
    expect_found(
        probe(open_as(dir, without(config, {"hc_read_map", "hc_write_map", "engram_gate_form"})),
              ids),
        truth, read);
  }
}

TEST(Probe, FindsTheSwitchesOfACrowfeather) {
  const auto dir = golden_file("crowfeather");
  for (const Json& truth : {Json{{"rope_layout", "interleaved"}, {"qk_norm", "none"}},
                            Json{{"rope_layout", "half"}, {"qk_norm", "none"}},
                            Json{{"rope_layout", "half"},
                                 {"qk_norm", "rms_noparam"},
                                 {"logit_softcap", 15},
                                 {"embed_scale", 8}}}) {
    Json config = read_json(dir / "config.json");
    config["rope_theta_global"] = 1e4;
    config.update(truth);
    const std::vector<int32_t> ids = own_text(open_as(dir, config), 1024);
    const Json given = without(config, {"rope_layout", "qk_norm", "logit_softcap", "embed_scale",
                                        "window_convention", "rope_table_dtype"});
    expect_found(probe(open_as(dir, given), ids), truth, truth.dump());
  }
}

// Too many to try all: one at a time, then two, and the report says so.
TEST(Probe, SearchesByCoordinatesWhereThereAreTooMany) {
  const auto dir = golden_file("crowfeather");
  const Json truth = {{"rope_layout", "half"}, {"embed_scale", 8}, {"logit_softcap", 15}};
  Json config = read_json(dir / "config.json");
  config.update(truth);
  const std::vector<int32_t> ids = own_text(open_as(dir, config), 1024);
  const Json given =
      without(config, {"rope_layout", "rope_theta", "qk_norm", "logit_softcap", "embed_scale",
                       "window_convention", "layer_types", "rms_eps", "rope_table_dtype"});
  const ProbeResult result = probe(open_as(dir, given), ids, 120);
  expect_found(result, truth, "coordinates");
  EXPECT_GT(result.n_combinations, 1000);
  EXPECT_LE(result.rows.size() + result.refused.size(),
            140U);  // the winner's neighbours may come on top
  EXPECT_THAT(result.method, HasSubstr("were not searched"));
}

TEST(Probe, TheWinnersConfigLoadsAndLeavesNothingOpen) {
  const auto dir = golden_file("act/rope");
  const Json config = read_json(dir / "config.json");
  const std::vector<int32_t> ids = own_text(open_as(dir, config), 256);
  const ProbeResult result = probe(open_as(dir, without(config, {"combine", "halt_input"})), ids);
  const Checkpoint again = open_as(dir, result.config);
  auto model = load_model(again, Precision::kF32, team());
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_TRUE(model.value()->info().open_switches.empty());
  for (const auto& [field, value] : config.items()) EXPECT_EQ(result.config[field], value) << field;
}

TEST(Probe, ASwitchThatChangesNothingStaysAsAssumed) {
  const auto dir = golden_file("crowfeather");
  const Json config = read_json(dir / "config.json");
  // Shorter than the window: no query reaches past it.
  const ProbeResult result =
      probe(open_as(dir, without(config, {"window_convention"})), {1, 2, 3, 4, 5, 6});
  ASSERT_EQ(result.verdicts.size(),
            2U);  // and the theta of global layers, which this config leaves open
  for (size_t i = 0; i < 2; ++i) {
    if (result.switches[i].field != "window_convention") continue;
    EXPECT_TRUE(result.verdicts[i].no_effect);
    EXPECT_FALSE(result.verdicts[i].decided);
    EXPECT_EQ(result.rows[result.winner].values[i], 0U);
  }
}

TEST(Probe, RefusesWhatItCannotJudge) {
  ProbeRequest request;
  request.ids = {1, 2, 3};
  const Checkpoint llama = open_as(golden_file("llama/retrofit_a_base"),
                                   read_json(golden_file("llama/retrofit_a_base/config.json")));
  const auto refusal = [&](const Checkpoint& checkpoint) {
    auto result = run_probe(checkpoint, team(), request);
    return result.ok() ? "" : result.error().message;
  };
  EXPECT_THAT(refusal(llama), HasSubstr("leave no switch of family llama open"));
  const auto dir = golden_file("crowfeather");
  const Checkpoint open = open_as(dir, without(read_json(dir / "config.json"), {"rope_layout"}));
  request.ids = {1};
  EXPECT_THAT(refusal(open), HasSubstr("at least 2"));
  request.ids = {1, 2, 900};
  EXPECT_THAT(refusal(open), HasSubstr("token id 900"));
  request.ids = {1, 2, 3};
  request.window = 100;
  EXPECT_THAT(refusal(open), HasSubstr("--window 100 exceeds the 64 positions"));
}

TEST(Probe, ReadsSwitchesOfTheCommandLine) {
  const auto one = parse_switch("rope_layout=half,interleaved");
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one.value().values, (std::vector<std::string>{"\"half\"", "\"interleaved\""}));
  EXPECT_EQ(parse_switch("max_steps=8,4,true,null").value().values,
            (std::vector<std::string>{"8", "4", "true", "null"}));
  for (const char* bad : {"rope_layout", "=a", "a=", "a=1,,2"})
    EXPECT_FALSE(parse_switch(bad).ok()) << bad;
}

}  // namespace
}  // namespace plumb
