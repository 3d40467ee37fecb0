#include "core/model/crowfeather.h"

#include <gmock/gmock.h>

#include "core/model/layered_cache.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::HasSubstr;

const std::filesystem::path kDir = golden_file("crowfeather");

std::vector<Json> cases(const std::string& kind) {
  std::vector<Json> found;
  const Json goldens = read_json(kDir / "goldens.json");
  for (const Json& c : goldens["cases"])
    if (c["kind"] == kind) found.push_back(c);
  EXPECT_FALSE(found.empty()) << kind;
  return found;
}

std::vector<int32_t> random_ids(size_t n, uint32_t state = 7) {
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = static_cast<int32_t>((state = state * 1664525 + 1013904223) >> 8) % 300;
  for (int32_t& id : ids) id = id < 0 ? -id : id;
  return ids;
}

std::unique_ptr<SequenceCache> new_cache(const RecurrentModel& model) {
  auto cache = model.make_cache(nullptr);
  EXPECT_TRUE(cache.ok());
  return std::move(cache).value();
}

// One row of logits after another, `chunk` tokens a call.
Mat<float> run_cached(const RecurrentModel& model, const std::vector<int32_t>& ids, size_t chunk, SequenceCache& cache) {
  Mat<float> logits(ids.size(), static_cast<size_t>(model.info().vocab_size));
  for (size_t first = 0; first < ids.size(); first += chunk) {
    const size_t count = std::min(chunk, ids.size() - first);
    const std::vector<int32_t> part(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.begin() + static_cast<std::ptrdiff_t>(first + count));
    const Mat<float> rows = run(model, part, -1, static_cast<int>(first), &cache);
    std::copy(rows.data(), rows.data() + rows.size(), logits.row(first));
  }
  return logits;
}

TEST(Crowfeather, LogitsMatchTheReference) {
  const Goldens goldens(kDir / "tensors.safetensors");
  const auto model = load(kDir);
  ASSERT_NE(model, nullptr);
  for (const Json& c : cases("logits"))
    expect_close(run(*model, c["ids"].get<std::vector<int32_t>>()), goldens.floats(c["logits"]), c["atol"], 0, c["name"]);
}

TEST(Crowfeather, StateAfterEveryBlockMatchesTheReference) {
  const Goldens goldens(kDir / "tensors.safetensors");
  const auto model = load(kDir);
  for (const Json& c : cases("logits")) {
    if (!c.contains("hidden")) continue;
    const std::vector<float> hidden = goldens.floats(c["hidden"]);  // embedding, after each layer, after the final norm
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    const size_t per_state = ids.size() * 64;
    DepthPass pass(*model, team());
    ASSERT_TRUE(pass.begin({ids, {{.n_rows = ids.size()}}}, no_states(model->info())).ok());
    for (size_t k = 0;; ++k) {
      const std::vector<float> want(hidden.begin() + static_cast<std::ptrdiff_t>(k * per_state),
                                    hidden.begin() + static_cast<std::ptrdiff_t>((k + 1) * per_state));
      expect_close(pass.state(), want, c["atol_hidden"], 0, fmt::format("state {}", k));
      if (k == 4) break;
      ASSERT_TRUE(pass.advance().ok());
    }
    return;
  }
  FAIL() << "no golden with hidden states";
}

TEST(Crowfeather, EverySwitchMatchesTheReference) {
  const Goldens goldens(kDir / "tensors.safetensors");
  const TempDir dir;
  for (const Json& c : cases("variant")) {
    const auto model = load(kDir, with_config(dir, kDir / "config.json", c["config_override"]));
    ASSERT_NE(model, nullptr);
    expect_close(run(*model, c["ids"].get<std::vector<int32_t>>()), goldens.floats(c["logits"]), c["atol"], 0, c["config_override"].dump());
  }
}

TEST(Crowfeather, TorchFilesMatchTheReferenceUnderTheirNameMaps) {
  const Goldens goldens(kDir / "tensors.safetensors");
  for (const auto& [kind, map] : {std::pair{"logits_bf16_weights", "names_fused.json"}, std::pair{"logits_cfgobj", "names_unfused.json"}}) {
    const Json c = cases(kind)[0];
    const auto model = load(kDir / c["ckpt"][0].get<std::string>(), {.namemap = kDir / map});
    ASSERT_NE(model, nullptr);
    expect_close(run(*model, c["ids"].get<std::vector<int32_t>>()), goldens.floats(c["logits"]), c["atol"], 0, kind);
  }
}

