#include "core/model/spikewhale.h"

#include <gmock/gmock.h>

#include <functional>

#include "core/model/engram.h"
#include "core/model/spikewhale_names.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::Contains;
using ::testing::HasSubstr;

const std::filesystem::path kDir = golden_file("spikewhale");

Goldens goldens() { return Goldens(kDir / "tensors.safetensors"); }

std::vector<int32_t> prompt(const char* folder, const char* name) {
  return read_json(kDir / "goldens.json")[folder]["prompts"][name].get<std::vector<int32_t>>();
}

void expect_reference(MatView<const float> got, const std::string& name) {
  expect_close(got, goldens().floats(name), 3e-4, 1e-4, name);
}

std::unique_ptr<SequenceCache> new_cache(const RecurrentModel& model) {
  auto cache = model.make_cache(nullptr);
  EXPECT_TRUE(cache.ok());
  return std::move(cache).value();
}

// One row of logits after another, in calls of these sizes; the last size repeats.
Mat<float> run_chunks(const RecurrentModel& model, const std::vector<int32_t>& ids,
                      std::vector<size_t> sizes) {
  const auto cache = new_cache(model);
  Mat<float> logits(ids.size(), static_cast<size_t>(model.info().vocab_size));
  size_t call = 0;
  for (size_t first = 0; first < ids.size();) {
    const size_t count = std::min(sizes[std::min(call++, sizes.size() - 1)], ids.size() - first);
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(first);
    const Mat<float> rows = run(model, {begin, begin + static_cast<std::ptrdiff_t>(count)}, -1,
                                static_cast<int>(first), cache.get());
    std::copy(rows.data(), rows.data() + rows.size(), logits.row(first));
    first += count;
  }
  return logits;
}

// Shows every firing of some taps.
class Watch final : public TapObserver {
 public:
  explicit Watch(std::function<void(Tap, const Place&, MatView<const float>)> look)
      : look_(std::move(look)) {}
  bool wants(Tap, const Place&) override { return true; }
  void show(Tap tap, const Place& place, MatView<const float> rows) override {
    look_(tap, place, rows);
  }

 private:
  std::function<void(Tap, const Place&, MatView<const float>)> look_;
};

struct TensorEdit {
  std::string name;  // empty: left out
  std::vector<int64_t> shape;
};

// A golden checkpoint with tensors renamed, reshaped or left out, and its config or none.
std::filesystem::path edited(const TempDir& dir, const char* folder,
                             const std::function<void(TensorEdit&)>& edit, const Json* config,
                             const std::vector<NamedTensor>& more = {}) {
  auto file = open_safetensors(kDir / folder / "model.safetensors");
  EXPECT_TRUE(file.ok());
  std::vector<NamedTensor> tensors = more;
  for (const TensorInfo& tensor : file.value().tensors) {
    TensorEdit changed{tensor.name, tensor.shape};
    edit(changed);
    if (!changed.name.empty())
      tensors.push_back({changed.name, tensor.dtype, changed.shape, {tensor.data, tensor.bytes}});
  }
  EXPECT_TRUE(write_safetensors(dir / "model.safetensors", tensors).ok());
  if (config != nullptr) dir.write("config.json", config->dump());
  return dir.path();
}

void leave_alone(TensorEdit&) {}

TEST(SpikeWhale, LogitsMatchTheReference) {
  expect_reference(run(*load(kDir / "full"), prompt("full", "p40")), "full.p40.logits");
  expect_reference(run(*load(kDir / "erf"), prompt("erf", "p5")), "erf.p5.logits");
}

TEST(SpikeWhale, EveryDepthMatchesTheReferencePastTheLastGateToo) {
  const auto model = load(kDir / "full");
  EXPECT_EQ(model->info().axis, "HRM refinement passes");
  EXPECT_EQ(model->info().default_steps, 3);
  for (const int depth : {0, 1, 2, 3, 4, 6, 8})
    expect_reference(run(*model, prompt("full", "p5"), depth),
                     fmt::format("full.p5.logits_hrm_steps_{}", depth));
}

