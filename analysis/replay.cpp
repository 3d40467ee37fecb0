#include "analysis/replay.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "analysis/rule_masks.h"

namespace plumb {
namespace {

// Rules that check the same steps, up to the same limit: their rows are built once a token.
struct Schedule {
  int min = 0, every = 1, limit = 0;
  bool never = false;  // phase=prefill: recorded tokens are decode forwards
  auto operator<=>(const Schedule&) const = default;
};

Schedule schedule_of(const Rule& rule, int n_steps) {
  return {rule.min_steps(), rule.check_every(), rule.depth_limit(n_steps),
          rule.phase() == Phase::kPrefill};
}

std::vector<int> check_steps(const Schedule& schedule) {
  std::vector<int> steps;
  if (schedule.never) return steps;
  for (int step = schedule.min + 1; step <= schedule.limit; step += schedule.every)
    steps.push_back(step);
  return steps;
}

// What an exit of one token at step k costs; by k - 1.
struct ExitFacts {
  std::span<const StepRow> rows;
  int64_t n_keys = 0;  // positions it attends to
  int safe_step = 0;

  ExitFacts(std::span<const StepRow> token_rows, int64_t place_in_window)
      : rows(token_rows), n_keys(place_in_window + 1) {
    safe_step = static_cast<int>(rows.size());
    while (safe_step > 1 && rows[static_cast<size_t>(safe_step) - 2].settled == 1) --safe_step;
  }
  void add(RuleOutcome& outcome, int step, bool fired, int n_readouts) const {
    const StepRow& row = rows[static_cast<size_t>(step) - 1];
    outcome.readouts += n_readouts;
    outcome.keys += n_keys;
    outcome.step_keys += step * n_keys;
    outcome.readout_keys += n_readouts * n_keys;
    ++outcome.tokens;
    ++outcome.exits[static_cast<size_t>(step)];
    outcome.no_exit += !fired;
    outcome.early += step < safe_step;
    outcome.wrong_argmax += row.top1 != rows.back().top1;
    outcome.wasted_steps += std::max(0, step - safe_step);
    outcome.nll_sum += row.nll;
  }
};

// Some rules of one schedule over all tokens. Each rule is summed in the order of the tokens by one
// thread, so threads never change a result.
class WorkItem {
 public:
  WorkItem(const Schedule& schedule, std::vector<RuleOutcome*> outcomes)
      : schedule_(schedule), outcomes_(std::move(outcomes)), steps_(check_steps(schedule)) {
    const auto compares = std::find_if(outcomes_.begin(), outcomes_.end(),
                                       [](const auto* o) { return o->rule.compares_rows(); });
    walker_ = compares == outcomes_.end() ? &outcomes_.front()->rule : &(*compares)->rule;
    for (RuleOutcome* outcome : outcomes_) {
      const auto threshold = outcome->rule.single_threshold();
      if (threshold && outcome->rule.patience() == 1) {
        Simple& group = simple_[{threshold->scalar, threshold->comparator}];
        group.outcomes.push_back(outcome);
        group.thresholds.push_back(threshold->threshold);
      } else {
        complex_.push_back(outcome);
        complex_rules_.push_back(&outcome->rule);
      }
    }
  }

  void run(const Recording& recording) {
    const bool every_step = schedule_.min == 0 && schedule_.every == 1;
    TokenRows token_rows(recording, !every_step);
    RuleMasks masks(complex_rules_, steps_.size());
    for (auto& [key, group] : simple_) group.values.resize(kBlock, steps_.size());
    Mat<int32_t> crossings;
    Block block;
    for (size_t token = 0; token < recording.n_tokens(); ++token) {
      const Trajectory& trajectory = token_rows.load(token);
      const ExitFacts facts(trajectory.rows, recording.place_in_window(token));
      std::vector<StepRow> rebuilt;
      if (!every_step) rebuilt = rows_at_checks(*walker_, trajectory);
      const std::span<const StepRow> checks =
          every_step ? trajectory.rows.first(steps_.size()) : std::span<const StepRow>(rebuilt);
      run_complex(checks, facts, masks, recording.place_in_window(token));
      if (simple_.empty()) continue;
      for (auto& [key, group] : simple_)
        for (size_t check = 0; check < checks.size(); ++check)
          group.values(block.rows.size(), check) = key.first->value(checks[check]);
      block.rows.emplace_back(trajectory.rows.begin(), trajectory.rows.end());
      block.places.push_back(recording.place_in_window(token));
      if (block.rows.size() == kBlock || token + 1 == recording.n_tokens()) {
        run_simple(block, crossings);
        block.rows.clear(), block.places.clear();
      }
    }
  }

