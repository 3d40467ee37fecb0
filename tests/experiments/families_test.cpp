// What every family promises, on the small checkpoints of tests/goldens.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "experiments/convert.h"
#include "tests/core/model/layered_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using Ids = std::vector<int32_t>;

struct FamilyCase {
  const char* family;
  const char* path;  // in tests/goldens
  int depth;         // of the family's own axis
};

std::ostream& operator<<(std::ostream& out, const FamilyCase& c) { return out << c.path; }

std::unique_ptr<SequenceCache> full_cache(const RecurrentModel& model) {
  auto policy = make_kv_policy("full", CacheIndex::kRecurrence, model.info().layers, 0);
  EXPECT_TRUE(policy.ok());
  auto cache = model.make_cache(policy.value());
  EXPECT_TRUE(cache.ok());
  return std::move(cache).value();
}

class Families : public ::testing::TestWithParam<FamilyCase> {
 protected:
  void SetUp() override {
    model_ = load(golden_file(GetParam().path));
    ASSERT_NE(model_, nullptr);
  }
  int depth() const { return GetParam().depth; }

  // Logits of `ids` over a cache, in calls of these lengths; the rest a token at a time.
  Mat<float> in_calls(const Ids& ids, const std::vector<size_t>& lengths) const {
    const auto cache = full_cache(*model_);
    Mat<float> logits(ids.size(), static_cast<size_t>(model_->info().vocab_size));
    size_t call = 0;
    for (size_t first = 0; first < ids.size(); ++call) {
      const size_t n = std::min(call < lengths.size() ? lengths[call] : 1, ids.size() - first);
      const Ids part(ids.begin() + static_cast<std::ptrdiff_t>(first),
                     ids.begin() + static_cast<std::ptrdiff_t>(first + n));
      const Mat<float> rows = run(*model_, part, depth(), static_cast<int>(first), cache.get());
      std::copy(rows.data(), rows.data() + rows.size(), logits.row(first));
      first += n;
    }
    return logits;
  }

  std::unique_ptr<RecurrentModel> model_;
  const Ids ids_ = {5, 9, 1, 30, 7, 2, 77, 8, 8, 61, 3, 44, 12, 6, 6, 90, 31, 2, 15};
};

TEST_P(Families, IsReadOffTheTensors) {
  EXPECT_EQ(model_->info().family, GetParam().family);
  EXPECT_FALSE(model_->info().axis.empty());
}

TEST_P(Families, CachedEqualsUncached) {
  expect_same_bits(in_calls(ids_, {}), run(*model_, ids_, depth()), "a token at a time");
}

TEST_P(Families, ChunkedPrefillEqualsWhole) {
  const Mat<float> whole = run(*model_, ids_, depth());
  expect_same_bits(in_calls(ids_, {5, 1, 7}), whole, "5 + 1 + 7 + single tokens");
  expect_same_bits(in_calls(ids_, {16, 3}), whole, "16 + 3");
}

TEST_P(Families, ABatchEqualsItsSequencesAlone) {
  const std::vector<Ids> rows = {ids_, {4, 4, 17}, {80, 2, 9, 33, 1, 5, 5}};
  Ids all;
  Batch batch;
  for (const Ids& row : rows) {
    batch.groups.push_back({.first_row = all.size(), .n_rows = row.size()});
    all.insert(all.end(), row.begin(), row.end());
  }
  batch.ids = all;
  DepthPass pass(*model_, team());
  ASSERT_TRUE(pass.begin(batch, no_states(model_->info())).ok());
  for (int k = 0; k < depth(); ++k) ASSERT_TRUE(pass.advance().ok());
  Mat<float> logits(all.size(), static_cast<size_t>(model_->info().vocab_size));
  ASSERT_TRUE(pass.read(Readout::kKeep, logits).ok());
  for (size_t g = 0; g < rows.size(); ++g)
    expect_same_bits(logits.view().rows_from(batch.groups[g].first_row, rows[g].size()),
                     run(*model_, rows[g], depth()), fmt::format("sequence {}", g));
}

// Columns of a tap, from the shape that its table row states.
size_t declared_columns(Tap tap, const ModelInfo& info) {
  const std::string shape(tap_row(tap).shape);
  if (shape == "[n_tokens, model_dim]") return static_cast<size_t>(info.model_dim);
  if (shape == "[n_tokens, n_heads * head_dim]")
    return static_cast<size_t>(info.n_heads * info.head_dim);
  if (shape == "[n_tokens, n_kv_heads * head_dim]")
    return static_cast<size_t>(info.n_kv_heads * info.head_dim);
  if (shape == "[n_tokens, vocab_size]") return static_cast<size_t>(info.vocab_size);
  EXPECT_EQ(shape, "[n_tokens, 1]");
  return 1;
}