TEST(SpikeWhale, WhatHappensInsideMatchesTheReference) {
  const auto model = load(kDir / "full");
  const auto ids = prompt("full", "p40");
  size_t seen = 0;
  Watch watch([&](Tap tap, const Place& place, MatView<const float> rows) {
    ++seen;
    if (tap == Tap::kAttentionOut && place.block == 0)
      expect_reference(rows, "full.p40.layer0.attn_out");
    else if (tap == Tap::kBlockOut && place.block == 2)
      expect_reference(rows, "full.p40.hc_out_mix");
    else if (tap == Tap::kInjected)
      expect_reference(rows, "full.p40.hc_out_mix");
    else if (tap == Tap::kState && place.step == 2)
      expect_reference(rows, "full.p40.hrm_step2");
    else if (tap == Tap::kHeadInput)
      expect_reference(rows, "full.p40.final_norm");
    else if (tap == Tap::kLogits)
      expect_reference(rows, "full.p40.logits");
    else
      --seen;
    if (tap == Tap::kKey && place.block == 0) {
      // Stored head by head, shown row by row.
      const std::vector<float> keys = goldens().floats("full.p40.cache_k_layer0");
      for (size_t i = 0; i < rows.rows(); ++i)
        for (size_t c = 0; c < rows.cols(); ++c)
          ASSERT_NEAR(rows(i, c), keys[(c / 16 * rows.rows() + i) * 16 + c % 16], 3e-4)
              << i << " " << c;
      ++seen;
    }
  });
  TapBus bus;
  ASSERT_TRUE(bus.subscribe(&watch, model->info().taps, model->info().taps).ok());
  DepthPass pass(*model, team(), &bus);
  ASSERT_TRUE(pass.begin({ids, {{.n_rows = ids.size()}}}, no_states(model->info())).ok());
  for (int k = 0; k < 3; ++k) ASSERT_TRUE(pass.advance().ok());
  Mat<float> logits(ids.size(), 320);
  ASSERT_TRUE(pass.read(Readout::kKeep, logits).ok());
  EXPECT_EQ(seen, 7U);
  ASSERT_TRUE(pass.read(Readout::kPeek, logits).ok());
  EXPECT_EQ(seen, 7U) << "a peek fires no tap";
}

TEST(SpikeWhale, ValueEmbeddingWithoutStreamsStaysInTheResidual) {
  const auto model = load(kDir / "plain");
  const auto ids = prompt("plain", "p40");
  DepthPass pass(*model, team());
  ASSERT_TRUE(pass.begin({ids, {{.n_rows = ids.size()}}}, no_states(model->info())).ok());
  expect_reference(pass.state(), "plain.p40.layer0");
}

TEST(SpikeWhale, EveryAssumedFormMatchesTheReference) {
  const TempDir dir;
  const auto ids = prompt("full", "p5");
  const auto last_row = [&](const Json& overrides) {
    const auto model = load(kDir / "full", with_config(dir, kDir / "full/config.json", overrides));
    const Mat<float> logits = run(*model, ids);
    Mat<float> row(1, logits.cols());
    std::copy(logits.row(4), logits.row(4) + logits.cols(), row.data());
    return row;
  };
  for (const char* read : {"softmax", "sigmoid", "raw"})
    for (const char* write : {"softmax", "softmax_x_n", "sigmoid_x_2", "raw"})
      expect_reference(last_row({{"hc_read_map", read}, {"hc_write_map", write}}),
                       fmt::format("full.p5.variant_hc.pre_{}.post_{}.logits", read, write));
  expect_reference(last_row({{"engram_gate_input", "hidden_retrieved"}}),
                   "full.p5.variant_gate.cat_x_retrieved.logits");
  expect_reference(last_row({{"engram_gate_form", "erf_only"}}),
                   "full.p5.variant_gate.gamma_erf_only.logits");
}

TEST(SpikeWhale, GreedyTextOverACacheIsTheReferenceText) {
  const TempDir dir;
  const Json expected = read_json(kDir / "goldens.json")["full"];
  for (const bool context : {true, false}) {
    const auto model = load(
        kDir / "full",
        with_config(dir, kDir / "full/config.json", {{"engram_context", context ? "on" : "off"}}));
    for (const auto& [name, ids] :
         expected[context ? "greedy" : "greedy_without_context"].items()) {
      const auto cache = new_cache(*model);
      std::vector<int32_t> call = expected["prompts"][name].get<std::vector<int32_t>>(), text;
      Mat<float> rows(8, 320);
      for (size_t i = 0; i < 24; ++i) {
        const Mat<float> logits = run(*model, call, -1, cache->length(), cache.get());
        const float* row = logits.row(call.size() - 1);
        if (i < 8) std::copy(row, row + 320, rows.row(i));
        text.push_back(static_cast<int32_t>(std::max_element(row, row + 320) - row));
        call = {text.back()};
      }
      EXPECT_EQ(text, ids.get<std::vector<int32_t>>()) << name << " context " << context;
      if (!context && name == "p5") expect_reference(rows, "full.p5.gen_logits_no_engram_context");
    }
  }
}

