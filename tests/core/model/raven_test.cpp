#include "core/model/raven.h"

#include <gtest/gtest.h>

#include "core/decode/forward.h"
#include "core/model/families.h"
#include "tests/support/golden.h"
#include "tests/support/random.h"

namespace plumb {
namespace {

using test::expect_close;
using test::golden;
using test::golden_path;

struct Opened {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<RecurrentModel> model;
};

Opened open_golden(const std::string& name, Team& team, Precision precision = Precision::kF32) {
  auto checkpoint = Checkpoint::open(golden_path(name));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  Opened opened{std::make_unique<Checkpoint>(std::move(checkpoint).value()), nullptr};
  auto model = load_model(*opened.checkpoint, precision, team);
  EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.error().message);
  opened.model = std::move(model).value();
  return opened;
}

ForwardResult must_forward(const RecurrentModel& model, Team& team, const ForwardRequest& request) {
  auto result = run_forward(model, team, request);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? std::move(result).value() : ForwardResult{};
}

// The golden's ids are I64, which the float reader leaves alone; they are repeated here.
std::vector<std::vector<int32_t>> golden_rows(const std::string& file) {
  auto checkpoint = Checkpoint::open(golden_path(file));
  EXPECT_TRUE(checkpoint.ok());
  const TensorInfo* ids = checkpoint.value().find("input_ids");
  std::vector<std::vector<int32_t>> rows(static_cast<size_t>(ids->shape[0]));
  const auto n = static_cast<size_t>(ids->shape[1]);
  for (size_t b = 0; b < rows.size(); ++b)
    for (size_t t = 0; t < n; ++t) {
      int64_t id = 0;
      std::memcpy(&id, ids->data + (b * n + t) * 8, 8);
      rows[b].push_back(static_cast<int32_t>(id));
    }
  return rows;
}

std::span<const float> values(const ForwardTensor& tensor) { return {tensor.values.data(), tensor.values.size()}; }

TEST(Raven, LogitsAndLatentsEqualTheReferenceAtEveryDepthOfOnePass) {
  Team team(2);
  const Opened opened = open_golden("raven/huginn_b", team);
  ForwardRequest request;
  request.rows = golden_rows("raven/huginn_b.forward.safetensors");
  request.depths = {1, 2, 4, 8, 16};
  request.emit = {"logits", "latent"};
  request.state.kind = golden_path("raven/huginn_b.forward.safetensors") + ":s0";
  const ForwardResult result = must_forward(*opened.model, team, request);
  for (int r : request.depths) {
    expect_close(values(result.at(fmt::format("logits.r{}", r))), golden("raven/huginn_b.forward.safetensors", fmt::format("logits_{}", r)).data, 1e-4, 1e-4);
    expect_close(values(result.at(fmt::format("latent.r{}", r))), golden("raven/huginn_b.forward.safetensors", fmt::format("latent_states_{}", r)).data, 1e-4, 1e-4);
  }
  // The same run of the reference in double precision.
  expect_close(values(result.at("logits.r16")), golden("raven/huginn_b.forward.safetensors", "logits_16_f64").data, 1e-4, 1e-4);
}

TEST(Raven, StatesAndExitValuesEqualTheReferenceTrace) {
  Team team(2);
  const Opened opened = open_golden("raven/huginn_b", team);
  const std::string file = "raven/huginn_b.trace.safetensors";
  ForwardRequest request;
  request.rows = golden_rows(file);
  request.depths = {16};
  request.emit = {"states", "exits"};
  request.state.kind = golden_path(file) + ":s0";
  const ForwardResult result = must_forward(*opened.model, team, request);
  expect_close(values(result.at("states")), golden(file, "states").data, 1e-4, 1e-4);
  expect_close(values(result.at("entropy")), golden(file, "entropy").data, 1e-4, 0);
  for (const char* name : {"entropy-diff", "latent-diff", "kl", "minp-kl", "cosine"})
    expect_close(values(result.at(std::string("exit.") + name)), golden(file, std::string("exit_value_") + name).data, 1e-4, 1e-4);
}

TEST(Raven, ASweepOfDepthsEqualsSeparateRunsBitForBitOnAnyThreads) {
  Team one(1), three(3);
  const Opened opened = open_golden("raven/huginn_b", one);
  ForwardRequest request;
  request.rows = {{5, 9, 1, 30, 7, 2, 77}};
  request.depths = {0, 1, 3, 9};
  request.emit = {"logits", "latent", "states", "exits"};  // recording changes no bit either
  const ForwardResult sweep = must_forward(*opened.model, three, request);
  for (int r : request.depths) {
    ForwardRequest single = request;
    single.depths = {r};
    single.emit = {"logits"};
    const ForwardResult result = must_forward(*opened.model, one, single);
    EXPECT_TRUE(test::same_bits(result.at(fmt::format("logits.r{}", r)).values, sweep.at(fmt::format("logits.r{}", r)).values)) << r;
  }
}

TEST(Raven, ABatchEqualsItsRowsBitForBit) {
  Team team(2);
  const Opened opened = open_golden("raven/huginn_b", team);
  ForwardRequest request;
  request.rows = {{5, 9, 1, 30}, {6, 6, 6, 100}, {1, 2, 3, 4}};
  request.depths = {5};
  request.emit = {"logits"};
  request.state.kind = "zero";  // the drawn kinds give every row a state of its own
  const Mat<float> batch = must_forward(*opened.model, team, request).at("logits.r5").values;
  for (size_t b = 0; b < request.rows.size(); ++b) {
    ForwardRequest single = request;
    single.rows = {request.rows[b]};
    const Mat<float> alone = must_forward(*opened.model, team, single).at("logits.r5").values;
    EXPECT_EQ(0, std::memcmp(alone.data(), batch.row(b * 4), alone.size() * sizeof(float)));
  }
}

TEST(Raven, CachedChunksEqualTheWholePassBitForBit) {
  Team team(2);
  const Opened opened = open_golden("raven/huginn_b", team);
  const RecurrentModel& model = *opened.model;
  const std::vector<int32_t> ids = {5, 9, 1, 30, 7, 2, 77, 8, 8, 120, 3};
  const auto states = StateSource::make({.kind = "like-init", .seed = 3}, model.info(), StateSource::FileRows::kCall);
  ASSERT_TRUE(states.ok());
  const auto v = static_cast<size_t>(model.info().vocab_size);

  DepthPass whole(model, team);
  Batch batch;
  batch.ids = ids;
  batch.groups.push_back({.first_row = 0, .n_rows = ids.size()});
  ASSERT_TRUE(whole.begin(batch, states.value()).ok());
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(whole.advance().ok());
  Mat<float> want(ids.size(), v);
  ASSERT_TRUE(whole.read(Readout::kKeep, want).ok());

  auto policy = make_kv_policy("full", CacheIndex::kRecurrence, model.info().layers, 0);
  ASSERT_TRUE(policy.ok());
  auto cache = model.make_cache(policy.value());
  ASSERT_TRUE(cache.ok());
  Mat<float> got(ids.size(), v);
  for (size_t first = 0, n = 0; first < ids.size(); first += n) {
    n = first == 0 ? 4 : first == 4 ? 3 : 1;
    const std::span<const int32_t> part(ids.data() + first, n);
    cache.value()->extend(part);
    DepthPass pass(model, team);
    Batch call;
    call.ids = part;
    call.groups.push_back({.first_row = 0, .n_rows = n, .first_pos = static_cast<int>(first), .cache = cache.value().get()});
    ASSERT_TRUE(pass.begin(call, states.value()).ok());
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(pass.advance().ok());
      // Peeking on the way leaves nothing behind.
      const size_t before = cache.value()->bytes();
      Mat<float> peek(n, v);
      ASSERT_TRUE(pass.read(Readout::kPeek, peek).ok());
      EXPECT_EQ(cache.value()->bytes(), before);
    }
    ASSERT_TRUE(pass.read(Readout::kKeep, got.view().rows_from(first, n)).ok());
  }
  EXPECT_TRUE(test::same_bits(want, got));
}

