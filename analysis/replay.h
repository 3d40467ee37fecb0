// What exit rules would have done on recorded trajectories: depth, loss and distance to oracles of
// any number of rules, without a model.
//
// The recording is teacher-forced at full depth: every token attended to the full-depth keys and
// values of those before it. A live run whose earlier tokens left early may differ.
//
//   PLUMB_ASSIGN(const Replay replay, replay_rules(recordings, rules, {}));
//   for (const RuleOutcome& outcome : replay.outcomes) use(outcome.mean_steps());
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/recording.h"
#include "core/base/result.h"
#include "core/exit/rule.h"

namespace plumb {

// A token's last step whose readout counts is its exit; a token that no check stopped exits at its
// limit: the rule's max or the end of the recording.
struct RuleOutcome {
  Rule rule;
  std::vector<int64_t> exits;  // [R + 1] tokens by exit step
  int64_t tokens = 0;
  int64_t no_exit = 0;       // the rule never fired
  int64_t early = 0;         // left before the argmax was what it stays until full depth
  int64_t wrong_argmax = 0;  // the argmax at the exit is not the one of full depth
  int64_t wasted_steps = 0;  // steps run after the argmax was what it stays, summed
  double nll_sum = 0;        // nats, at the exits
  // What the FLOPs of it are made of: readouts (one a check where the rule looks at logits, else
  // one a token), and positions attended to, summed over tokens, steps and readouts.
  int64_t readouts = 0, keys = 0, step_keys = 0, readout_keys = 0;
  bool hindsight = false;     // looks at what a live run cannot know
  bool reads_logits = false;  // every check needs a readout
  bool pareto = false;        // no other rule without hindsight has fewer steps and less loss

  int64_t core_steps() const;
  double mean_steps() const;           // core steps a token
  int quantile_steps(double q) const;  // the smallest step by which a share q has left
  double nats_per_token() const;
  double perplexity() const;
  double share(int64_t count) const;  // count / tokens
};

// The same tokens at full depth, and at the best depths in hindsight.
struct ReplayBaseline {
  int64_t tokens = 0;
  std::vector<double> nll_sum_at;  // [R + 1] nats when all leave at step k; [0] unused
  double best_nll_sum = 0;         // oracle-ce: each at its own best step
  int64_t best_steps = 0;          // the first of those, summed
  int64_t safe_steps = 0;          // oracle-safe: first step from which the argmax stays, summed
  double safe_nll_sum = 0;         // nats there

  double full_nats() const;  // nats a token at full depth
  double best_nats() const;
};

struct Replay {
  int n_steps = 0;  // R
  ReplayBaseline baseline;
  std::vector<RuleOutcome> outcomes;  // in the order of the rules
  std::optional<ModelRecord> cost;

  // NaN where the file holds no cost of the model. An oracle is charged its steps and one readout.
  double flops_per_token(const RuleOutcome& outcome) const;
};

struct ReplayOptions {
  int n_threads = 0;  // 0: as many as the machine runs at once. Never changes a result
};

// All tokens of all recordings together. Errors: recordings of different depth; a rule whose
// scalar or comparison step was not recorded, by name. REQUIRES at least one recording.
Result<Replay> replay_rules(std::span<const Recording> recordings, std::span<const Rule> rules,
                            const ReplayOptions& options);

// Exit step of every token of one recording under one rule, 0 where it never fired. The obvious
// version of the above, one token at a time; for figures, calibration and tests.
// Errors as above.
Result<std::vector<int32_t>> exits_of(const Recording& recording, const Rule& rule);
// The same for several rules, [rule][token], building each token's rows once.
Result<std::vector<std::vector<int32_t>>> exits_of_rules(const Recording& recording,
                                                         std::span<const Rule> rules);

// Sets `pareto`: mean steps and loss against all outcomes without hindsight.
void mark_pareto(std::span<RuleOutcome> outcomes);

// Is every scalar of the rule measured in the recording? The error names the one that is not.
Status has_scalars(const Recording& recording, const Rule& rule);

}  // namespace plumb
