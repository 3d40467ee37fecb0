#include "core/model/act_transformer.h"

#include <gmock/gmock.h>

#include "core/cache/segment_memory.h"
#include "core/decode/forward.h"
#include "core/decode/segments.h"
#include "core/kernels/distribution.h"
#include "core/model/act_halting.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::Contains;
using ::testing::HasSubstr;

const std::filesystem::path kDir = golden_file("act");
using Ids = std::vector<int32_t>;

const Json& index() {
  static const Json json = read_json(kDir / "index.json");
  return json;
}
const Goldens& expected() {
  static const Goldens goldens(kDir / "expected.safetensors");
  return goldens;
}

Ids joined(const Json& segments) {
  Ids all;
  for (const Json& segment : segments)
    for (const int32_t id : segment) all.push_back(id);
  return all;
}

// A variant with some of its fields replaced again.
std::unique_ptr<RecurrentModel> load_variant(const std::string& name, const Json& fields = Json::object()) {
  const TempDir dir;
  for (const Json& variant : index()["variants"]) {
    if (variant["name"] != name) continue;
    Json config = index()["default_config"];
    config.update(variant["override"]);
    config.update(fields);
    return load(kDir / "variants" / (name + ".safetensors"), {.config = dir.write("config.json", config.dump())});
  }
  ADD_FAILURE() << "no variant " << name;
  return nullptr;
}

std::unique_ptr<RecurrentModel> load_rope(const Json& fields = Json::object()) {
  const TempDir dir;
  return load(kDir / "rope", with_config(dir, kDir / "rope/config.json", fields));
}

ForwardResult forward(const RecurrentModel& model, const ForwardRequest& request, Team& threads = team()) {
  auto result = run_forward(model, threads, request);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? std::move(result).value() : ForwardResult{};
}

// Rows [block * T + first, ... + n) of a tensor, T tokens a block.
MatView<const float> cut(const ForwardResult& result, const std::string& name, size_t first, size_t n, size_t block = 0, size_t n_tokens = 0) {
  const auto at = result.find(name);
  if (at == result.end()) {
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }
  return at->second.values.view().rows_from(block * n_tokens + first, n);
}

// `steps` rows of `n` tokens of [steps, T].
Mat<float> by_step(const ForwardResult& result, const std::string& name, size_t steps, size_t first, size_t n, size_t n_tokens) {
  Mat<float> rows(steps, n);
  for (size_t k = 0; k < steps; ++k) {
    const auto view = cut(result, name, first, n, k, n_tokens);
    std::copy(view.data(), view.data() + n, rows.row(k));
  }
  return rows;
}

TEST(ActHalting, IsTheArithmeticOfThePaper) {
  const Json unit = read_json(kDir / "halting_unit.json");
  ASSERT_GE(unit["cases"].size(), 20U);
  for (const Json& c : unit["cases"]) {
    ActConfig config;
    config.leave_remainder = c["at_max"] == "leave";
    config.epsilon = c["epsilon"];
    config.max_steps = c["max_steps"];
    ActHaltState state;
    double sum = 0;
    for (int n = 1; n <= config.max_steps; ++n) {
      const double w = state.running ? halt_step(config, c["p"][static_cast<size_t>(n - 1)], state) : 0;
      EXPECT_NEAR(w, c["w"][static_cast<size_t>(n - 1)].get<double>(), 1e-12) << c;
      sum += w * n;
    }
    EXPECT_EQ(state.steps, c["N"].get<int>()) << c;
    EXPECT_NEAR(state.remainder, c["R"].get<double>(), 1e-12) << c;
    EXPECT_NEAR(state.steps + state.remainder, c["ponder"].get<double>(), 1e-12) << c;
    EXPECT_NEAR(sum, c["weighted_sum_of_step_index"].get<double>(), 1e-12) << c;
  }
}

