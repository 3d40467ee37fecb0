#include "experiments/cli/verify.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/rule_grid.h"
#include "analysis/table.h"

namespace plumb::cli {
namespace {

constexpr const char* kWhy =
    "Live, a token that leaves early has no deeper keys and values for those after it; replay has "
    "them at full depth. What is left between the two is that, and what the cache strategy makes "
    "of it.";

bool is_fixed_depth(const Rule& rule) {
  return rule.nodes().size() == 1 && rule.nodes()[0].kind == Rule::Kind::kPattern;
}

// n of the candidates, the first and the last among them.
std::vector<size_t> spread(const std::vector<size_t>& candidates, size_t n) {
  if (n >= candidates.size()) return candidates;
  std::vector<size_t> chosen;
  for (size_t i = 0; i < n; ++i)
    chosen.push_back(
        candidates[n == 1 ? candidates.size() / 2 : i * (candidates.size() - 1) / (n - 1)]);
  return chosen;
}

Result<std::vector<Rule>> choose(const LiveRules& live, const std::vector<RuleOutcome>& outcomes,
                                 const std::vector<size_t>& order, int n) {
  std::vector<size_t> adaptive, all;
  for (const size_t i : order) {
    if (!live.usable(outcomes[i].rule).ok()) continue;
    all.push_back(i);
    if (!is_fixed_depth(outcomes[i].rule)) adaptive.push_back(i);
  }
  if (all.empty()) return input_error("replay: --verify found no rule that can run live");
  std::vector<Rule> rules;
  for (const size_t i : spread(adaptive.empty() ? all : adaptive, static_cast<size_t>(n)))
    rules.push_back(outcomes[i].rule);
  return rules;
}

// The recorded token at a position; the recording may lack some (not all windows done).
std::optional<size_t> token_at(const Recording& recording, int64_t pos) {
  const auto found = std::lower_bound(recording.pos.begin(), recording.pos.end(), pos);
  if (found == recording.pos.end() || *found != pos) return std::nullopt;
  return static_cast<size_t>(found - recording.pos.begin());
}

// Adds up; the caller divides.
void add(const Recording& recording, const Rule& rule, const std::vector<int32_t>& exits,
         const std::vector<LiveToken>& live, Disagreement& sums) {
  const int limit = rule.depth_limit(recording.n_steps);
  for (const LiveToken& token : live) {
    const auto at = token_at(recording, token.pos);
    if (!at) continue;
    const bool fired = exits[*at] > 0;
    const int step = fired ? exits[*at] : limit;
    const double nll = recording.column(StepColumn::kNll, *at)[static_cast<size_t>(step) - 1];
    const int apart = std::abs(token.exit_step - step);
    ++sums.tokens;
    sums.moved += apart > 0;
    sums.steps_replay += step, sums.steps_live += token.exit_step;
    sums.steps_apart += apart;
    sums.most_apart = std::max(sums.most_apart, apart);
    sums.nats_replay += nll, sums.nats_live += token.nll;
    sums.nll_apart += std::abs(token.nll - nll);
    sums.no_exit_replay += !fired, sums.no_exit_live += !token.fired;
  }
}

void divide(Disagreement& sums) {
  const double n = static_cast<double>(sums.tokens);
  for (double* sum : {&sums.steps_replay, &sums.steps_live, &sums.steps_apart, &sums.nats_replay,
                      &sums.nats_live, &sums.nll_apart, &sums.no_exit_replay, &sums.no_exit_live})
    *sum /= n;
}

// Full depth again: the numbers of the recording itself.
Result<double> recording_apart(LiveRules& live, const Recording& recording, const LiveText& text) {
  PLUMB_ASSIGN(const std::vector<LiveToken> tokens, live.run(text, nullptr));
  double largest = 0;
  for (const LiveToken& token : tokens)
    if (const auto at = token_at(recording, token.pos))
      largest =
          std::max(largest, std::abs(token.nll - recording.column(StepColumn::kNll, *at).back()));
  return largest;
}

}  // namespace

Result<Verification> verify_replay(RunReader& reader, const std::vector<Recording>& recordings,
                                   const std::vector<RuleOutcome>& outcomes,
                                   const std::vector<size_t>& order, const VerifyOptions& options) {
  PLUMB_CHECK(options.n_rules > 0 && !recordings.empty());
  PLUMB_ASSIGN(LiveRules live, LiveRules::open(reader, recordings.front().info, options.live));
  PLUMB_ASSIGN(std::vector<Rule> rules, choose(live, outcomes, order, options.n_rules));
  Verification result;
  for (const Rule& rule : rules) result.rules.push_back({.rule = rule});
  for (const Recording& recording : recordings) {
    PLUMB_ASSIGN(const LiveText text,
                 recorded_text(reader, recording.info, options.live.max_tokens));
    PLUMB_ASSIGN(const double apart, recording_apart(live, recording, text));
    result.recording_apart = std::max(result.recording_apart, apart);
    result.windows += static_cast<int64_t>(text.windows.size());
    for (Disagreement& one : result.rules) {
      Rule resolved = one.rule;
      resolved.resolve_max(recording.n_steps);
      result.cache = live.cache_of(text, &resolved);
      PLUMB_ASSIGN(const std::vector<int32_t> exits, exits_of(recording, one.rule));
      PLUMB_ASSIGN(const std::vector<LiveToken> tokens, live.run(text, &resolved));
      add(recording, one.rule, exits, tokens, one);
    }
  }
  result.tokens = result.rules.front().tokens;
  if (result.tokens == 0)
    return input_error("{}: none of the recorded tokens could be run again",
                       reader.path().string());
  for (Disagreement& one : result.rules) divide(one);
  return result;
}

Json json_of(const Verification& v) {
  Json rules = Json::array();
  for (const Disagreement& d : v.rules) {
    const double n = static_cast<double>(d.tokens);
    rules.push_back({{"rule", d.rule.canonical()},
                     {"tokens", d.tokens},
                     {"other_exit_rate", static_cast<double>(d.moved) / n},
                     {"mean_steps_replay", d.steps_replay},
                     {"mean_steps_live", d.steps_live},
                     {"mean_steps_apart", d.steps_apart},
                     {"most_steps_apart", d.most_apart},
                     {"nats_replay", d.nats_replay},
                     {"nats_live", d.nats_live},
                     {"nats_live_minus_replay", d.nats_live - d.nats_replay},
                     {"mean_token_nats_apart", d.nll_apart},
                     {"no_exit_rate_replay", d.no_exit_replay},
                     {"no_exit_rate_live", d.no_exit_live}});
  }
  return {{"cache", v.cache},     {"tokens", v.tokens},
          {"windows", v.windows}, {"full_depth_largest_nats_apart", v.recording_apart},
          {"why", kWhy},          {"rules", rules}};
}

void print_verification(const Verification& v) {
  Table table({{.name = "rule", .type = CellType::kText},
               {.name = "moved", .heading = "other exit", .unit = "%", .digits = 3},
               {.name = "replay_steps", .heading = "replay", .unit = "steps", .digits = 4},
               {.name = "live_steps", .heading = "live", .unit = "steps", .digits = 4},
               {.name = "apart", .heading = "apart", .unit = "steps a token", .digits = 3},
               {.name = "replay_nats", .heading = "replay", .unit = "nats", .digits = 5},
               {.name = "live_nats", .heading = "live", .unit = "nats", .digits = 5},
               {.name = "difference", .heading = "live - replay", .unit = "nats", .digits = 3},
               {.name = "token_apart", .heading = "apart", .unit = "nats a token", .digits = 3}});
  for (const Disagreement& d : v.rules)
    table.add_row({rule_label(d.rule),
                   100 * static_cast<double>(d.moved) / static_cast<double>(d.tokens),
                   d.steps_replay, d.steps_live, d.steps_apart, d.nats_replay, d.nats_live,
                   d.nats_live - d.nats_replay, d.nll_apart});
  fmt::print("\nRun live, a token at a time, cache {}: {} tokens in {} windows.\n{}", v.cache,
             v.tokens, v.windows, table.to_terminal());
  fmt::print(
      "Full depth run again: losses at most {:.2g} nats from the recording (f32 in the "
      "file).\n{}\n",
      v.recording_apart, kWhy);
}

}  // namespace plumb::cli