class TapCounter final : public TapObserver {
 public:
  explicit TapCounter(const ModelInfo& info) : info_(info) {}
  bool wants(Tap, const Place&) override { return true; }
  void show(Tap tap, const Place& place, MatView<const float> rows) override {
    ++fired[{tap, place}];
    const auto dim = [&](int n) { return static_cast<size_t>(n); };
    switch (tap) {
      case Tap::kQuery: EXPECT_EQ(rows.cols(), dim(info_.n_heads * info_.head_dim)); break;
      case Tap::kKey: EXPECT_EQ(rows.cols(), dim(info_.n_kv_heads * info_.head_dim)); break;
      case Tap::kLogits: EXPECT_EQ(rows.cols(), dim(info_.vocab_size)); break;
      case Tap::kEntropy: EXPECT_EQ(rows.cols(), 1u); break;
      default: EXPECT_EQ(rows.cols(), dim(info_.model_dim));
    }
    EXPECT_EQ(rows.rows(), 3u);
  }
  std::map<std::pair<Tap, Place>, int> fired;

 private:
  const ModelInfo& info_;
};

TEST(Raven, EveryDeclaredTapFiresOnceAPlaceWithItsShapeAndChangesNoBit) {
  Team team(2);
  const Opened opened = open_golden("raven/huginn_b", team);
  const ModelInfo& info = opened.model->info();
  TapBus bus;
  TapCounter counter(info);
  std::vector<Tap> taps = info.taps;
  ASSERT_TRUE(bus.subscribe(&counter, taps, info.taps).ok());
  const auto states = StateSource::make({}, info, StateSource::FileRows::kCall);
  const std::vector<int32_t> ids = {4, 5, 6};
  Mat<float> logits[2];
  for (int tapped = 0; tapped < 2; ++tapped) {
    DepthPass pass(*opened.model, team, tapped ? &bus : nullptr);
    Batch batch;
    batch.ids = ids;
    batch.groups.push_back({.first_row = 0, .n_rows = 3});
    ASSERT_TRUE(pass.begin(batch, states.value()).ok());
    ASSERT_TRUE(pass.advance().ok());
    ASSERT_TRUE(pass.advance().ok());
    logits[tapped] = Mat<float>(3, static_cast<size_t>(info.vocab_size));
    ASSERT_TRUE(pass.read(Readout::kPeek, logits[tapped]).ok());
    ASSERT_TRUE(pass.read(Readout::kKeep, logits[tapped]).ok());
  }
  EXPECT_TRUE(test::same_bits(logits[0], logits[1]));
  std::set<Tap> seen;
  for (const auto& [key, count] : counter.fired) {
    EXPECT_EQ(count, 1) << tap_row(key.first).name;
    seen.insert(key.first);
  }
  for (Tap tap : info.taps) EXPECT_TRUE(seen.contains(tap)) << tap_row(tap).name;
}