 private:
  static constexpr size_t kBlock = 64;
  struct Simple {
    std::vector<RuleOutcome*> outcomes;
    std::vector<double> thresholds;
    Mat<double> values;  // [kBlock, checks]
  };
  // Full rows of some tokens, kept until their crossings are known.
  struct Block {
    std::vector<std::vector<StepRow>> rows;
    std::vector<int64_t> places;  // in their windows
  };

  void add(const ExitFacts& facts, RuleOutcome& outcome, size_t check) const {
    const bool fired = check < steps_.size();
    const int step = fired ? steps_[check] : schedule_.limit;
    const int checks = static_cast<int>(fired ? check + 1 : steps_.size());
    // The last check's readout serves the exit when it was at the same step.
    const bool at_check = checks > 0 && steps_[static_cast<size_t>(checks) - 1] == step;
    const bool looks = !outcome.hindsight && outcome.reads_logits;
    facts.add(outcome, step, fired, looks ? checks + (at_check ? 0 : 1) : 1);
  }

  void run_complex(std::span<const StepRow> checks, const ExitFacts& facts, RuleMasks& masks,
                   int64_t forward) {
    if (complex_.empty()) return;
    masks.load(checks);
    for (size_t i = 0; i < complex_.size(); ++i)
      add(facts, *complex_[i], masks.first_hit(i, forward));
  }

  void run_simple(const Block& block, Mat<int32_t>& crossings) {
    const size_t n = block.rows.size();
    std::vector<ExitFacts> facts;
    for (size_t i = 0; i < n; ++i) facts.emplace_back(block.rows[i], block.places[i]);
    for (auto& [key, group] : simple_) {
      crossings.resize(group.thresholds.size(), n);
      first_crossings(MatView<const double>(group.values).rows_from(0, n), key.second,
                      group.thresholds, crossings);
      for (size_t i = 0; i < group.outcomes.size(); ++i)
        for (size_t token = 0; token < n; ++token) {
          const int32_t at = crossings(i, token);
          add(facts[token], *group.outcomes[i],
              at == 0 ? steps_.size() : static_cast<size_t>(at) - 1);
        }
    }
  }

  Schedule schedule_;
  std::vector<RuleOutcome*> outcomes_;
  std::vector<int> steps_;        // of the checks
  const Rule* walker_ = nullptr;  // stands for the schedule
  std::map<std::pair<const Scalar*, Comparator>, Simple> simple_;
  std::vector<RuleOutcome*> complex_;
  std::vector<const Rule*> complex_rules_;
};

std::vector<WorkItem> split_work(std::vector<RuleOutcome>& outcomes, int n_steps, int n_threads) {
  std::map<Schedule, std::vector<RuleOutcome*>> groups;
  for (RuleOutcome& outcome : outcomes)
    groups[schedule_of(outcome.rule, n_steps)].push_back(&outcome);
  // Building the rows is what rules share: no smaller pieces than the threads can use.
  const size_t most =
      std::max<size_t>(64, outcomes.size() / static_cast<size_t>(2 * n_threads) + 1);
  std::vector<WorkItem> items;
  for (const auto& [schedule, group] : groups)
    for (size_t first = 0; first < group.size(); first += most) {
      const auto begin = group.begin() + static_cast<ptrdiff_t>(first);
      const auto n = static_cast<ptrdiff_t>(std::min(most, group.size() - first));
      items.emplace_back(schedule, std::vector<RuleOutcome*>(begin, begin + n));
    }
  return items;
}

Status run_all(std::vector<WorkItem>& items, std::span<const Recording> recordings, int n_threads) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::string failure;
  const auto work = [&] {
    try {
      for (size_t i = next++; i < items.size(); i = next++)
        for (const Recording& recording : recordings) items[i].run(recording);
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex);
      failure = error.what();
    }
  };
  {
    std::vector<std::jthread> helpers;
    const size_t n = std::min(static_cast<size_t>(n_threads), items.size());
    for (size_t i = 1; i < n; ++i) helpers.emplace_back(work);
    work();
  }
  if (failure.empty()) return ok_status();
  return work_error("replay of {} pieces of work failed: {}", items.size(), failure);
}