TEST(Act, SegmentsMatchTheReference) {
  const auto model = load_rope();
  const Json& rope = index()["rope"];
  const Json& atol = rope["atol"];
  ForwardRequest request;
  request.rows = {joined(rope["segments"])};
  request.emit = {"logits", "halting", "latent", "states"};
  const ForwardResult result = forward(*model, request);  // segment_len is the config's 12
  const size_t t = 48;
  for (size_t k = 0; k < 4; ++k) {
    const auto want = [&](const char* name) { return expected().floats(fmt::format("rope.seg{}.{}", k, name)); };
    for (const char* name : {"p", "cum", "w"})
      expect_close(by_step(result, name, 6, 12 * k, 12, t), want(name), atol[name], 0, fmt::format("{} {}", name, k));
    for (const char* name : {"R", "ponder"}) expect_close(cut(result, name, 12 * k, 12), want(name), atol[name], 0, name);
    for (const char* name : {"logits", "y"})
      if (k == 0 || k == 3) expect_close(cut(result, name[0] == 'y' ? "latent" : name, 12 * k, 12), want(name), atol[name], 0, name);
  }
  const std::vector<float> s = expected().floats("rope.seg3.s");  // after the first and the last step
  expect_close(cut(result, "states", 36, 12, 1, t), {s.begin(), s.begin() + 12 * 64}, atol["s"], 0, "s_1");
  expect_close(cut(result, "states", 36, 12, 6, t), {s.begin() + 12 * 64, s.end()}, atol["s"], 0, "s_6");
}

class ActVariant : public ::testing::TestWithParam<std::string> {};

TEST_P(ActVariant, MatchesTheReference) {
  const auto model = load_variant(GetParam());
  ASSERT_NE(model, nullptr);
  for (const Json& c : index()["variants"]) {
    if (c["name"] != GetParam()) continue;
    ForwardRequest request;
    request.rows = {joined(c["segments"])};
    request.emit = {"logits", "halting"};
    request.segment_len = 6;
    const ForwardResult result = forward(*model, request);
    for (size_t k = 0; k < 3; ++k) {
      const auto want = [&](const char* name) { return expected().floats(fmt::format("{}.seg{}.{}", GetParam(), k, name)); };
      for (const char* name : {"p", "w"})
        expect_close(by_step(result, name, 5, 6 * k, 6, 18), want(name), c["atol_halting"], 0, fmt::format("{} {}", name, k));
      expect_close(cut(result, "R", 6 * k, 6), want("R"), c["atol_halting"], 0, "R");
      const auto steps = cut(result, "N", 6 * k, 6);
      for (size_t i = 0; i < 6; ++i) EXPECT_EQ(steps(i, 0), c["N"][k][i].get<float>()) << k << " " << i;
      if (k != 1) expect_close(cut(result, "logits", 6 * k, 6), want("logits"), c["atol"], 0, fmt::format("logits {}", k));
    }
  }
}

// Parameters are what the checkpoint holds, part by part.
TEST_P(ActVariant, CountsItsParameters) {
  auto checkpoint = Checkpoint::open(kDir / "variants" / (GetParam() + ".safetensors"));
  ASSERT_TRUE(checkpoint.ok());
  int64_t stored = 0, counted = 0;
  for (const TensorInfo& tensor : checkpoint.value().tensors()) stored += static_cast<int64_t>(tensor.element_count());
  const auto model = load_variant(GetParam());
  ASSERT_NE(model, nullptr);
  for (const PartCount& part : model->info().parts) counted += part.parameters;
  EXPECT_EQ(counted, stored);
}

