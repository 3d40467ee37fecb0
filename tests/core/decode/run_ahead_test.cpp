// Running ahead of checks changes nothing that comes out: the definition reads every depth by
// itself.
#include "core/decode/run_ahead.h"

#include <set>

#include "core/decode/score_sequential.h"
#include "tests/core/decode/decode_fixture.h"

namespace plumb {
namespace {

using test::must_parse;
using test::open_golden_model;

TEST(RunAhead, KeepsWithinWhatOneReadoutMayHold) {
  RunAhead ahead;
  EXPECT_GT(ahead.window(0, 1), 1);
  for (int i = 0; i < 50; ++i) ahead.exited(100);
  for (const size_t n : {1, 2, 5, 16, 17, 200}) {
    const auto steps = static_cast<size_t>(ahead.window(0, n));
    EXPECT_GE(steps, 1u);
    EXPECT_LE(steps * n, std::max(RunAhead::kMostRows, n));
  }
}

TEST(RunAhead, SettlesWhereMostTokensHaveExited) {
  RunAhead ahead;
  for (int i = 0; i < 200; ++i) ahead.exited(i % 4 == 0 ? 8 : 4);
  EXPECT_GE(ahead.window(0, 1), 5);
  EXPECT_LE(ahead.window(0, 1), 8);
  // A token beyond the guess goes on by less.
  EXPECT_LT(ahead.window(9, 1), 5);
}

// Tokens, exits, losses and what is held, or the sentence of the error.
struct Outcome {
  std::string error;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<int>> steps;
  std::vector<std::vector<std::vector<double>>> values;
  std::vector<std::vector<double>> nll;
  std::vector<size_t> bytes;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(const test::GoldenModel& opened, const GenerateRequest& request) {
  const auto result = generate(*opened, *opened.team, request);
  if (!result.ok()) return {.error = result.error().message};
  Outcome all;
  for (const Generated& one : result.value()) {
    all.tokens.push_back(one.tokens);
    all.steps.push_back(one.steps);
    all.values.push_back(one.exit_values);
    all.nll.push_back(one.nll);
    all.bytes.push_back(one.stats.kv_bytes);
  }
  return all;
}

class EveryStrategy : public testing::TestWithParam<const char*> {};

TEST_P(EveryStrategy, GivesWhatReadingEveryDepthByItselfGives) {
  std::set<int> depths;
  for (const char* model : {"raven/huginn_b", "llama/retrofit_a_base"}) {
    const auto opened = open_golden_model(model);
    for (const char* rule : {"kl<0.05", "entropy-diff<0.05 @every=2", "kl<0.2 @min=2,patience=2"}) {
      SCOPED_TRACE(std::string(model) + " " + rule);
      GenerateRequest request;
      request.prompts = {{5, 9, 77, 12, 3}, {1}, {4, 4, 8}};
      request.max_new_tokens = 12;
      request.num_steps = 11;
      request.cache = GetParam();
      request.rule = must_parse(rule);
      for (const size_t in_flight : {1, 3}) {
        for (const bool warm : {false, true}) {
          request.max_in_flight = in_flight;
          request.continuous_compute = warm;
          request.run_ahead = false;
          const Outcome want = outcome(opened, request);
          request.run_ahead = true;
          EXPECT_EQ(outcome(opened, request), want) << in_flight << " in flight";
          for (const auto& steps : want.steps) depths.insert(steps.begin(), steps.end());
        }
      }
    }
  }
  EXPECT_GT(depths.size(), 2u) << "everybody exits at the same step: it tests nothing";
}

INSTANTIATE_TEST_SUITE_P(Cache, EveryStrategy,
                         testing::Values("full", "latest", "available", "always-last", "skip",
                                         "randomized", "latest-compress-s2", "latest-compress-r2",
                                         "always-last-compress-anchor", "skip-compress-first2",
                                         "latest-compress-last3", "latest-compress-boundaries",
                                         "compress-s2", "decode-last", "decode-averaged",
                                         "decode-first"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A step that cannot be run is an error only where a token needs it.
TEST(RunAhead, AStepThatNobodyNeedsIsNoError) {
  const auto opened = open_golden_model("raven/huginn_b");
  GenerateRequest request;
  request.prompts = {{5, 9, 77, 12, 3}};
  request.max_new_tokens = 8;
  request.num_steps = 11;
  request.cache = "available-compress-r2";
  request.rule = must_parse("kl<1e9 @phase=both");  // everybody exits after one step
  request.run_ahead = false;
  const Outcome want = outcome(opened, request);
  request.run_ahead = true;
  EXPECT_EQ(outcome(opened, request), want);
  EXPECT_EQ(want.error, "");
  // The same where deeper steps find nothing to read.
  request.cache = "compress-s8";
  EXPECT_EQ(outcome(opened, request).error, "");
  request.rule = must_parse("kl<1e9 | fixed=3/1/5 & kl<0");
  request.run_ahead = false;
  const Outcome fails = outcome(opened, request);
  request.run_ahead = true;
  EXPECT_EQ(outcome(opened, request), fails);
}

TEST(RunAhead, RecordsWhatReadingEveryDepthByItselfRecords) {
  const std::vector<int32_t> text = {5, 9, 77, 12, 3, 1, 4, 1, 5, 9, 2, 6};
  const auto opened = open_golden_model("raven/huginn_a");
  const auto states =
      StateSource::make({}, opened.model->info(), StateSource::FileRows::kPositions).value();
  const std::vector<SequentialWindow> windows = {{{0, text.size() - 1, 2}, text}};
  const std::vector<int> lags = {0, 2};
  const Rule rule = must_parse("kl<0.02 @every=2");
  for (const Rule* with : {static_cast<const Rule*>(nullptr), &rule}) {
    SequentialRequest request{
        .num_steps = 21, .rule = with, .record_steps = true, .lags = lags, .run_ahead = false};
    const auto want = score_sequential(*opened, *opened.team, states, windows, request).value()[0];
    request.run_ahead = true;
    const auto got = score_sequential(*opened, *opened.team, states, windows, request).value()[0];
    EXPECT_EQ(got.nll, want.nll);
    EXPECT_EQ(got.exit_steps, want.exit_steps);
    EXPECT_EQ(got.kv_bytes, want.kv_bytes);
    ASSERT_EQ(got.steps.size(), want.steps.size());
    for (size_t t = 0; t < want.steps.size(); ++t) {
      ASSERT_EQ(got.steps[t].size(), want.steps[t].size());
      for (size_t k = 0; k < want.steps[t].size(); ++k) {
        EXPECT_EQ(got.steps[t][k].nll, want.steps[t][k].nll);
        EXPECT_EQ(got.steps[t][k].prev.kl, want.steps[t][k].prev.kl);
        EXPECT_EQ(got.steps[t][k].prev.delta_norm, want.steps[t][k].prev.delta_norm);
        EXPECT_EQ(got.steps[t][k].kl_final, want.steps[t][k].kl_final);
      }
    }
  }
}

}  // namespace
}  // namespace plumb