class TapCounter final : public TapObserver {
 public:
  TapCounter(const ModelInfo& info, size_t n_tokens) : info_(info), n_tokens_(n_tokens) {}
  bool wants(Tap, const Place&) override { return true; }
  void show(Tap tap, const Place& place, MatView<const float> rows) override {
    ++fired[{tap, place}];
    EXPECT_EQ(rows.rows(), n_tokens_) << tap_row(tap).name;
    EXPECT_EQ(rows.cols(), declared_columns(tap, info_)) << tap_row(tap).name;
  }
  std::map<std::pair<Tap, Place>, int> fired;

 private:
  const ModelInfo& info_;
  size_t n_tokens_;
};

TEST_P(Families, EveryDeclaredTapFiresOnceAPlaceWithItsShapeAndChangesNoBit) {
  const ModelInfo& info = model_->info();
  TapBus bus;
  TapCounter counter(info, ids_.size());
  ASSERT_TRUE(bus.subscribe(&counter, info.taps, info.taps).ok());
  DepthPass pass(*model_, team(), &bus);
  Batch batch{ids_, {{.first_row = 0, .n_rows = ids_.size()}}};
  ASSERT_TRUE(pass.begin(batch, no_states(info)).ok());
  for (int k = 0; k < depth(); ++k) ASSERT_TRUE(pass.advance().ok());
  Mat<float> logits(ids_.size(), static_cast<size_t>(info.vocab_size));
  ASSERT_TRUE(pass.read(Readout::kPeek, logits).ok());
  ASSERT_TRUE(pass.read(Readout::kKeep, logits).ok());
  expect_same_bits(logits, run(*model_, ids_, depth()), "tapped");
  std::set<Tap> seen;
  for (const auto& [key, count] : counter.fired) {
    EXPECT_EQ(count, 1) << tap_row(key.first).name;
    seen.insert(key.first);
  }
  for (const Tap tap : info.taps) EXPECT_TRUE(seen.contains(tap)) << tap_row(tap).name;
  EXPECT_EQ(seen.size(), info.taps.size());
}

TEST_P(Families, SavedAndReloadedItIsTheSameModel) {
  const TempDir dir;
  auto source = Checkpoint::open(golden_file(GetParam().path));
  ASSERT_TRUE(source.ok());
  const auto report = convert_to_safetensors(source.value(), {}, dir.path());
  ASSERT_TRUE(report.ok()) << report.error().message;
  const auto again = load(dir.path());
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->info().family, GetParam().family);
  // Where published configs leave switches open, the new one is whole.
  const std::string family = GetParam().family;
  if (family != "raven-huginn" && family != "raven-llama" && family != "llama") {
    EXPECT_TRUE(again->info().open_switches.empty());
  }
  expect_same_bits(run(*again, ids_, depth()), run(*model_, ids_, depth()), "reloaded");
}

TEST_P(Families, Bf16WeightsAreWidenedExactlyAndRunInBf16) {
  const TempDir half, wide;
  const auto store = [](const std::filesystem::path& from, DType dtype, const TempDir& to) {
    auto source = Checkpoint::open(from);
    ASSERT_TRUE(source.ok());
    const auto report = convert_to_safetensors(source.value(), {.dtype = dtype}, to.path());
    ASSERT_TRUE(report.ok()) << report.error().message;
  };
  store(golden_file(GetParam().path), DType::kBF16, half);
  store(half.path(), DType::kF32, wide);
  const auto f32 = load(half.path()), widened = load(wide.path());
  const auto bf16 = load(half.path(), {}, Precision::kBF16);
  ASSERT_TRUE(f32 != nullptr && widened != nullptr && bf16 != nullptr);
  const Mat<float> want = run(*f32, ids_, depth());
  expect_same_bits(want, run(*widened, ids_, depth()), "widened");
  const Mat<float> got = run(*bf16, ids_, depth());
  // GEMM inputs are rounded to 8 bits: about 2^-9 a product, and what depth and norms make of it.
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += std::pow(static_cast<double>(got.data()[i]) - want.data()[i], 2);
    size += std::pow(static_cast<double>(want.data()[i]), 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.05);
}

INSTANTIATE_TEST_SUITE_P(All, Families,
                         ::testing::Values(FamilyCase{"raven-huginn", "raven/huginn_b", 5},
                                           FamilyCase{"raven-llama", "llama/retrofit_a_converted",
                                                      4},
                                           FamilyCase{"llama", "llama/retrofit_a_base", 6},
                                           FamilyCase{"act", "act/rope", 6},
                                           FamilyCase{"spikewhale", "spikewhale/full", 3},
                                           FamilyCase{"spikewhale", "spikewhale/plain", 3},
                                           FamilyCase{"spikewhale", "spikewhale/erf", 0},
                                           FamilyCase{"crowfeather", "crowfeather", 4}),
                         [](const auto& instance) {
                           std::string name = instance.param.path;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace
}  // namespace plumb