// Tokens one by one or a few at a time, each call no deeper than its own tokens need, over
// memory and open segment: the bits of whole segments.
TEST_P(ActVariant, CallsInsideASegmentGiveTheBitsOfTheWhole) {
  const auto model = load_variant(GetParam());
  const ModelInfo& info = model->info();
  Ids ids;
  for (const Json& c : index()["variants"])
    if (c["name"] == GetParam()) ids = joined(c["segments"]);
  const auto run_calls = [&](size_t at_most) {
    auto cache = model->make_cache(nullptr);
    EXPECT_TRUE(cache.ok());
    const SegmentBorders borders(6, SegmentMode::kAligned);
    DepthPass pass(*model, team());
    Mat<float> logits(ids.size(), static_cast<size_t>(info.vocab_size));
    for (size_t first = 0; first < ids.size();) {
      const size_t n = borders.next_call(*cache.value(), std::min(at_most, ids.size() - first), SegmentBorders::Phase::kPrompt);
      const auto part = std::span(ids).subspan(first, n);
      cache.value()->extend(part);
      Batch batch{part, {{.n_rows = n, .first_pos = static_cast<int>(first), .own_halting = true, .cache = cache.value().get()}}};
      EXPECT_TRUE(pass.begin(std::move(batch), no_states(info)).ok());
      while (pass.depth() < info.max_steps && !pass.settled()) EXPECT_TRUE(pass.advance().ok());
      EXPECT_TRUE(pass.read(Readout::kKeep, logits.view().rows_from(first, n)).ok());
      first += n;
    }
    return logits;
  };
  const Mat<float> whole = run_calls(6);
  for (const size_t at_most : {size_t{1}, size_t{4}}) expect_same_bits(run_calls(at_most), whole, fmt::format("{} at a time", at_most));
}

// One pass serves every depth, with memory between segments too.
TEST_P(ActVariant, ForcedDepthsDoNotDependOnWhichOthersAreAsked) {
  const auto model = load_variant(GetParam());
  ForwardRequest request;
  for (const Json& c : index()["variants"])
    if (c["name"] == GetParam()) request.rows = {joined(c["segments"])};
  request.segment_len = 6;
  request.emit = {"logits", "halting", "states", "exits"};
  request.depths = {4, 1, 2};
  const ForwardResult together = forward(*model, request);
  for (const int depth : {1, 2, 4}) {
    request.depths = {depth};
    const ForwardResult alone = forward(*model, request);
    const std::string name = fmt::format("logits.r{}", depth);
    expect_same_bits(cut(together, name, 0, 18), cut(alone, name, 0, 18), name);
    if (depth == 4)
      for (const auto& [key, tensor] : alone) expect_same_bits(together.at(key).values, tensor.values, key);
    for (size_t i = 0; i < 18; ++i) {
      EXPECT_EQ(cut(alone, "N", i, 1)(0, 0), static_cast<float>(depth));
      EXPECT_EQ(cut(alone, "w", i, 1, static_cast<size_t>(depth - 1), 18)(0, 0), 1);
      EXPECT_EQ(cut(alone, "p", i, 1, static_cast<size_t>(depth - 1), 18)(0, 0), 0);
    }
  }
}

std::vector<std::string> variant_names() {
  std::vector<std::string> names;
  for (const Json& c : index()["variants"]) names.push_back(c["name"]);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Switches, ActVariant, ::testing::ValuesIn(variant_names()), [](const auto& variant) {
  std::string name = variant.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
});