TEST(SpikeWhale, ACacheGivesTheBitsOfAWholePass) {
  for (const char* folder : {"full", "plain", "erf"}) {
    const auto model = load(kDir / folder);
    const auto ids = prompt(folder, "p40");
    const Mat<float> whole = run(*model, ids);
    expect_same_bits(run_chunks(*model, ids, {1}), whole, fmt::format("{} token by token", folder));
    expect_same_bits(run_chunks(*model, ids, {7, 1, 20, 12}), whole,
                     fmt::format("{} in chunks", folder));
  }
}

TEST(SpikeWhale, GoingBackRollsTheEngramBackToo) {
  const auto model = load(kDir / "full");
  const auto ids = prompt("full", "p40");
  const auto cache = new_cache(*model);
  run(*model, {5, 6, 7, 8, 9, 10}, -1, 0, cache.get());
  ASSERT_TRUE(cache->truncate(0).ok());
  run(*model, {ids.begin(), ids.begin() + 20}, -1, 0, cache.get());
  run(*model, {1, 2, 3}, -1, 20, cache.get());
  ASSERT_TRUE(cache->truncate(20).ok());
  const Mat<float> tail = run(*model, {ids.begin() + 20, ids.end()}, -1, 20, cache.get());
  expect_same_bits(tail, run(*model, ids).view().rows_from(20, 20), "after going back");
  // Keys and values of 2 heads of 16, in 3 layers.
  EXPECT_EQ(cache->bytes(), 40 * 3 * 2 * 32 * sizeof(float));
}

TEST(SpikeWhale, TheLeakOfThePublishedErfAttentionCanBeReproduced) {
  const TempDir dir;
  const auto model =
      load(kDir / "erf", with_config(dir, kDir / "erf/config.json", {{"derf_mask", "reference"}}));
  const auto ids = prompt("erf", "p40");
  const Mat<float> chunked = run_chunks(*model, {ids.begin(), ids.begin() + 28}, {7, 1, 20});
  expect_reference(chunked, "erf.p40.logits_chunked_7_1_20_12");
  // Otherwise nothing leaks: see ACacheGivesTheBitsOfAWholePass.
}

TEST(SpikeWhale, ARowDoesNotDependOnItsCompanyOrItsThreads) {
  const auto model = load(kDir / "full");
  const auto ids = prompt("full", "p40");
  const Mat<float> alone = run(*model, {ids.begin() + 12, ids.end()});
  Team single(1);
  for (Team* threads : {&team(), &single}) {
    DepthPass pass(*model, *threads);
    Batch batch{ids,
                {{.first_row = 0, .n_rows = 12}, {.first_row = 12, .n_rows = 28, .sequence = 1}}};
    ASSERT_TRUE(pass.begin(std::move(batch), no_states(model->info())).ok());
    for (int k = 0; k < 3; ++k) ASSERT_TRUE(pass.advance().ok());
    Mat<float> logits(40, 320);
    ASSERT_TRUE(pass.read(Readout::kKeep, logits).ok());
    expect_same_bits(logits.view().rows_from(12, 28), alone, "beside another sequence");
  }
}

TEST(SpikeWhale, GroupsAtDifferentStepsUseTheirOwnGates) {
  const auto model = load(kDir / "full");
  const auto ids = prompt("full", "p5");
  const auto workspace = model->make_workspace(team());
  Batch both{ids,
             {{.first_row = 0, .n_rows = 2, .step = 0}, {.first_row = 2, .n_rows = 3, .step = 2}}};
  Mat<float> anchor(5, 48), together(5, 48), apart(5, 48);
  ASSERT_TRUE(model->prelude(both, *workspace, anchor).ok());
  model->initial_state(anchor, together);
  model->initial_state(anchor, apart);
  ASSERT_TRUE(model->step(both, *workspace, anchor, together).ok());
  const std::span<const int32_t> all(ids);
  const Batch first{all.first(2), {{.n_rows = 2, .step = 0}}},
      second{all.subspan(2), {{.n_rows = 3, .step = 2}}};
  ASSERT_TRUE(
      model->step(first, *workspace, anchor.view().rows_from(0, 2), apart.view().rows_from(0, 2))
          .ok());
  ASSERT_TRUE(
      model->step(second, *workspace, anchor.view().rows_from(2, 3), apart.view().rows_from(2, 3))
          .ok());
  expect_same_bits(together, apart, "mixed steps");
}

