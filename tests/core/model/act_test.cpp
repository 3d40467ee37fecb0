// ACT: the arithmetic of halting, every variant against the reference, taps and precisions.
#include <gmock/gmock.h>

#include "core/decode/segments.h"
#include "core/kernels/distribution.h"
#include "core/model/act_halting.h"
#include "tests/core/model/act_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::HasSubstr;

TEST(ActHalting, IsTheArithmeticOfThePaper) {
  const Json unit = read_json(kActDir / "halting_unit.json");
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
  auto checkpoint = Checkpoint::open(kActDir / "variants" / (GetParam() + ".safetensors"));
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

TEST(Act, RunsInEveryPrecision) {
  const auto exact = load_rope();
  const Ids ids = index()["rope"]["segments"][0];
  const Mat<float> logits = run(*exact, ids, 4);
  for (const auto& [precision, most] : {std::pair{Precision::kBF16, 1.0}, std::pair{Precision::kI8, 1.5}}) {
    const auto model = load(kActDir / "rope", {}, precision);
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