// Greedy generation a token at a time, aligned and rolling: same tokens, same steps.
TEST(Act, DecodingFollowsTheReferenceInBothSegmentModes) {
  const auto model = load_rope();
  const ModelInfo& info = model->info();
  for (const Json& c : index()["rope"]["generation"]) {
    auto cache = model->make_cache(nullptr);
    ASSERT_TRUE(cache.ok());
    const SegmentBorders borders(c["segment_len"], *parse_segment_mode(c["mode"].get<std::string>()));
    DepthPass pass(*model, team());
    Mat<float> logits;
    const auto call = [&](std::span<const int32_t> part) {
      Batch batch{part, {{.n_rows = part.size(), .first_pos = cache.value()->length(), .own_halting = true, .cache = cache.value().get()}}};
      cache.value()->extend(part);
      ASSERT_TRUE(pass.begin(std::move(batch), no_states(info)).ok());
      while (pass.depth() < info.max_steps && !pass.settled()) ASSERT_TRUE(pass.advance().ok());
      logits.resize(part.size(), static_cast<size_t>(info.vocab_size));
      ASSERT_TRUE(pass.read(Readout::kKeep, logits).ok());
    };
    const Ids prompt = c["prompt"];
    for (size_t first = 0; first < prompt.size();) {
      const size_t n = borders.next_call(*cache.value(), prompt.size() - first, SegmentBorders::Phase::kPrompt);
      call(std::span(prompt).subspan(first, n));
      first += n;
    }
    Ids tokens, steps;
    for (size_t i = 0; i < c["tokens"].size(); ++i) {
      const float* row = logits.row(logits.rows() - 1);
      tokens.push_back(static_cast<int32_t>(std::max_element(row, row + logits.cols()) - row));
      borders.next_call(*cache.value(), 1, SegmentBorders::Phase::kGenerated);
      call(std::span(tokens).last(1));
      steps.push_back(pass.depth());
    }
    EXPECT_EQ(tokens, c["tokens"].get<Ids>()) << c["mode"];
    EXPECT_EQ(steps, c["N_of_generated"].get<Ids>()) << c["mode"];
  }
}

TEST(Act, ARowDoesNotDependOnItsCompanyOrItsThreads) {
  const auto model = load_rope();
  ForwardRequest both;
  const Json& segments = index()["rope"]["segments"];
  both.rows = {joined({segments[0], segments[1]}), joined({segments[2], segments[3]})};
  both.emit = {"logits", "halting"};
  Team single(1);
  const ForwardResult together = forward(*model, both), unthreaded = forward(*model, both, single);
  for (const auto& [name, tensor] : together) expect_same_bits(unthreaded.at(name).values, tensor.values, name);
  for (size_t b = 0; b < 2; ++b) {
    ForwardRequest one = both;
    one.rows = {both.rows[b]};
    expect_same_bits(cut(forward(*model, one), "logits", 0, 24), cut(together, "logits", 24 * b, 24), "batch row");
  }
}

// Sequences of one call at different steps, as a scheduler of tokens runs them.
TEST(Act, SequencesAtDifferentStepsShareACall) {
  for (const char* name : {"rope_interleaved", "xl_final_output_step_learned", "inject_add_step_learned_running"}) {
    const auto model = load_variant(name);
    const ModelInfo& info = model->info();
    const Ids ids = {5, 17, 80, 3, 41, 66};
    const auto e = static_cast<size_t>(info.model_dim), width = static_cast<size_t>(info.state_dim);
    const auto workspace = model->make_workspace(team());
    auto a = model->make_cache(nullptr), b = model->make_cache(nullptr);
    a.value()->extend(std::span(ids).first(4));
    b.value()->extend(std::span(ids).last(2));
    Batch batch{ids, {{.first_row = 0, .n_rows = 4, .own_halting = true, .cache = a.value().get()},
                      {.first_row = 4, .n_rows = 2, .own_halting = true, .cache = b.value().get()}}};
    Mat<float> injected(6, e), state(6, width);
    ASSERT_TRUE(model->prelude(batch, *workspace, injected).ok());
    model->initial_state(injected, state);
    Batch first{batch.ids.first(4), {batch.groups[0]}};
    ASSERT_TRUE(model->step(first, *workspace, injected.view().rows_from(0, 4), state.view().rows_from(0, 4)).ok());
    batch.groups[0].step = 1;
    ASSERT_TRUE(model->step(batch, *workspace, injected, state).ok());

    for (const auto& [first_row, n, depth] : {std::tuple{0, 4, 2}, std::tuple{4, 2, 1}}) {
      auto cache = model->make_cache(nullptr);
      const auto part = std::span(ids).subspan(static_cast<size_t>(first_row), static_cast<size_t>(n));
      cache.value()->extend(part);
      DepthPass pass(*model, team());
      ASSERT_TRUE(pass.begin({part, {{.n_rows = part.size(), .own_halting = true, .cache = cache.value().get()}}}, no_states(info)).ok());
      for (int k = 0; k < depth; ++k) ASSERT_TRUE(pass.advance().ok());
      expect_same_bits(state.view().rows_from(static_cast<size_t>(first_row), part.size()), pass.state(), name);
    }
  }
}

