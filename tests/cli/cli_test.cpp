// The built program, as a user calls it: exit status, one sentence on stderr, JSON on stdout.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cli/cli_fixture.h"

namespace plumb::testing {
namespace {

const std::string& kModel = kPocketModel;
const std::string& kText = kProse;

using Cli = CliTest;

TEST_F(Cli, RefusesDepthsThatAreNone) {
  for (const char* depth : {"-1", "1e9", "abc", "1000000000", "1,,2", ""})
    refuse("sweep --model " + kModel + " --text " + kText + " --num-steps '" + depth + "' --db " + path("x.db"), "--num-steps");
  refuse("forward " + kModel + " --ids 1,2 --num-steps=-1 --out " + path("o.safetensors"), "--num-steps");
}

TEST_F(Cli, OutputThatIsLostIsAFailure) {
  const int raw = std::system((std::string(PLUMB_BINARY) + " tokenize " + kModel + " --text abc >/dev/full 2>" + path("err")).c_str());
  EXPECT_EQ(WEXITSTATUS(raw), 1);
  EXPECT_NE(file_text(path("err")).find("standard output"), std::string::npos);
}

TEST_F(Cli, DepthZeroReadsTheInitialState) {
  const Answer answer = call("forward " + kModel + " --ids 1,2,3 --num-steps 0,1 --out " + path("o.safetensors") + " --json");
  EXPECT_EQ(answer.status, 0) << answer.err;
  const auto json = nlohmann::json::parse(answer.out);
  EXPECT_EQ(json["tensors"]["logits.r0"], (std::vector<int>{1, 3, 4096}));
}

TEST_F(Cli, RefusesBadIdsTextsAndPlaces) {
  refuse("forward " + kModel + " --ids 5000 --out " + path("o.safetensors"), "token id 5000");
  refuse("forward " + kModel + " --ids '1,2;3' --out " + path("o.safetensors"), "equally long");
  refuse("forward " + kModel + " --ids 1,x --out " + path("o.safetensors"), "\"x\" is not a token id");
  refuse("forward /nonexistent --ids 1 --out " + path("o.safetensors"), "/nonexistent");
  refuse("forward " + kModel + " --ids 1 --taps gate --out " + path("o.safetensors"), "never fires");
  refuse("forward " + kModel + " --ids 1 --emit nonsense --out " + path("o.safetensors"), "nonsense");
  std::ofstream(path("empty.txt")).flush();
  std::ofstream(path("latin1.txt")) << "a caf\xE9 of one's own, more than a token long";
  refuse("sweep --model " + kModel + " --text " + path("latin1.txt") + " --num-steps 1 --db " + path("x.db"),
         "byte 0xE9 at offset 5 is not UTF-8");
  refuse("sweep --model " + kModel + " --text " + kText + " --num-steps 1 --threads 1000000 --db " + path("x.db"), "--threads");
  refuse("sweep --model " + kModel + " --text " + path("empty.txt") + " --num-steps 1 --db " + path("x.db"), "empty");
  refuse("sweep --model " + kModel + " --text " + kText + " --num-steps 1 --db /nonexistent/x.db", "/nonexistent");
  refuse("status " + path("missing.db"), "missing.db");
  std::ofstream(path("not.db")) << "this is no database, whatever its name says, not even a little";
  refuse("status " + path("not.db"), "not.db");
  refuse("nonsense", "nonsense");
}

TEST_F(Cli, RefusesBrokenCheckpoints) {
  const auto broken = folder_ / "broken";
  std::filesystem::copy(kModel, broken);
  const std::string weights = file_text(broken / "model.safetensors");
  const auto with = [&](const std::string& bytes, const std::string& expected) {
    std::ofstream(broken / "model.safetensors", std::ios::binary) << bytes;
    refuse("inspect " + broken.string(), expected);
  };
  with(weights.substr(0, weights.size() / 2), "model.safetensors");
  std::string header = weights;
  header[7] = 0x10;  // a header of 2^60 bytes and more
  with(header, "model.safetensors");
  with("", "model.safetensors");
  std::ofstream(broken / "model.safetensors", std::ios::binary) << weights;
  std::ofstream(broken / "config.json") << R"({"n_embd": 128, "n_heads": 4, "intermediate_size": 640, "vocab_size": 4096})";
  refuse("inspect " + broken.string(), "expected [4096, 128]");
}

TEST_F(Cli, WarnsOfNanWeightsByName) {
  const auto broken = folder_ / "nan";
  std::filesystem::copy(kModel, broken);
  std::string weights = file_text(broken / "model.safetensors");
  for (size_t i = weights.size() - 2000; i < weights.size(); ++i) weights[i] = '\xff';
  std::ofstream(broken / "model.safetensors", std::ios::binary) << weights;
  const Answer answer = call("inspect " + broken.string());
  EXPECT_EQ(answer.status, 0);
  EXPECT_NE(answer.err.find("warning"), std::string::npos) << answer.err;
  EXPECT_NE(answer.err.find("transformer."), std::string::npos) << answer.err;
}

TEST_F(Cli, SweepsParallelAndSequentialToTheSameNumbers) {
  const std::string common = "sweep --model " + kModel + " --text " + kText + " --num-steps 1,3 --window 32 --max-tokens 100 --json ";
  const Answer parallel = call(common + "--db " + path("p.db"));
  const Answer sequential = call(common + "--scoring sequential --cache full --db " + path("s.db"));
  ASSERT_EQ(parallel.status, 0) << parallel.err;
  ASSERT_EQ(sequential.status, 0) << sequential.err;
  const auto p = nlohmann::json::parse(parallel.out)["points"], s = nlohmann::json::parse(sequential.out)["points"];
  ASSERT_EQ(p.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(p[i]["nats_per_token"].get<double>(), s[i]["nats_per_token"].get<double>(), 1e-9);
}

TEST_F(Cli, ARuleStopsTokensEarlyAndIsRecordedWithItsNumbers) {
  const Answer answer = call("sweep --model " + kModel + " --text " + kText +
                             " --num-steps 8 --window 32 --max-tokens 100 --rule 'kl<1e-2' --cache latest --json --db " + path("r.db"));
  ASSERT_EQ(answer.status, 0) << answer.err;
  const auto point = nlohmann::json::parse(answer.out)["points"][0];
  EXPECT_NE(point["rule"].get<std::string>().find("kl<0.01"), std::string::npos);
  EXPECT_NE(point["rule"].get<std::string>().find("max=8"), std::string::npos);
  EXPECT_GT(point["mean_steps"].get<double>(), 1.0);
  EXPECT_LT(point["mean_steps"].get<double>(), 8.0);
}

TEST_F(Cli, PlotsFromTheFileAndKeepsTheScript) {
  ASSERT_EQ(call("sweep --model " + kModel + " --text " + kText + " --num-steps 1,2,4 --window 64 --max-tokens 300 --record steps --db " + path("f.db")).status, 0);
  for (const char* figure : {"depth-perplexity", "steps", "exit-histogram", "exit-cdf", "heatmap", "pareto", "exit-surprisal"}) {
    const Answer answer = call("plot " + path("f.db") + " " + figure + " -o " + path(std::string(figure) + ".png"));
    EXPECT_EQ(answer.status, 0) << answer.err;
    EXPECT_EQ(file_text(path(std::string(figure) + ".png")).substr(1, 3), "PNG");
    EXPECT_TRUE(std::filesystem::exists(path(std::string(figure) + ".gp")));
    EXPECT_TRUE(std::filesystem::exists(path(std::string(figure) + ".dat")));
  }
  refuse("plot " + path("f.db") + " nonsense -o " + path("x.png"), "depth-perplexity");
}

TEST_F(Cli, ABatchFromAFileIsTheSameTogetherAndOneByOne) {
  std::ofstream(path("prompts.txt")) << "The sea\nif (x)\n1 + 2 =\nOnce\n";
  const auto tokens = [&](const std::string& flags) {
    const Answer answer = call("generate " + kModel + " --prompts " + path("prompts.txt") +
                               " --max-new-tokens 8 --eos none --json " + flags);
    EXPECT_EQ(answer.status, 0) << answer.err;
    auto json = nlohmann::json::parse(answer.out);
    EXPECT_EQ(json["tokens"].size(), 4u);
    return std::pair(json["tokens"], json["steps"]);
  };
  EXPECT_EQ(tokens("--rule 'kl<1e-2'"), tokens("--rule 'kl<1e-2' --in-flight 1"));
  EXPECT_EQ(tokens("").first, tokens("--draft-steps 1 --lookahead 3").first);
  std::ofstream(path("gap.txt")) << "The sea\n\nOnce\n";
  refuse("generate " + kModel + " --prompts " + path("gap.txt"), "line 2 is empty");
  refuse("generate " + kModel + " --prompts " + path("none.txt"), "none.txt");
  refuse("generate " + kModel + " --prompts " + path("gap.txt") + " --prompt x", "one of --prompt");
}

TEST_F(Cli, RefusesHaltingThatCannotBe) {
  const std::string generate = "generate " + kModel + " --ids 5,6,7 --max-new-tokens 3 ";
  refuse(generate + "--rule 'nonsense<1'", "unknown scalar 'nonsense'");
  refuse(generate + "--rule 'kl<nan'", "finite number");
  refuse(generate + "--criterion kl --threshold nan", "finite number");
  refuse(generate + "--cache compress-s0", "compress-s needs a whole number from 1");
  refuse(generate + "--cache compress-s99999999999", "compress-s needs a whole number");
  refuse(generate + "--cache bogus", "known: full, latest");
  refuse(generate + "--rule 'gate>=0.5'", "gate needs the model's own halting gate");
  refuse(generate + "--rule oracle-ce", "cannot know");
  refuse(generate + "--draft-steps 0 --lookahead 0", "--lookahead is 0");
  const std::string sweep = "sweep --model " + kModel + " --text " + kText + " --db " + path("h.db") +
                            " --max-tokens 40 --window 16 ";
  refuse(sweep + "--num-steps 4 --cache compress-s0", "compress-s needs a whole number");
  refuse(sweep + "--num-steps 4 --rule 'gate>=0.5'", "gate");
  refuse(sweep + "--num-steps 4 --rule kl --scoring parallel", "sequential");
  refuse(sweep + "--num-steps 4 --continuous-compute maybe", "expected off or on");
  refuse(sweep + "--num-steps 4 --readout f16", "expected f32 or bf16");
}

TEST_F(Cli, ReplayVerifiesItselfAgainstALiveRun) {
  ASSERT_EQ(call("sweep --model " + kModel + " --text " + kText + " --num-steps 8 --window 32 "
                 "--max-tokens 200 --threads 1 --record steps --db " + path("v.db")).status, 0);
  const Answer answer = call("replay " + path("v.db") +
                             " --rule 'kl<1e-3;entropy<-1;kl<0.1;latent-diff<0.05' --verify 4 --threads 1 --json");
  ASSERT_EQ(answer.status, 0) << answer.err;
  const auto json = nlohmann::json::parse(answer.out);
  const auto& verify = json["verify"];
  EXPECT_EQ(verify["cache"], "latest");
  EXPECT_EQ(verify["tokens"], 199);
  EXPECT_LT(verify["full_depth_largest_nats_apart"].get<double>(), 1e-5);
  ASSERT_EQ(verify["rules"].size(), 4u);
  for (const auto& rule : verify["rules"]) {
    EXPECT_LE(rule["other_exit_rate"].get<double>(), 1.0);
    if (rule["rule"].get<std::string>().find("entropy<-1") == std::string::npos) continue;
    // A threshold that never fires is full depth both ways, and is reported as no exit.
    EXPECT_EQ(rule["other_exit_rate"], 0);
    EXPECT_EQ(rule["no_exit_rate_live"], 1);
    EXPECT_EQ(rule["no_exit_rate_replay"], 1);
    EXPECT_LT(std::abs(rule["nats_live_minus_replay"].get<double>()), 1e-6);
  }
  for (const auto& rule : json["rules"]) {
    EXPECT_GT(rule["flops_per_token"].get<double>(), 1e6);
    if (rule["rule"].get<std::string>().find("entropy<-1") != std::string::npos) {
      EXPECT_EQ(rule["no_exit_rate"], 1);
    }
  }
  refuse("replay " + path("v.db") + " --rule 'gate>=0.5'", "gate");
  refuse("replay " + path("v.db") + " --rule 'kl<0.1 @every=2'", "which was not recorded");
  refuse("replay " + path("v.db") + " --rule kl --verify=-1", "--verify");
}

TEST_F(Cli, TokenizeAndBack) {
  const Answer answer = call("tokenize " + kModel + " --text 'Call me Ishmael.' --json");
  ASSERT_EQ(answer.status, 0) << answer.err;
  std::string ids;
  const auto json = nlohmann::json::parse(answer.out);
  for (const auto& id : json["ids"]) ids += (ids.empty() ? "" : ",") + id.dump();
  EXPECT_EQ(call("detokenize " + kModel + " --ids " + ids).out, "Call me Ishmael.\n");
}

TEST_F(Cli, BenchPrintsFiguresBesideCeilings) {
  const Answer answer = call("bench " + kModel + " --dtype f32,bf16 --runs 1 --budget 0.1 --tokens 16 --num-steps 4 --context 16 --json");
  ASSERT_EQ(answer.status, 0) << answer.err;
  const auto json = nlohmann::json::parse(answer.out);
  for (const char* name : {"f32_gflops", "bf16_gflops", "int8_gops", "l2_gbs", "l3_gbs", "dram_gbs"}) {
    EXPECT_GT(json["ceilings"][name].get<double>(), 0) << name;
    EXPECT_GT(json["ceilings"]["one_core"][name].get<double>(), 0) << name;
  }
  for (const char* name : {"forward_bf16", "forward_f32", "decode_core_bf16", "decode_core_f32", "sweep_overhead", "store_share"}) {
    const auto row = std::find_if(json["rows"].begin(), json["rows"].end(), [&](const auto& r) { return r["name"] == name; });
    ASSERT_NE(row, json["rows"].end()) << name;
    EXPECT_GT((*row)["value"].get<double>(), 0) << name;
    EXPECT_GE((*row)["runs"].get<int>(), 1) << name;
    if (!(*row)["ceiling"].is_null()) {
      EXPECT_NEAR((*row)["ratio"].get<double>(), (*row)["value"].get<double>() / (*row)["ceiling"].get<double>(), 1e-9) << name;
    }
  }
}

TEST_F(Cli, BenchRefusesWhatItCannotMeasure) {
  refuse("bench", "--synthetic");
  refuse("bench --synthetic nobody", "nobody");
  refuse("bench " + kModel + " --synthetic april-70m", "one of them");
  refuse("bench " + kModel + " --dtype f64", "f64");
  refuse("bench " + path("nowhere"), "nowhere");
}

}  // namespace
}  // namespace plumb::testing