TEST(Crowfeather, GuessesForeignNamesAndSaysSo) {
  for (const auto& [file, map] : {std::pair{"ckpt_bf16_fused_t2.pt", "names_fused.json"}, std::pair{"ckpt_cfgobj.pt", "names_unfused.json"}}) {
    const auto guessed = load(kDir / file), mapped = load(kDir / file, {.namemap = kDir / map});
    ASSERT_TRUE(guessed != nullptr && mapped != nullptr);
    const auto ids = random_ids(20);
    expect_same_bits(run(*guessed, ids), run(*mapped, ids), file);
    EXPECT_THAT(guessed->info().notes, ::testing::Contains(HasSubstr("names were guessed")));
  }
}

TEST(Crowfeather, ACacheGivesTheBitsOfAWholePass) {
  const TempDir dir;
  for (const char* convention : {"keys", "distance"}) {
    const auto model = load(kDir, with_config(dir, kDir / "config.json", {{"window_convention", convention}}));
    const auto ids = random_ids(60);
    const Mat<float> whole = run(*model, ids);
    for (const size_t chunk : {size_t{1}, size_t{3}, size_t{17}, size_t{60}}) {
      const auto cache = new_cache(*model);
      expect_same_bits(run_cached(*model, ids, chunk, *cache), whole, fmt::format("{} chunks of {}", convention, chunk));
    }
  }
}

TEST(Crowfeather, SlidingLayersForgetAndKeepTheBits) {
  const TempDir dir;
  const auto model = load(kDir, with_config(dir, kDir / "config.json", {{"max_seq_len", 4096}}));
  const auto ids = random_ids(1500);
  const Mat<float> whole = run(*model, ids);
  for (const size_t chunk : {size_t{1}, size_t{7}, size_t{400}}) {
    const auto cache = new_cache(*model);
    expect_same_bits(run_cached(*model, ids, chunk, *cache), whole, fmt::format("chunks of {}", chunk));
    // Two rings of 8 and two growing caches, keys and values of 64 floats each.
    EXPECT_EQ(cache->bytes(), (2 * 8 + 2 * 1500) * 2 * 64 * sizeof(float));
    ASSERT_TRUE(cache->truncate(1400).ok());
    const std::vector<int32_t> tail(ids.begin() + 1400, ids.end());
    const Mat<float> again = run(*model, tail, -1, 1400, cache.get());
    expect_same_bits(again, whole.view().rows_from(1400, 100), "after going back");
    EXPECT_THAT(cache->truncate(3).error().message, HasSubstr("cannot go back from 1500 to 3"));
  }
}

TEST(Crowfeather, ARowDoesNotDependOnItsCompanyOrItsThreads) {
  const auto model = load(kDir);
  const auto ids = random_ids(48);
  const Mat<float> alone = run(*model, {ids.begin() + 20, ids.begin() + 48});
  Team single(1);
  for (Team* threads : {&team(), &single}) {
    DepthPass pass(*model, *threads);
    Batch batch{ids, {{.first_row = 0, .n_rows = 20}, {.first_row = 20, .n_rows = 28, .sequence = 1}}};
    ASSERT_TRUE(pass.begin(std::move(batch), no_states(model->info())).ok());
    for (int k = 0; k < 4; ++k) ASSERT_TRUE(pass.advance().ok());
    Mat<float> logits(48, 300);
    ASSERT_TRUE(pass.read(Readout::kPeek, logits).ok());
    expect_same_bits(logits.view().rows_from(20, 28), alone, "second group");
  }
}

TEST(Crowfeather, GroupsAtDifferentStepsRunTheirOwnBlocks) {
  const auto model = load(kDir);
  const auto ids = random_ids(10);
  const auto workspace = model->make_workspace(team());
  Mat<float> injected(10, 64), together(10, 64), apart(10, 64);
  Batch both{ids, {{.first_row = 0, .n_rows = 4, .step = 2}, {.first_row = 4, .n_rows = 6, .step = 1}}};
  ASSERT_TRUE(model->prelude(both, *workspace, injected).ok());
  model->initial_state(injected, together);
  model->initial_state(injected, apart);
  ASSERT_TRUE(model->step(both, *workspace, injected, together).ok());
  for (const Group& group : both.groups) {
    Batch one{both.ids.subspan(group.first_row, group.n_rows), {{.n_rows = group.n_rows, .step = group.step}}};
    ASSERT_TRUE(model->step(one, *workspace, injected, apart.view().rows_from(group.first_row, group.n_rows)).ok());
  }
  expect_same_bits(together, apart, "steps 2 and 1");
}

