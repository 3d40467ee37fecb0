// Replay: the fast paths equal the obvious one, and numbers that can be counted by hand.
#include "analysis/replay.h"

#include <random>

#include "analysis/rule_grid.h"
#include "tests/analysis/analysis_fixture.h"

namespace plumb {
namespace {

constexpr float kNone = kNotMeasured;

// Random but plausible numbers, with every quantity but the gate.
Recording random_recording(uint32_t seed, size_t n_tokens, int n_steps, std::vector<int> lags = {}) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  Recording recording;
  recording.n_steps = n_steps;
  recording.lags = std::move(lags);
  recording.info.record.setting = made_up_setting();
  recording.info.record.max_steps = n_steps;
  for (size_t i = 0; i < n_tokens; ++i) recording.pos.push_back(static_cast<int64_t>(i));
  const size_t n = n_tokens * static_cast<size_t>(n_steps);
  for (auto& column : recording.columns) {
    column.resize(n);
    for (float& x : column) x = uniform(generator);
  }
  const auto column = [&](StepColumn c) -> auto& { return recording.columns[static_cast<size_t>(c)]; };
  column(StepColumn::kGate).assign(n, kNone);
  for (float& id : column(StepColumn::kTop1Id)) id = std::floor(3 * id);
  for (float& rank : column(StepColumn::kTargetRank)) rank = std::floor(9 * rank);
  for (size_t i = 0; i < n; ++i) {
    column(StepColumn::kP2)[i] *= column(StepColumn::kP1)[i];
    if (i % static_cast<size_t>(n_steps) == 0) column(StepColumn::kAccelNorm)[i] = kNone;
    if (uniform(generator) < 0.02F) column(StepColumn::kKlPrev)[i] = kNone;
  }
  for (size_t i = 0; i < recording.lags.size(); ++i) {
    auto& columns = recording.lagged.emplace_back();
    for (auto& values : columns) {
      values.resize(n);
      for (float& x : values) x = uniform(generator);
    }
  }
  return recording;
}

int64_t readouts_by_hand(const Rule& rule, int step) {
  if (!needs(rule.required(), Inputs::kLogits) || needs(rule.required(), Inputs::kHindsight))
    return 1;
  int64_t n = 0;
  bool read_here = false;
  for (int k = 1; k <= step; ++k)
    if (rule.is_check_step(k, false)) ++n, read_here = k == step;
  return n + (read_here ? 0 : 1);
}

// The obvious version: one rule, one token, one check at a time.
RuleOutcome by_hand(const Recording& recording, const Rule& rule) {
  RuleOutcome out{.rule = rule};
  out.exits.resize(static_cast<size_t>(recording.n_steps) + 1);
  const std::vector<int32_t> exits = must(exits_of(recording, rule));
  for (size_t token = 0; token < exits.size(); ++token) {
    const int step = exits[token] > 0 ? exits[token] : rule.depth_limit(recording.n_steps);
    ++out.tokens;
    ++out.exits[static_cast<size_t>(step)];
    out.no_exit += exits[token] == 0;
    out.nll_sum += recording.column(StepColumn::kNll, token)[static_cast<size_t>(step) - 1];
    const auto top1 = recording.column(StepColumn::kTop1Id, token);
    out.wrong_argmax += top1[static_cast<size_t>(step) - 1] != top1.back();
    int safe = recording.n_steps;
    while (safe > 1 && top1[static_cast<size_t>(safe) - 2] == top1.back()) --safe;
    const int64_t readouts = readouts_by_hand(rule, step);
    out.readouts += readouts;
    out.step_keys += step * (static_cast<int64_t>(token) + 1);
    out.readout_keys += readouts * (static_cast<int64_t>(token) + 1);
    out.early += step < safe;
    out.wasted_steps += std::max(0, step - safe);
  }
  return out;
}

void expect_equal(const RuleOutcome& a, const RuleOutcome& b) {
  SCOPED_TRACE(b.rule.canonical());
  EXPECT_EQ(a.exits, b.exits);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.no_exit, b.no_exit);
  EXPECT_EQ(a.early, b.early);
  EXPECT_EQ(a.wrong_argmax, b.wrong_argmax);
  EXPECT_EQ(a.wasted_steps, b.wasted_steps);
  EXPECT_EQ(a.readouts, b.readouts);
  EXPECT_EQ(a.step_keys, b.step_keys);
  EXPECT_EQ(a.readout_keys, b.readout_keys);
  EXPECT_EQ(a.nll_sum, b.nll_sum);  // the same numbers in the same order
}