// The bundled model against a float64 PyTorch forward (tests/goldens/pocket/make.py).
TEST(PocketRaven, LossesEqualPyTorchPerToken) {
  Team team(2);
  auto checkpoint = Checkpoint::open(PLUMB_SOURCE_DIR "/experiments/models/pocket-raven");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  auto model = load_model(checkpoint.value(), Precision::kF32, team);
  ASSERT_TRUE(model.ok()) << model.error().message;
  auto goldens = Checkpoint::open(golden_path("pocket/nll.safetensors"));
  ASSERT_TRUE(goldens.ok());
  for (const char* text : {"prose", "code", "tasks"}) {
    const TensorInfo* info = goldens.value().find(std::string(text) + ".ids");
    ASSERT_NE(info, nullptr);
    std::vector<int32_t> ids(info->element_count());
    std::memcpy(ids.data(), info->data, info->bytes);
    ForwardRequest request;
    request.rows = {{ids.begin(), ids.end() - 1}};
    request.depths = {0, 1, 2, 4, 8, 16};
    request.emit = {"logits"};
    request.state.kind = "zero";
    const ForwardResult result = must_forward(*model.value(), team, request);
    for (int r : request.depths) {
      const Mat<float>& logits = result.at(fmt::format("logits.r{}", r)).values;
      std::vector<float> nll;
      for (size_t t = 0; t < logits.rows(); ++t) {
        double sum = 0;
        for (size_t c = 0; c < logits.cols(); ++c) sum += std::exp(static_cast<double>(logits(t, c)));
        nll.push_back(static_cast<float>(std::log(sum) - logits(t, static_cast<size_t>(ids[t + 1]))));
      }
      expect_close(nll, golden("pocket/nll.safetensors", fmt::format("{}.nll_r{}", text, r)).data, 1e-4, 0);
    }
  }
}

TEST(Raven, RefusesWhatItCannotRun) {
  Team team(1);
  const Opened opened = open_golden("raven/huginn_b", team);
  const auto refused = [&](ForwardRequest request) {
    const auto result = run_forward(*opened.model, team, request);
    return result.ok() ? std::string() : result.error().message;
  };
  ForwardRequest request;
  request.emit = {"logits"};
  request.rows = {{1, 131}};
  EXPECT_NE(refused(request).find("token id 131 at position 1 is outside the vocabulary [0, 131)"), std::string::npos);
  request.rows = {std::vector<int32_t>(5000, 1)};
  EXPECT_NE(refused(request).find("this model ends at"), std::string::npos);
  request.rows = {{1}};
  request.depths = {-1};
  EXPECT_NE(refused(request).find("recurrences"), std::string::npos);
  request.depths = {1};
  request.emit = {"hidden"};
  EXPECT_NE(refused(request).find("\"hidden\""), std::string::npos);
  request.emit = {"logits"};
  request.taps = {Tap::kGate};
  EXPECT_NE(refused(request).find("never fires"), std::string::npos);
}

}  // namespace
}  // namespace plumb