void add_baseline(const Recording& recording, ReplayBaseline& baseline) {
  TokenRows token_rows(recording, false);
  for (size_t token = 0; token < recording.n_tokens(); ++token) {
    const std::span<const StepRow> rows = token_rows.load(token).rows;
    const ExitFacts facts(rows, 0);
    size_t best = 0;
    for (size_t k = 0; k < rows.size(); ++k) {
      baseline.nll_sum_at[k + 1] += rows[k].nll;
      if (rows[k].nll < rows[best].nll) best = k;
    }
    ++baseline.tokens;
    baseline.best_nll_sum += rows[best].nll;
    baseline.best_steps += static_cast<int64_t>(best) + 1;
    baseline.safe_steps += facts.safe_step;
    baseline.safe_nll_sum += rows[static_cast<size_t>(facts.safe_step) - 1].nll;
  }
}

Status check_recordings(std::span<const Recording> recordings, std::span<const Rule> rules) {
  for (const Recording& recording : recordings) {
    if (recording.n_steps != recordings.front().n_steps)
      return input_error(
          "recordings of {} and {} steps ({}, {}) cannot be replayed together, expected one "
          "depth: choose with --text, --model or --run",
          recordings.front().n_steps, recording.n_steps,
          recordings.front().info.record.setting.text_name,
          recording.info.record.setting.text_name);
    for (const Rule& rule : rules) PLUMB_RETURN_IF_ERROR(replayable_on(recording, rule));
  }
  return ok_status();
}

bool has_value(const Recording& recording, const Scalar& scalar) {
  TokenRows token_rows(recording, false);
  for (size_t token = 0; token < recording.n_tokens(); ++token)
    for (const StepRow& row : token_rows.load(token).rows)
      if (!std::isnan(scalar.value(row))) return true;
  return false;
}

Status missing_scalar(const Recording& recording, const Rule& rule, const Scalar& scalar) {
  const Setting& setting = recording.info.record.setting;
  return input_error(
      "rule '{}' needs {} ({}), which the recording of {} on {} does not have at any step",
      rule.expression(), scalar.name, scalar.meaning, setting.model_name, setting.text_name);
}

// As has_scalars(), looking each scalar up once.
Status check_scalars(std::span<const Recording> recordings, std::span<const Rule> rules) {
  for (const Recording& recording : recordings) {
    std::map<const Scalar*, bool> known;
    for (const Rule& rule : rules)
      for (const Rule::Node& node : rule.nodes()) {
        if (node.scalar == nullptr) continue;
        const auto [found, is_new] = known.try_emplace(node.scalar, false);
        if (is_new) found->second = has_value(recording, *node.scalar);
        if (!found->second) return missing_scalar(recording, rule, *node.scalar);
      }
  }
  return ok_status();
}

}  // namespace

int64_t RuleOutcome::core_steps() const {
  int64_t sum = 0;
  for (size_t step = 0; step < exits.size(); ++step)
    sum += static_cast<int64_t>(step) * exits[step];
  return sum;
}

double RuleOutcome::mean_steps() const {
  return static_cast<double>(core_steps()) / static_cast<double>(tokens);
}

double Replay::flops_per_token(const RuleOutcome& outcome) const {
  if (!cost || outcome.tokens == 0) return std::numeric_limits<double>::quiet_NaN();
  const auto times = [](int64_t n, double flops) { return static_cast<double>(n) * flops; };
  const double total = times(outcome.tokens, cost->prelude_flops) +
                       times(outcome.keys, cost->prelude_key_flops) +
                       times(outcome.core_steps(), cost->step_flops) +
                       times(outcome.step_keys, cost->step_key_flops) +
                       times(outcome.readouts, cost->readout_flops) +
                       times(outcome.readout_keys, cost->readout_key_flops);
  return total / static_cast<double>(outcome.tokens);
}