TEST(Engram, HashesRowsAndSumMatchTheReference) {
  const auto checkpoint = Checkpoint::open(kDir / "full");
  ASSERT_TRUE(checkpoint.ok());
  WeightLoader loader(checkpoint.value(), Precision::kF32, team());
  auto engram = Engram::load({.compress_dim = 8, .n_heads = 3, .table_size = 61, .max_ngram = 3},
                             320, 48, loader);
  ASSERT_TRUE(engram.ok()) << engram.error().message;
  const auto ids = prompt("full", "p40");
  const Goldens all = goldens();
  for (size_t n = 1; n <= 3; ++n) {
    const std::vector<float> values = all.floats(fmt::format("full.p40.hash_value_n{}", n));
    const std::vector<int32_t> indices = all.ids(fmt::format("full.p40.hash_index_n{}", n));
    ASSERT_EQ(values.size(), (41 - n) * 3);
    for (size_t i = 0; i < 41 - n; ++i)
      for (size_t head = 0; head < 3; ++head) {
        const float z = engram.value().hash_value(std::span(ids).subspan(i, n), head);
        EXPECT_NEAR(z, values[i * 3 + head], 1e-4);
        EXPECT_EQ(static_cast<int64_t>(std::abs(z)) % 61, indices[i * 3 + head]);
      }
  }
  const Batch batch{ids, {{.n_rows = ids.size()}}};
  EngramWorkspace workspace;
  Mat<float> x(40, 48), retrieved(40, 48);
  ASSERT_TRUE(engram.value().retrieve(batch, team(), retrieved).ok());
  expect_close(retrieved, all.floats("full.p40.engram_retrieved"), 2e-6, 0, "retrieved");
  const auto table = loader.linear("model.embed_tokens.weight", 320, 48);
  embed_rows(table.value().w, ids, 1, x);
  ASSERT_TRUE(engram.value().add(batch, team(), workspace, x).ok());
  expect_close(x, all.floats("full.p40.after_engram"), 2e-6, 0, "after engram");
}

TEST(Engram, AHashThatNoIntegerHoldsIsAnError) {
  const TempDir dir;
  const Json config = read_json(kDir / "full/config.json");
  const std::vector<float> huge(8 * 48, 3e38F);
  const auto path =
      edited(dir, "full",
             [](TensorEdit& t) {
               if (t.name == "model.engram.compressor.proj.weight") t.name.clear();
             },
             &config, {f32_tensor("model.engram.compressor.proj.weight", {8, 48}, huge)});
  const auto model = load(path);
  ASSERT_NE(model, nullptr);
  DepthPass pass(*model, team());
  const auto ids = prompt("full", "p5");
  const Status begun = pass.begin({ids, {{.n_rows = ids.size()}}}, no_states(model->info()));
  ASSERT_FALSE(begun.ok());
  EXPECT_THAT(begun.error().message, HasSubstr("engram hash at position"));
}

TEST(SpikeWhale, ReadsAssumedNamesUnderOtherSpellingsAndTrainingHeads) {
  const TempDir dir;
  const Json config = read_json(kDir / "full/config.json");
  const auto rename = [](TensorEdit& t) {
    const auto ends = [&](const char* from, const char* to) {
      if (t.name.ends_with(from))
        t.name.replace(t.name.size() - std::strlen(from), std::string::npos, to);
    };
    if (t.name.ends_with("_logits")) t.shape = {1, 4};
    ends(".pre_logits", ".read_logits");
    ends(".post_logits", ".post");
    ends("hc_out_mix.logits", "hc_out_mix.weight");
    ends("gate.gamma", "gate.scale");
  };
  const std::vector<float> any(6);
  const auto model = load(
      edited(dir, "full", rename, &config,
             {f32_tensor("jepa.whatever", {6}, any), f32_tensor("mtp_heads.7.x", {2, 3}, any)}));
  ASSERT_NE(model, nullptr);
  const auto ids = prompt("full", "p5");
  expect_same_bits(run(*model, ids), run(*load(kDir / "full"), ids), "other spellings");
}