// A token that stopped early has no keys in later blocks; those who go on do not see it there.
TEST(Crowfeather, BlocksThatATokenSkippedAreLeftOut) {
  const auto model = load(kDir);
  const auto ids = random_ids(6);
  const auto cache = new_cache(*model);
  run(*model, {ids.begin(), ids.begin() + 2}, 4, 0, cache.get());
  run(*model, {ids.begin() + 2, ids.begin() + 4}, 2, 2, cache.get());
  cache->extend(std::vector<int32_t>(ids.begin() + 4, ids.end()));
  DepthPass pass(*model, team());
  const std::vector<int32_t> last(ids.begin() + 4, ids.end());
  ASSERT_TRUE(pass.begin({last, {{.n_rows = 2, .first_pos = 4, .cache = cache.get()}}}, no_states(model->info())).ok());
  ASSERT_TRUE(pass.advance().ok() && pass.advance().ok());
  // Block 2 over what has run it: positions 0, 1 and the two new ones. The same rows as one whole
  // sequence with a gap cannot be told to a model, so the attention is redone here from its parts.
  auto copy = new_cache(*model);
  auto& full = static_cast<LayeredCache&>(*cache);
  std::vector<AttentionJob> jobs;
  Mat<float> keys(2, 64), queries(2, 64), out(2, 64);
  for (size_t i = 0; i < keys.size(); ++i) keys.data()[i] = std::sin(static_cast<float>(i));
  full.block(2).append(4, keys, keys, queries, out, jobs);
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs[0].n_before, 2U);
  EXPECT_EQ(jobs[1].n_before, 3U);
  EXPECT_EQ(jobs[1].window, 4U);  // positions 0, 1, 4, 5: all within 8
  EXPECT_EQ(jobs[1].kv.values[2 * 64], keys(0, 0));
  EXPECT_EQ(jobs[1].kv.values[3 * 64 + 5], keys(1, 5));
  jobs.clear();
  full.block(1).append(4, keys, keys, queries, out, jobs);
  EXPECT_EQ(jobs.size(), 1U);  // nothing is missing there
}

TEST(Crowfeather, InfoCountsItsParameters) {
  const auto model = load(kDir);
  const ModelInfo& info = model->info();
  int64_t total = 0;
  for (const PartCount& part : info.parts) total += part.parameters;
  EXPECT_EQ(total, 183616);
  EXPECT_EQ(info.axis, "blocks");
  EXPECT_EQ(info.default_steps, 4);
  EXPECT_TRUE(info.distinct_blocks);
  EXPECT_EQ(info.block_windows, (std::vector<int>{8, 0, 8, 0}));
  EXPECT_TRUE(info.crop_overflow);
  // The golden config leaves one thing open.
  EXPECT_THAT(info.notes, ::testing::ElementsAre(HasSubstr("assumed: rope_theta_global that of all layers")));
}

TEST(Crowfeather, NamesWhatItAssumed) {
  const TempDir dir;
  const auto model = load(kDir, with_config(dir, kDir / "config.json", Json::object(), {"rope_layout", "dim", "logit_softcap"}));
  ASSERT_EQ(model->info().notes.size(), 2U);
  EXPECT_THAT(model->info().notes[0], HasSubstr("dim 64"));
  EXPECT_THAT(model->info().notes[1], HasSubstr("rope_layout interleaved, rope_theta_global that of all layers, logit_softcap 30"));
}

TEST(Crowfeather, DefaultLayersAlternateAndTheLastIsGlobal) {
  const TempDir dir;
  const auto checkpoint = Checkpoint::open(kDir, with_config(dir, kDir / "config.json", {{"n_layers", 5}}, {"layer_types"}));
  const auto config = read_crowfeather_config(checkpoint.value());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config.value().sliding, (std::vector<bool>{true, false, true, false, false}));
}

