// What cannot be is one sentence that names it, and a status other than 0.
#include <nlohmann/json.hpp>

#include "tests/cli/cli_fixture.h"

namespace plumb::testing {
namespace {

using Json = nlohmann::json;
using BadInput = CliTest;

const std::string kGoldens = PLUMB_SOURCE_DIR "/tests/goldens/";

Json read_json(const std::string& path) { return Json::parse(file_text(path)); }

struct Switch {
  const char* field;
  Json value;
};

TEST_F(BadInput, UnknownValuesOfAssumedSwitches) {
  const auto refuse_all = [&](const std::string& model, const std::vector<Switch>& switches) {
    for (const Switch& one : switches) {
      Json config = read_json(kGoldens + model + "/config.json");
      config[one.field] = one.value;
      refuse("inspect " + kGoldens + model + " --config " + write("config.json", config.dump()),
             one.field);
    }
  };
  refuse_all("act/rope", {{"position", "alibi"},
                          {"rope_layout", "neox"},
                          {"rope_theta", 0},
                          {"step_embedding", "fourier"},
                          {"input_injection", "concat"},
                          {"norm_type", "group"},
                          {"norm_place", "sandwich"},
                          {"norm_eps", -1},
                          {"final_norm", "yes"},
                          {"embed_scale", "sqrt"},
                          {"logit_softcap", -1},
                          {"halting", "gumbel"},
                          {"epsilon", 1},
                          {"threshold", "low"},
                          {"halt_input", "middle"},
                          {"combine", "max"},
                          {"at_max", "drop"},
                          {"halted_state", "gone"},
                          {"memory", "kv"},
                          {"mem_len", -1},
                          {"same_length", "no"},
                          {"tie_embeddings", "no"},
                          {"segment_len", -1},
                          {"max_steps", 0}});
  refuse_all("spikewhale/full", {{"hc_read_map", "tanh"},
                                 {"hc_write_map", "tanh"},
                                 {"engram_gate_input", "both"},
                                 {"engram_gate_form", "closed"},
                                 {"engram_context", "maybe"},
                                 {"hc_sinkhorn_iters", -1},
                                 {"use_xsa", "yes"},
                                 {"hrm_gate_scale", "big"}});
  refuse_all("spikewhale/erf", {{"derf_mask", "none"}});
  refuse_all("crowfeather", {{"layer_types", {"sliding", "wide", "sliding", "global"}},
                             {"window_convention", "rows"},
                             {"rope_layout", "neox"},
                             {"rope_table_dtype", "f16"},
                             {"rope_theta", 1},
                             {"rope_theta_global", 0.5},
                             {"logit_softcap", -30},
                             {"qk_norm", "rms"},
                             {"embed_scale", "sqrt"},
                             {"rms_eps", -1},
                             {"norm_weight_offset", 2},
                             {"overflow", "wrap"},
                             {"tie_embeddings", false}});
}

TEST_F(BadInput, ANameMapThatLeavesATensorOver) {
  const std::string model = kGoldens + "crowfeather/ckpt_bf16_fused_t2.pt";
  Json map = read_json(kGoldens + "crowfeather/names_fused.json");
  for (auto rule = map["rules"].begin(); rule != map["rules"].end(); ++rule)
    if ((*rule)["from"] == "final_norm.weight") {
      map["rules"].erase(rule);
      break;
    }
  refuse("inspect " + model + " --namemap " + write("map.json", map.dump()), "final_norm.weight");
  refuse("inspect " + model + " --namemap " + write("map.json", "{\"format\": \"namemap-2\"}"),
         "is not \"namemap-1\"");
}

std::string ids(int n) {
  std::string text = "1";
  for (int i = 1; i < n; ++i) text += ",2";
  return text;
}

TEST_F(BadInput, AContextLongerThanTheModelsIsAnErrorOrAWarning) {
  const std::string out = " --emit logits --num-steps 1 --out " + path("o.safetensors");
  // A finite rope table.
  refuse("forward " + kGoldens + "spikewhale/full --ids " + ids(129) + out,
         "129 positions are asked for, but this model ends at 128");
  refuse("generate " + kGoldens + "spikewhale/full --max-new-tokens 1 --ids " + ids(129),
         "ends at 128");
  // Huginn's block_size.
  refuse("forward " + kPocketModel + " --ids " + ids(2049) + out, "ends at 2048");
  refuse("sweep --model " + kPocketModel + " --text " + kProse +
             " --num-steps 1 --window 2049 --db " + path("x.db"),
         "--window 2049");
  // Rope that goes on.
  const Answer answer =
      call("forward " + kGoldens + "llama/retrofit_a_converted --ids " + ids(1025) + out);
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(answer.err.find("warning: 1025 positions, but this model was made for 1024"),
            std::string::npos)
      << answer.err;
}

TEST_F(BadInput, LengthsOfMemoryThatCannotBe) {
  refuse("sweep --model " + kPocketModel + " --text " + kProse +
             " --num-steps 1 --window 32 --max-tokens 64 --mem-len 8 --db " + path("x.db"),
         "--mem-len has no meaning");
  refuse("sweep --model " + kPocketModel + " --text " + kProse +
             " --num-steps 1 --mem-len=-1 --db " + path("x.db"),
         "--mem-len");
}

TEST_F(BadInput, AModelWhereASweepsSpecBelongs) {
  for (const std::string& model : {kPocketModel, kPocketModel + "/model.safetensors"})
    refuse("sweep " + model + " --text " + kProse + " --db " + path("x.db"),
           "a model goes to --model");
}

TEST_F(BadInput, ProbesThatCannotJudge) {
  const std::string model = kGoldens + "crowfeather";
  refuse("probe " + model + " --ids 1,2,3 --config " + kGoldens +
             "crowfeather/config.json --switch rope_layout=",
         "--switch");
  refuse("probe " + model, "--text FILE or --ids L");
  refuse("probe " + model + " --ids 1,2,3 --text " + kProse, "--text FILE or --ids L");
  refuse("probe " + model + " --ids 1,2,900 --switch rope_layout=interleaved,half", "token id 900");
}

// The winner is written as a config that loads.
TEST_F(BadInput, AProbeWritesAConfigThatLoads) {
  const std::string model = kGoldens + "crowfeather";
  const Answer answer = call("probe " + model + " --ids " + ids(60) +
                             " --switch rope_layout=interleaved,half --out " + path("found.json"));
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(answer.out.find("all "), std::string::npos) << answer.out;
  EXPECT_EQ(call("inspect " + model + " --config " + path("found.json")).status, 0);
}

}  // namespace
}  // namespace plumb::testing