TEST(SpikeWhale, UnknownNamesOfAssumedTensorsAreListed) {
  const TempDir dir;
  const Json config = read_json(kDir / "full/config.json");
  const auto path = edited(
      dir, "full",
      [](TensorEdit& t) {
        if (t.name.ends_with("1.hc_ffn.pre_logits")) t.name = "model.layers.1.hc_ffn.alpha";
      },
      &config);
  const std::string sentence = refusal(path);
  EXPECT_THAT(sentence, HasSubstr("pre_logits or pre_weight or pre or read_logits"));
  EXPECT_THAT(sentence, HasSubstr("\"model.layers.1.hc_ffn.alpha\" [4]"));
  EXPECT_THAT(sentence, HasSubstr("--namemap"));
}

TEST(SpikeWhale, WithoutAConfigTheTensorsDecide) {
  const TempDir dir;
  const auto model = load(edited(dir, "full", leave_alone, nullptr));
  ASSERT_NE(model, nullptr);
  EXPECT_THAT(model->info().notes, Contains(HasSubstr("hidden_size 48")));
  EXPECT_THAT(model->info().notes, Contains(HasSubstr("use_xsa true")));
  // This checkpoint was made with another rms_norm_eps than the published models.
  EXPECT_EQ(model->info().n_heads, 6);
  EXPECT_EQ(model->info().n_kv_heads, 2);
  EXPECT_EQ(model->info().default_steps, 3);
  EXPECT_EQ(model->info().max_positions, 128);
}

TEST(SpikeWhale, RefusesConfigsThatCannotBe) {
  const TempDir dir;
  const auto sentence = [&](const Json& overrides, const std::vector<std::string>& without = {}) {
    return refusal(kDir / "full", with_config(dir, kDir / "full/config.json", overrides, without));
  };
  EXPECT_EQ(sentence({{"hc_eps", 1e-6}}), "");
  EXPECT_THAT(sentence({{"use_moe", true}}), HasSubstr("\"use_moe\" is true, expected false"));
  EXPECT_THAT(sentence({{"moe_layers", {1}}}),
              HasSubstr("\"moe_layers\" is [1], expected an empty list"));
  EXPECT_THAT(sentence({{"model_type", "whale"}}),
              HasSubstr("\"model_type\" is \"whale\", expected \"spike_whale\""));
  EXPECT_THAT(
      sentence({{"hc_read_map", "tanh"}}),
      HasSubstr("\"hc_read_map\" is \"tanh\", expected \"softmax\" or \"sigmoid\" or \"raw\""));
  EXPECT_THAT(sentence({{"engram_context", "maybe"}}),
              HasSubstr("\"engram_context\" is \"maybe\""));
  EXPECT_THAT(sentence({{"nope_head_dim", 8}}), HasSubstr("do not add up to head_dim 16"));
  EXPECT_THAT(sentence({{"num_key_value_heads", 4}}), HasSubstr("not a multiple"));
  EXPECT_THAT(sentence({{"hrm_refine_steps", 2}}),
              HasSubstr("\"model.hrm_refine.gate\" has shape [3], expected [2]"));
  EXPECT_THAT(sentence({{"use_derf", true}}), HasSubstr("derf_alpha\" is missing"));
  EXPECT_THAT(sentence({{"use_qk_norm", false}}),
              HasSubstr("tensor(s) that this family does not have"));
  EXPECT_THAT(sentence(Json::object(), {"use_xsa"}), HasSubstr("field \"use_xsa\" is missing"));
  EXPECT_THAT(sentence(Json::object(), {"engram_table_size"}),
              HasSubstr("field \"engram_table_size\" is missing"));
  EXPECT_THAT(sentence({{"tie_word_embeddings", false}}),
              HasSubstr("\"lm_head.weight\" is missing"));
}