std::vector<Rule> rules_of(const std::string& expressions, std::vector<std::string> grids = {}) {
  std::vector<ThresholdGrid> parsed;
  for (const std::string& grid : grids) parsed.push_back(must(parse_grid(grid)));
  std::vector<Rule> rules;
  for (const GridRule& rule : must(expand_rules(expressions, parsed))) rules.push_back(rule.rule);
  return rules;
}

constexpr const char* kManyRules =
    "none; kl<0.1; kl<=0.3; margin>0.4; fixed=3; fixed=3/1/4; kl=0.5; argmax-stability>=2;"
    "kl<0.2 & margin>=0.2; kl<0.2 | (margin>=0.7 & entropy<0.5) | fixed=6; oracle-ce; oracle-safe;"
    "entropy-diff<0.05; cosine<0.3; saturation>=0.8; accel<0.2; accel>0.9; accel-rel<0.3;"
    "contraction<1; deq-rel<0.5; rank<=1; kl-final<0.1; nll<0.2; top1>=0.9; step-norm<0.1;"
    "kl<0.5 @patience=3; kl<0.5 & entropy<0.7 @patience=2,max=5; kl<0.1 @max=4;"
    "kl<0.3 @phase=decode; kl<0.3 @phase=prefill; entropy<0.2 @every=3,min=1;"
    "kl<0.3 @every=2; kl<0.3 | latent-diff<0.3 @every=2,patience=2; kl<0.2 @min=2;"
    "argmax-stability>=1 @every=2; contraction<2 @every=2; accel<0.5 @min=2";

TEST(Replay, FastPathsEqualTheObviousOne) {
  for (const int n_steps : {1, 7, 70}) {
    const Recording recording = random_recording(7, 150, n_steps, {kStartLag, 2});
    const std::vector<Rule> rules =
        rules_of(kManyRules, {"latent-diff=0.01:2:9", "minp-kl=0:1:7", "top1=0.1:1:5"});
    const Replay replay = must(replay_rules(std::span(&recording, 1), rules, {.n_threads = 1}));
    ASSERT_EQ(replay.outcomes.size(), rules.size());
    for (size_t i = 0; i < rules.size(); ++i)
      expect_equal(replay.outcomes[i], by_hand(recording, rules[i]));
  }
}

TEST(Replay, ThreadsNeverChangeAResult) {
  const Recording recording = random_recording(3, 90, 9, {});
  const std::vector<Rule> rules = rules_of("kl<1 & margin>=0.3", {"kl=1e-3:1:40", "margin=0:1:20"});
  ASSERT_EQ(rules.size(), 800u);
  const Replay one = must(replay_rules(std::span(&recording, 1), rules, {.n_threads = 1}));
  const Replay five = must(replay_rules(std::span(&recording, 1), rules, {.n_threads = 5}));
  for (size_t i = 0; i < rules.size(); ++i) expect_equal(one.outcomes[i], five.outcomes[i]);
}

// Two tokens, three steps: nll 3 2 1 and 1 2 3; argmax 5 7 7 and 4 4 4.
Recording two_tokens() {
  Recording recording = random_recording(1, 2, 3);
  recording.columns[static_cast<size_t>(StepColumn::kNll)] = {3, 2, 1, 1, 2, 3};
  recording.columns[static_cast<size_t>(StepColumn::kTop1Id)] = {5, 7, 7, 4, 4, 4};
  recording.columns[static_cast<size_t>(StepColumn::kKlPrev)] = {1, 0.5, 0.1F, 0.2F, 0.1F, 0.1F};
  return recording;
}