TEST(Act, TheGateCrossesWhereTheModelHalts) {
  const auto model = load_rope();
  const ModelInfo& info = model->info();
  ASSERT_GE(info.gate_column, 0);
  const Ids ids = index()["rope"]["segments"][0];
  const std::vector<float> steps = [&] {
    ForwardRequest request;
    request.rows = {ids};
    request.emit = {"halting"};
    const ForwardResult result = forward(*model, request);
    const auto view = cut(result, "N", 0, ids.size());
    return std::vector<float>(view.data(), view.data() + ids.size());
  }();
  for (const bool own_halting : {false, true}) {
    DepthPass pass(*model, team());
    ASSERT_TRUE(pass.begin({ids, {{.n_rows = ids.size(), .own_halting = own_halting}}}, no_states(info)).ok());
    size_t crossed = 0;
    for (int k = 1; k <= info.max_steps; ++k) {
      ASSERT_TRUE(pass.advance().ok());
      for (size_t i = 0; i < ids.size(); ++i) {
        const float gate = pass.state()(i, static_cast<size_t>(info.gate_column));
        if (static_cast<float>(k) < steps[i]) {
          EXPECT_LT(gate, 0.99F);
        }
        if (static_cast<float>(k) == steps[i] && k < info.max_steps) {
          EXPECT_GE(gate, 0.99F);
          ++crossed;
        }
        EXPECT_LE(gate, 1.0F);
      }
    }
    EXPECT_GT(crossed, 5U);
  }
}

TEST(Act, MemoryLengthCanBeOverridden) {
  const auto model = load_variant("rope_theta_1e6"), none = load_variant("rope_theta_1e6", {{"memory", "none"}});
  ForwardRequest request;
  request.rows = {{5, 17, 80, 3, 41, 66, 12, 9, 30, 31}};
  request.emit = {"logits"};
  request.segment_len = 3;
  const ForwardResult with_memory = forward(*model, request);
  ASSERT_TRUE(model->set_memory_len(0).ok());
  EXPECT_EQ(model->info().memory_len, 0);
  const ForwardResult without = forward(*model, request);
  expect_same_bits(cut(without, "logits", 0, 10), cut(forward(*none, request), "logits", 0, 10), "memory of 0");
  EXPECT_NE(cut(without, "logits", 4, 1)(0, 0), cut(with_memory, "logits", 4, 1)(0, 0));
  EXPECT_THAT(none->set_memory_len(4).error().message, HasSubstr("\"memory\": \"none\""));
}

TEST(Act, TapsShowEveryRowAndChangeNoBit) {
  const auto model = load_rope();
  const ModelInfo& info = model->info();
  ForwardRequest request;
  request.rows = {index()["rope"]["segments"][0].get<Ids>()};
  request.emit = {"logits"};
  const ForwardResult plain = forward(*model, request);
  request.taps = info.taps;
  const ForwardResult tapped = forward(*model, request);
  expect_same_bits(cut(tapped, "logits", 0, 12), cut(plain, "logits", 0, 12), "logits");
  size_t n_taps = 0;
  for (const Tap tap : info.taps)
    for (const auto& [name, tensor] : tapped)
      if (name.starts_with(fmt::format("tap.{}.", tap_row(tap).name))) {
        EXPECT_EQ(tensor.shape[0], 12) << name;
        ++n_taps;
        break;
      }
  EXPECT_EQ(n_taps, info.taps.size());
  request.segment_len = 5;
  EXPECT_THAT(run_forward(*model, team(), request).error().message, HasSubstr("--taps shows one call"));
}