TEST(Crowfeather, NullSwitchesTheSoftCapOff) {
  const TempDir dir;
  const auto off = load(kDir, with_config(dir, kDir / "config.json", {{"logit_softcap", nullptr}}));
  const auto zero = load(kDir, with_config(dir, kDir / "config.json", {{"logit_softcap", 0}}));
  const auto ids = random_ids(9);
  expect_same_bits(run(*off, ids), run(*zero, ids), "null and 0");
}

TEST(Crowfeather, RefusesUnknownValuesByName) {
  const TempDir dir;
  const auto says = [&](const Json& overrides, const char* part) {
    EXPECT_THAT(refusal(kDir, with_config(dir, kDir / "config.json", overrides)), HasSubstr(part)) << overrides.dump();
  };
  says({{"rope_layout", "spiral"}}, "field \"rope_layout\" is \"spiral\", expected \"interleaved\" or \"half\"");
  says({{"window_convention", 3}}, "window_convention");
  says({{"qk_norm", "layer"}}, "\"rms_noparam\"");
  says({{"overflow", "wrap"}}, "\"crop_recompute\" or \"error\"");
  says({{"rope_table_dtype", "f16"}}, "rope_table_dtype");
  says({{"layer_types", {"sliding"}}}, "a list of 1, expected a list of 4");
  says({{"layer_types", {"sliding", "local", "global", "global"}}}, "\"local\"");
  says({{"norm_weight_offset", 2}}, "expected 0 or 1");
  says({{"tie_embeddings", false}}, "tie_embeddings");
  says({{"logit_softcap", -1}}, "logit_softcap");
  says({{"n_heads", 3}}, "tensor \"layers.0.attn.wq.weight\" has shape [64, 64], expected [48, 64]");
  const Json five = {"sliding", "global", "sliding", "global", "global"}, three = {"sliding", "global", "global"};
  says({{"n_layers", 5}, {"layer_types", five}}, "layers.4.norm1.weight");
  says({{"n_layers", 3}, {"layer_types", three}}, "does not have: layers.3");
  says({{"n_layers", 5}}, "layer_types");
  says({{"head_dim", 15}}, "even");
  says({{"rope_theta", 0}}, "rope_theta");
}

TEST(Crowfeather, PositionsPastTheEndAreRefused) {
  const auto model = load(kDir);
  DepthPass pass(*model, team());
  const auto ids = random_ids(65);
  const Status status = pass.begin({ids, {{.n_rows = 65}}}, no_states(model->info()));
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message, HasSubstr("ends at 64"));
}

TEST(Crowfeather, NoCacheStrategyButFull) {
  const auto model = load(kDir);
  EXPECT_TRUE(model->make_cache(make_kv_policy("full", CacheIndex::kRecurrence, {1, 4, 1}, 0).value()).ok());
  const auto cache = model->make_cache(make_kv_policy("latest", CacheIndex::kRecurrence, {1, 4, 1}, 0).value());
  ASSERT_FALSE(cache.ok());
  EXPECT_THAT(cache.error().message, HasSubstr("distinct blocks"));
}

// The golden weights with further tensors in the same file.
class WithBuffers {
 public:
  explicit WithBuffers(const TempDir& dir) : path_(dir / "model.safetensors") {
    auto file = open_safetensors(kDir / "model.safetensors");
    source_ = std::move(file).value();
    for (const TensorInfo& t : source_.tensors) tensors_.push_back({t.name, t.dtype, t.shape, {t.data, t.bytes}});
  }
  void add(NamedTensor tensor) { tensors_.push_back(std::move(tensor)); }
  std::filesystem::path write() const {
    EXPECT_TRUE(write_safetensors(path_, tensors_).ok());
    return path_;
  }

 private:
  std::filesystem::path path_;
  SafetensorsFile source_;
  std::vector<NamedTensor> tensors_;
};