TEST(Replay, CountsWhatCanBeCountedByHand) {
  const Recording recording = two_tokens();
  const std::vector<Rule> rules = rules_of("fixed=2; kl<0.3; kl<0.05; oracle-ce; oracle-safe");
  const Replay replay = must(replay_rules(std::span(&recording, 1), rules, {}));
  EXPECT_EQ(replay.baseline.full_nats(), 2);
  EXPECT_EQ(replay.baseline.best_nats(), 1);
  EXPECT_EQ(replay.baseline.best_steps, 3 + 1);
  EXPECT_EQ(replay.baseline.safe_steps, 2 + 1);
  const RuleOutcome& fixed = replay.outcomes[0];
  EXPECT_EQ(fixed.exits, (std::vector<int64_t>{0, 0, 2, 0}));
  EXPECT_EQ(fixed.mean_steps(), 2);
  EXPECT_EQ(fixed.nats_per_token(), 2);
  EXPECT_EQ(fixed.wasted_steps, 1);
  const RuleOutcome& kl = replay.outcomes[1];
  EXPECT_EQ(kl.exits, (std::vector<int64_t>{0, 1, 0, 1}));
  EXPECT_EQ(kl.nats_per_token(), 1);
  EXPECT_EQ(kl.quantile_steps(0.5), 1);
  EXPECT_EQ(kl.quantile_steps(0.9), 3);
  EXPECT_EQ(kl.no_exit, 0);
  const RuleOutcome& never = replay.outcomes[2];
  EXPECT_EQ(never.no_exit, 2);
  EXPECT_EQ(never.mean_steps(), 3);
  EXPECT_EQ(replay.outcomes[3].nats_per_token(), 1);  // oracle-ce is the best there is
  EXPECT_EQ(replay.outcomes[4].mean_steps(), 1.5);
  EXPECT_EQ(replay.outcomes[4].early, 0);
  EXPECT_TRUE(kl.pareto);
  EXPECT_FALSE(fixed.pareto);  // the same mean depth, more loss
  EXPECT_FALSE(never.pareto);
  EXPECT_FALSE(replay.outcomes[3].pareto);  // oracles are not in the running
}

TEST(Replay, FlopsCountStepsReadoutsAndKeys) {
  Recording recording = two_tokens();
  const std::vector<Rule> rules =
      rules_of("fixed=2; kl<0.3; latent-diff<0; kl<0.05 @every=2,max=2; oracle-safe");
  recording.lags = {2};
  recording.lagged = random_recording(1, 2, 3, {2}).lagged;
  const Replay unknown = must(replay_rules(std::span(&recording, 1), rules, {}));
  EXPECT_TRUE(std::isnan(unknown.flops_per_token(unknown.outcomes[0])));
  recording.cost = ModelRecord{.prelude_flops = 1e6,
                               .step_flops = 1e4,
                               .readout_flops = 1e2,
                               .prelude_key_flops = 10,
                               .step_key_flops = 1,
                               .readout_key_flops = 0.1};
  const Replay replay = must(replay_rules(std::span(&recording, 1), rules, {}));
  const auto flops = [&](size_t i) { return 2 * replay.flops_per_token(replay.outcomes[i]); };
  // The first token attends to itself, the second to both: 3 keys. Two steps and a readout each.
  const double preludes = 2e6 + 3 * 10;
  EXPECT_DOUBLE_EQ(flops(0), preludes + 4 * 1e4 + (2 + 4) * 1 + 2 * 1e2 + 3 * 0.1);
  // Leaves after 3 checks and after 1, each with a readout.
  EXPECT_DOUBLE_EQ(flops(1), preludes + 4 * 1e4 + (3 + 2) * 1 + 4 * 1e2 + (3 + 2) * 0.1);
  // Never fires and looks at states alone: three steps, read out at the end only.
  EXPECT_DOUBLE_EQ(flops(2), preludes + 6 * 1e4 + (3 + 6) * 1 + 2 * 1e2 + 3 * 0.1);
  // Checked at step 1 in vain, ends at 2 without a check: two readouts.
  EXPECT_DOUBLE_EQ(flops(3), preludes + 4 * 1e4 + (2 + 4) * 1 + 4 * 1e2 + (2 + 4) * 0.1);
  // An oracle is charged one readout.
  EXPECT_EQ(replay.outcomes[4].readouts, 2);
}