TEST(SpikeWhale, StopsAtWhatItCannotDo) {
  const auto model = load(kDir / "full");
  EXPECT_THAT(
      model
          ->make_cache(
              make_kv_policy("latest", CacheIndex::kRecurrence, model->info().layers, 0).value())
          .error()
          .message,
      HasSubstr("runs with \"full\" only"));
  DepthPass pass(*model, team());
  const std::vector<int32_t> ids(129, 7);
  EXPECT_THAT(pass.begin({ids, {{.n_rows = 129}}}, no_states(model->info())).error().message,
              HasSubstr("ends at 128"));
  const auto without = load(kDir / "erf");
  EXPECT_EQ(without->info().default_steps, 0);
  DepthPass other(*without, team());
  const std::vector<int32_t> one = {7};
  ASSERT_TRUE(other.begin({one, {{.n_rows = 1}}}, no_states(without->info())).ok());
  EXPECT_THAT(other.advance().error().message, HasSubstr("runs 0 HRM refinement passes only"));
}

TEST(SpikeWhale, ScalingTheGateToNothingIsNoRefinement) {
  const TempDir dir;
  const auto still =
      load(kDir / "full", with_config(dir, kDir / "full/config.json", {{"hrm_gate_scale", 0}}));
  const auto ids = prompt("full", "p5");
  expect_reference(run(*still, ids, 4), "full.p5.logits_hrm_steps_0");
}

TEST(Engram, LowerPrecisionLeavesTheHashAlone) {
  const auto checkpoint = Checkpoint::open(kDir / "full");
  ASSERT_TRUE(checkpoint.ok());
  const EngramConfig config{.compress_dim = 8, .n_heads = 3, .table_size = 61, .max_ngram = 3};
  const auto ids = prompt("full", "p5");
  const auto hash = [&](Precision precision) {
    WeightLoader loader(checkpoint.value(), precision, team());
    return Engram::load(config, 320, 48, loader).value().hash_value(std::span(ids).first(3), 1);
  };
  EXPECT_EQ(hash(Precision::kBF16), hash(Precision::kF32));
  EXPECT_EQ(hash(Precision::kI8), hash(Precision::kF32));
}

TEST(SpikeWhale, LowerPrecisionStaysNear) {
  const auto ids = prompt("full", "p40");
  const Mat<float> exact = run(*load(kDir / "full"), ids);
  for (const auto& [precision, limit] :
       {std::pair{Precision::kBF16, 0.2}, std::pair{Precision::kI8, 0.2}}) {
    const Mat<float> rough = run(*load(kDir / "full", {}, precision), ids);
    double squares = 0, total = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      squares += std::pow(static_cast<double>(rough.data()[i]) - exact.data()[i], 2);
      total += std::pow(static_cast<double>(exact.data()[i]), 2);
    }
    EXPECT_LT(std::sqrt(squares / total), limit) << precision_name(precision);
    EXPECT_GT(squares, 0) << precision_name(precision);
  }
}

TEST(SpikeWhale, ParametersOfThePublishedModelsAddUp) {
  SpikeWhaleConfig byrne;
  byrne.vocab_size = 16512, byrne.model_dim = 640, byrne.n_layers = 16, byrne.n_heads = 10,
  byrne.n_kv_heads = 1;
  byrne.head_dim = 64, byrne.rope_dim = 16, byrne.q_rank = byrne.o_rank = 128, byrne.ff_dim = 2000;
  byrne.has_engram = byrne.has_streams = byrne.has_refinement = true;
  byrne.engram = {.compress_dim = 32, .n_heads = 2, .table_size = 4096, .max_ngram = 3};
  byrne.streams.n_streams = 2;
  byrne.refine_dim = 128, byrne.refine_steps = 1;
  int64_t sum = 0;
  for (const PartCount& part : spikewhale_parts(byrne, 409600)) sum += part.parameters;
  EXPECT_EQ(sum, 85327747);
  // What the file holds besides: the head's copy, rope tables a layer, hash projections.
  EXPECT_EQ(sum + 10567680 + 16 * 65544 + 384, 96944515);
}

TEST(SpikeWhale, PartsAndBuffersAreAllThatIsStored) {
  const auto model = load(kDir / "full");
  int64_t sum = 0, stored = 0;
  for (const PartCount& part : model->info().parts) sum += part.parameters;
  auto file = open_safetensors(kDir / "full/model.safetensors");
  for (const TensorInfo& tensor : file.value().tensors)
    stored += static_cast<int64_t>(tensor.element_count());
  EXPECT_EQ(sum + 6 + 2 * 128 * 6 + 6 * 3 * 8, stored);
}

}  // namespace
}  // namespace plumb
