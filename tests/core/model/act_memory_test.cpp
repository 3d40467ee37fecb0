// ACT with Transformer-XL memory: segments, decoding, and scoring that carries the memory along.
#include <gmock/gmock.h>

#include "core/cache/segment_memory.h"
#include "core/decode/segments.h"
#include "core/kernels/distribution.h"
#include "tests/core/model/act_fixture.h"

namespace plumb {
namespace {

using namespace plumb::testing;
using ::testing::HasSubstr;

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

}  // namespace
}  // namespace plumb