TEST(Replay, NamesWhatWasNotRecorded) {
  const Recording recording = random_recording(1, 5, 8, {4});
  const auto error = [&](const char* rule) {
    return error_of(replay_rules(std::span(&recording, 1), rules_of(rule), {}));
  };
  EXPECT_NE(error("gate>=0.5").find("needs gate"), std::string::npos);
  EXPECT_NE(error("kl<0.1 @every=2").find("recorded lags are 1, 4"), std::string::npos);
  EXPECT_NE(error("accel<0.1 @every=4").find("every=1"), std::string::npos);
  EXPECT_EQ(error("kl<0.1 @every=4"), "no error");
}

TEST(Replay, RefusesRecordingsOfDifferentDepth) {
  const std::vector<Recording> both = {random_recording(1, 3, 4), random_recording(1, 3, 5)};
  EXPECT_NE(error_of(replay_rules(both, rules_of("none"), {})).find("4 and 5 steps"),
            std::string::npos);
}

TEST(RuleGrid, ReplacesTheThresholdOfItsScalarAlone) {
  const auto one = [](const char* text, const char* grid) {
    return must(expand_rules(text, std::vector{must(parse_grid(grid))}));
  };
  const auto rules = one("minp-kl<0.5 & kl<0.001 & kl-final<2 @patience=2", "kl=1e-5:1e-1:3");
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rule_label(rules[1].rule), "minp-kl<0.5 & kl<0.001 & kl-final<2 @patience=2");
  EXPECT_EQ(rule_label(rules[2].rule), "minp-kl<0.5 & kl<0.1 & kl-final<2 @patience=2");
  EXPECT_EQ(rules[0].family, "minp-kl<0.5 & kl & kl-final<2 @patience=2");
  EXPECT_EQ(one("", "top1=0:1:5").size(), 5u);            // on its own
  EXPECT_EQ(one("kl<0.1; none", "top1=0:1:5").size(), 7u);  // besides the rules
  EXPECT_EQ(one("", "top1=0:1:5")[3].rule.expression(), "top1>=0.75");
  for (const char* wrong : {"kl", "kl=1:2", "kl=a:2:3", "kl=1:2:0", "kl=1:2:2.5", "loss=1:2:3"})
    EXPECT_FALSE(parse_grid(wrong).ok()) << wrong;
}

TEST(RuleGrid, PresetHasTwelveRulesOfTwentyThresholds) {
  std::map<std::string, int> families;
  for (const GridRule& rule : preset_rules()) ++families[rule.family];
  EXPECT_GE(families.size(), 12u);
  for (const auto& [family, n] : families) EXPECT_EQ(n, 20) << family;
}

class RecordingFile : public AnalysisTest {};

TEST_F(RecordingFile, ReadsBackWhatASweepWrote) {
  MadeUpSweep sweep(file("out.db"));
  sweep.record(made_up_setting(), 4, 600, [](int64_t pos, int32_t step) {
    StepRecord row = converging(pos, step);
    row.nll = pos == 3 ? kNotMeasured : static_cast<float>(pos);
    row.top1_id = step;
    return row;
  });
  RunReader reader = must(RunReader::open(file("out.db")));
  const std::vector<Recording> recordings = must(load_recordings(reader, {}));
  ASSERT_EQ(recordings.size(), 1u);
  const Recording& recording = recordings[0];
  EXPECT_EQ(recording.n_tokens(), 599u);  // one has no loss
  EXPECT_EQ(recording.n_without_target, 1);
  EXPECT_EQ(recording.column(StepColumn::kNll, 3)[2], 4);
  EXPECT_EQ(recording.pos[3], 4);
  // Window 256, stride 128: the first window scores 256 tokens, each further one 128.
  EXPECT_EQ(recording.window_of(254), 0);
  EXPECT_EQ(recording.window_of(255), 1);
  EXPECT_EQ(recording.place_in_window(255), 128);
  EXPECT_EQ(recording.window_of(598), 3);
  TokenRows rows(recording);
  EXPECT_TRUE(std::isnan(rows.load(0).rows[0].prev.accel_norm) == false);
}

}  // namespace
}  // namespace plumb