int RuleOutcome::quantile_steps(double q) const {
  int64_t left = 0;
  for (size_t step = 0; step < exits.size(); ++step) {
    left += exits[step];
    if (left > 0 && static_cast<double>(left) >= q * static_cast<double>(tokens))
      return static_cast<int>(step);
  }
  return static_cast<int>(exits.size()) - 1;
}

double RuleOutcome::nats_per_token() const { return nll_sum / static_cast<double>(tokens); }
double RuleOutcome::perplexity() const { return std::exp(nats_per_token()); }
double RuleOutcome::share(int64_t count) const {
  return static_cast<double>(count) / static_cast<double>(tokens);
}
double ReplayBaseline::full_nats() const { return nll_sum_at.back() / static_cast<double>(tokens); }
double ReplayBaseline::best_nats() const { return best_nll_sum / static_cast<double>(tokens); }

Result<Replay> replay_rules(std::span<const Recording> recordings, std::span<const Rule> rules,
                            const ReplayOptions& options) {
  PLUMB_CHECK(!recordings.empty() && options.n_threads >= 0);
  PLUMB_RETURN_IF_ERROR(check_recordings(recordings, rules));
  PLUMB_RETURN_IF_ERROR(check_scalars(recordings, rules));
  Replay replay;
  replay.n_steps = recordings.front().n_steps;
  replay.cost = recordings.front().cost;
  const size_t n_depths = static_cast<size_t>(replay.n_steps) + 1;
  replay.baseline.nll_sum_at.resize(n_depths);
  for (const Recording& recording : recordings) add_baseline(recording, replay.baseline);
  for (const Rule& rule : rules) {
    RuleOutcome outcome{.rule = rule, .exits = std::vector<int64_t>(n_depths)};
    outcome.hindsight = needs(rule.required(), Inputs::kHindsight);
    outcome.reads_logits = needs(rule.required(), Inputs::kLogits);
    replay.outcomes.push_back(std::move(outcome));
  }
  const int n_threads = options.n_threads > 0
                            ? options.n_threads
                            : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::vector<WorkItem> items = split_work(replay.outcomes, replay.n_steps, n_threads);
  PLUMB_RETURN_IF_ERROR(run_all(items, recordings, n_threads));
  mark_pareto(replay.outcomes);
  return replay;
}

Result<std::vector<int32_t>> exits_of(const Recording& recording, const Rule& rule) {
  PLUMB_ASSIGN(auto exits, exits_of_rules(recording, std::span(&rule, 1)));
  return std::move(exits.front());
}

Result<std::vector<std::vector<int32_t>>> exits_of_rules(const Recording& recording,
                                                         std::span<const Rule> rules) {
  for (const Rule& rule : rules) PLUMB_RETURN_IF_ERROR(replayable_on(recording, rule));
  PLUMB_RETURN_IF_ERROR(check_scalars(std::span(&recording, 1), rules));
  TokenRows token_rows(recording);
  std::vector<std::vector<int32_t>> exits(rules.size());
  for (size_t token = 0; token < recording.n_tokens(); ++token) {
    const Trajectory& trajectory = token_rows.load(token);
    const int forward = static_cast<int>(recording.place_in_window(token));
    for (size_t i = 0; i < rules.size(); ++i) {
      const Exit exit = find_exit(rules[i], trajectory, forward);
      exits[i].push_back(exit.reason == ExitReason::kRule ? exit.step : 0);
    }
  }
  return exits;
}

void mark_pareto(std::span<RuleOutcome> outcomes) {
  std::vector<size_t> order;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    outcomes[i].pareto = false;
    if (!outcomes[i].hindsight && outcomes[i].tokens > 0) order.push_back(i);
  }
  const auto cost = [&](size_t i) {
    return std::pair(outcomes[i].mean_steps(), outcomes[i].nll_sum);
  };
  std::vector<std::pair<double, double>> costs(outcomes.size());
  for (const size_t i : order) costs[i] = cost(i);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return costs[a] < costs[b]; });
  const std::pair<double, double>* last = nullptr;  // the last one on the front
  for (const size_t i : order) {
    const bool better = last == nullptr || costs[i].second < last->second;
    outcomes[i].pareto = better || costs[i] == *last;
    if (better) last = &costs[i];
  }
}

Status has_scalars(const Recording& recording, const Rule& rule) {
  return check_scalars(std::span(&recording, 1), std::span(&rule, 1));
}

}  // namespace plumb