// Teacher-forced scores over segments are those of the forward pass, whatever is recorded beside.
TEST(Act, ScoringCarriesTheMemoryAlong) {
  for (const char* name : {"rope_theta_1e6", "mem_final_output"}) {
    const auto model = load_variant(name);
    const Ids tokens = {5, 17, 80, 3, 41, 66, 12, 9, 30, 31, 77};
    ForwardRequest request;
    request.rows = {{tokens.begin(), tokens.end() - 1}};
    request.emit = {"logits"};
    request.segment_len = 4;
    for (const bool own_halting : {false, true}) {
      request.depths = own_halting ? std::vector<int>{} : std::vector<int>{1, 3};
      const ForwardResult logits = forward(*model, request);
      ScoreRequest score;
      score.depths = own_halting ? std::vector<int>{model->info().max_steps} : request.depths;
      score.own_halting = own_halting;
      for (const bool record : {false, true}) {
        score.record_steps = record;
        DepthPass pass(*model, team());
        auto result = score_segments(pass, no_states(model->info()), team(), tokens, {0, 10, 5}, score, 4);
        ASSERT_TRUE(result.ok()) << result.error().message;
        ASSERT_EQ(result.value().nll.size(), score.depths.size());
        for (size_t d = 0; d < score.depths.size(); ++d) {
          ASSERT_EQ(result.value().nll[d].size(), 5U);
          for (size_t i = 0; i < 5; ++i) {
            const auto row = cut(logits, own_halting ? "logits" : fmt::format("logits.r{}", score.depths[d]), 5 + i, 1);
            std::vector<float> log_probs(row.cols());
            log_softmax({row.data(), row.cols()}, log_probs);
            EXPECT_NEAR(result.value().nll[d][i], -log_probs[static_cast<size_t>(tokens[6 + i])], 1e-5) << name << d << i;
          }
        }
        EXPECT_EQ(result.value().steps.size(), record ? 5U : 0U);
      }
    }
  }
}

TEST(Act, ABareWeightsFileIsAModelAndSaysWhatItAssumed) {
  const TempDir dir;
  std::filesystem::copy(kDir / "rope/model.safetensors", dir.path() / "base.safetensors");
  std::filesystem::copy(kDir / "variants/xl_final_output_step_learned.safetensors", dir.path() / "sft.safetensors");
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
  auto file = open_safetensors(kDir / "variants/xl_final_output_step_learned.safetensors");
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
    return refusal(kDir / "rope", with_config(dir, kDir / "rope/config.json", fields));
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
  auto first = Checkpoint::open(kDir / "rope");
  const Json written = act_config_json(read_act_config(first.value()).value());
  auto second = Checkpoint::open(kDir / "rope", {.config = dir.write("again.json", written.dump())});
  const ActConfig again = read_act_config(second.value()).value();
  EXPECT_EQ(act_config_json(again), written);
  EXPECT_TRUE(again.notes.empty()) << again.notes.front();
}

TEST(Act, RunsInEveryPrecision) {
  const auto exact = load_rope();
  const Ids ids = index()["rope"]["segments"][0];
  const Mat<float> logits = run(*exact, ids, 4);
  for (const auto& [precision, most] : {std::pair{Precision::kBF16, 1.0}, std::pair{Precision::kI8, 1.5}}) {
    const auto model = load(kDir / "rope", {}, precision);
    const Mat<float> rough = run(*model, ids, 4);
    double squares = 0;
    for (size_t i = 0; i < rough.size(); ++i) squares += std::pow(rough.data()[i] - logits.data()[i], 2);
    const double rms = std::sqrt(squares / static_cast<double>(rough.size()));
    EXPECT_GT(rms, 0);
    EXPECT_LT(rms, most) << precision_name(precision);
  }
}

}  // namespace
}  // namespace plumb