TEST(Crowfeather, AStoredRopeTableDecidesWhatTheConfigLeavesOpen) {
  const TempDir dir;
  WithBuffers file(dir);
  // sin of positions 0..63 for theta 1e6, half-split (columns repeat in halves), rounded to bf16.
  std::vector<uint16_t> table(64 * 16);
  const auto frequencies = rope_frequencies(16, 1e6);
  for (size_t pos = 0; pos < 64; ++pos)
    for (size_t c = 0; c < 16; ++c)
      table[pos * 16 + c] = bf16_from_f32(std::sin(static_cast<float>(pos) * frequencies[c % 8])).bits;
  file.add(named_tensor<uint16_t>("rope.sin", DType::kBF16, {64, 16}, table));
  const auto path = file.write();
  const TempDir configs;
  const auto checkpoint = Checkpoint::open(path, with_config(configs, kDir / "config.json", Json::object(),
                                                             {"rope_theta", "rope_layout", "rope_table_dtype"}));
  const auto config = read_crowfeather_config(checkpoint.value());
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config.value().rope_theta, 1e6);
  EXPECT_EQ(config.value().rope_layout, RopeLayout::kHalfSplit);
  EXPECT_TRUE(config.value().bf16_rope_table);
  EXPECT_THAT(config.value().notes, ::testing::ElementsAre(HasSubstr("rope.sin decided"), HasSubstr("rope_theta_global")));
  // A config that says otherwise is contradicted by name.
  EXPECT_THAT(refusal(path, {.config = kDir / "config.json"}), HasSubstr("rope_theta is 10000, but the stored table rope.sin was made with 1000000"));
}

TEST(Crowfeather, ASecondHeadMustEqualTheEmbedding) {
  const TempDir dir;
  WithBuffers file(dir);
  std::vector<float> head(300 * 64, 0.5F);
  file.add(f32_tensor("lm_head.weight", {300, 64}, head));
  EXPECT_THAT(refusal(file.write(), {.config = kDir / "config.json"}), HasSubstr("\"lm_head.weight\""));
}

// A family of three matrices, to see what decides between readings.
constexpr CanonicalTensor kToyTensors[] = {{"gate", "FD"}, {"up", "FD"}, {"down", "DF"}};
constexpr AliasRow kToyRows[] = {{"w1", "gate"}, {"(w2|w3)", "up"}, {"(w2|w3)", "down"}, {"fused", "gate,up"}, {"w2", "down"}};
const AliasFamily kToy = {"toy", kToyTensors, std::span(kToyRows).first(4)};

Result<CanonicalNames> guess_toy(const TempDir& dir, std::vector<std::pair<const char*, std::vector<int64_t>>> shapes) {
  static const std::vector<float> zeros(1024, 0.0F);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, shape] : shapes)
    tensors.push_back(f32_tensor(name, shape, std::span(zeros).first(static_cast<size_t>(shape[0] * shape[1]))));
  EXPECT_TRUE(write_safetensors(dir / "model.safetensors", tensors).ok());
  auto checkpoint = Checkpoint::open(dir.path());
  return guess_names(kToy, checkpoint.value());
}

TEST(AliasGuess, ShapesDecideBetweenReadings) {
  const TempDir dir;
  const auto third_is_down = guess_toy(dir, {{"w1", {8, 4}}, {"w2", {8, 4}}, {"w3", {4, 8}}});
  ASSERT_TRUE(third_is_down.ok()) << third_is_down.error().message;
  EXPECT_EQ(third_is_down.value().renamed->find("down")->shape, (std::vector<int64_t>{4, 8}));
  const auto second_is_down = guess_toy(dir, {{"w1", {8, 4}}, {"w3", {8, 4}}, {"w2", {4, 8}}});
  ASSERT_TRUE(second_is_down.ok());
  const auto fused = guess_toy(dir, {{"fused", {16, 4}}, {"w2", {4, 8}}});
  ASSERT_TRUE(fused.ok()) << fused.error().message;
  EXPECT_EQ(fused.value().renamed->find("up")->shape, (std::vector<int64_t>{8, 4}));
}

TEST(AliasGuess, RefusesWhatNothingDecides) {
  const TempDir dir;
  const auto square = guess_toy(dir, {{"w1", {4, 4}}, {"w2", {4, 4}}, {"w3", {4, 4}}});
  ASSERT_FALSE(square.ok());
  EXPECT_THAT(square.error().message, HasSubstr("and no shape decides"));
  EXPECT_THAT(guess_toy(dir, {{"w1", {8, 4}}, {"w2", {8, 4}}}).error().message, HasSubstr("no reading"));
  EXPECT_THAT(guess_toy(dir, {{"w1", {8, 4}}, {"w2", {8, 4}}, {"w9", {4, 8}}}).error().message, HasSubstr("\"w9\" [4, 8] has no known spelling"));
}

}  // namespace
}  // namespace plumb
