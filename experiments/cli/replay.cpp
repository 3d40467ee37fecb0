// Exit rules on recorded trajectories, without a model.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "analysis/replay.h"
#include "analysis/rule_grid.h"
#include "analysis/table.h"
#include "core/store/run_reader.h"
#include "experiments/cli/replay_options.h"
#include "experiments/cli/verbs.h"
#include "experiments/cli/verify.h"

namespace plumb::cli {
namespace {

constexpr const char* kTeacherForced =
    "Replayed on a teacher-forced recording with full-depth caches: each token attends to "
    "full-depth keys and values of those before it, which a live run that exits early does not "
    "have.";
constexpr const char* kCost =
    "FLOPs a token: prelude, steps and attention, and a readout (coda and head) at every check of "
    "a "
    "rule that looks at logits, else at the exit alone.";

struct ReplayCall {
  RecordingOptions recordings;
  std::string rules, output;
  std::vector<std::string> grids;
  bool preset = false, pareto_only = false, json = false;
  int n_threads = 0;
  VerifyOptions verify;
};

struct Finished {
  std::vector<Recording> recordings;
  std::vector<GridRule> rules;
  std::vector<std::string> left_out;  // of the preset: not recorded
  Replay replay;
  std::vector<size_t> order;  // by mean steps
  std::optional<Verification> verification;
};

// The preset without the rules that this recording cannot answer, which are named.
void add_preset(Finished& finished) {
  std::string last;
  bool usable = false;
  for (GridRule& rule : preset_rules()) {
    if (rule.family != last) {
      last = rule.family;
      usable = true;
      for (const Recording& recording : finished.recordings)
        usable = usable && has_scalars(recording, rule.rule).ok();
      if (!usable) finished.left_out.push_back(rule.family);
    }
    if (usable) finished.rules.push_back(std::move(rule));
  }
}

Result<std::vector<GridRule>> rules_of(const ReplayCall& call) {
  std::vector<ThresholdGrid> grids;
  for (const std::string& text : call.grids) {
    PLUMB_ASSIGN(ThresholdGrid grid, parse_grid(text));
    grids.push_back(std::move(grid));
  }
  PLUMB_ASSIGN(std::vector<GridRule> rules, expand_rules(call.rules, grids));
  if (rules.empty() && !call.preset)
    return input_error(
        "replay: found no rule, expected --rule EXPR, --grid SCALAR=LOW:HIGH:N or "
        "--preset");
  return rules;
}

Result<Finished> replay_call(const ReplayCall& call) {
  Finished finished;
  PLUMB_ASSIGN(finished.rules, rules_of(call));
  PLUMB_ASSIGN(RunReader reader, RunReader::open(call.recordings.db));
  PLUMB_ASSIGN(finished.recordings, load_recordings(reader, call.recordings.selection));
  if (call.preset) add_preset(finished);
  // The fixed depths and the oracles are what every rule is measured against.
  const auto add = [&](std::vector<GridRule> more) {
    for (GridRule& rule : more) finished.rules.push_back(std::move(rule));
  };
  add(fixed_rules(finished.recordings.front().n_steps));
  add(oracle_rules());
  std::vector<Rule> rules;
  for (const GridRule& rule : finished.rules) rules.push_back(rule.rule);
  PLUMB_ASSIGN(finished.replay,
               replay_rules(finished.recordings, rules, {.n_threads = call.n_threads}));
  const auto& outcomes = finished.replay.outcomes;
  for (size_t i = 0; i < outcomes.size(); ++i)
    if (!call.pareto_only || outcomes[i].pareto) finished.order.push_back(i);
  std::vector<double> means;
  for (const RuleOutcome& outcome : outcomes) means.push_back(outcome.mean_steps());
  std::stable_sort(finished.order.begin(), finished.order.end(),
                   [&](size_t a, size_t b) { return means[a] < means[b]; });
  if (call.verify.n_rules > 0) {
    PLUMB_ASSIGN(finished.verification,
                 verify_replay(reader, finished.recordings, outcomes, finished.order, call.verify));
  }
  return finished;
}

Table table_of(const Finished& finished, bool for_people) {
  std::vector<TableColumn> columns = {
      {.name = "rule", .type = CellType::kText},
      {.name = "mean_steps", .heading = "mean", .unit = "steps", .digits = 4},
      {.name = "p10_steps", .heading = "10 %", .type = CellType::kInteger},
      {.name = "p50_steps", .heading = "50 %", .type = CellType::kInteger},
      {.name = "p90_steps", .heading = "90 %", .type = CellType::kInteger},
      {.name = "mflops", .heading = "MFLOPs", .unit = "a token", .digits = 4},
      {.name = "no_exit_rate", .heading = "no exit", .digits = 3},
      {.name = "nats_per_token", .heading = "nats/token", .digits = 6},
      {.name = "perplexity", .digits = 6},
      {.name = "excess_nats", .heading = "over full depth", .unit = "nats", .digits = 3},
      {.name = "oracle_ce_gap_nats", .heading = "over oracle-ce", .unit = "nats", .digits = 3},
      {.name = "wasted_steps", .heading = "after oracle-safe", .unit = "steps", .digits = 3},
      {.name = "early_rate", .heading = "before it", .digits = 3},
      {.name = "false_exit_rate", .heading = "false exits", .digits = 3},
      {.name = "pareto", .type = CellType::kText}};
  if (!for_people) columns.push_back({.name = "family", .type = CellType::kText});
  if (!for_people) columns.push_back({.name = "tokens", .type = CellType::kInteger});
  Table table(std::move(columns));
  const ReplayBaseline& base = finished.replay.baseline;
  for (const size_t i : finished.order) {
    const RuleOutcome& o = finished.replay.outcomes[i];
    std::vector<Cell> cells = {for_people ? rule_label(o.rule) : o.rule.canonical(),
                               o.mean_steps(),
                               int64_t{o.quantile_steps(0.1)},
                               int64_t{o.quantile_steps(0.5)},
                               int64_t{o.quantile_steps(0.9)},
                               finished.replay.flops_per_token(o) / 1e6,
                               o.share(o.no_exit),
                               o.nats_per_token(),
                               o.perplexity(),
                               o.nats_per_token() - base.full_nats(),
                               o.nats_per_token() - base.best_nats(),
                               o.share(o.wasted_steps),
                               o.share(o.early),
                               o.share(o.wrong_argmax),
                               std::string(o.hindsight ? "oracle"
                                           : o.pareto  ? "*"
                                                       : "")};
    if (!for_people) cells.emplace_back(finished.rules[i].family), cells.emplace_back(o.tokens);
    table.add_row(std::move(cells));
  }
  return table;
}

Json number_or_null(double value) { return std::isnan(value) ? Json() : Json(value); }

Json json_of_rule(const Finished& finished, size_t i) {
  const RuleOutcome& o = finished.replay.outcomes[i];
  const ReplayBaseline& base = finished.replay.baseline;
  return {{"rule", o.rule.canonical()},
          {"family", finished.rules[i].family},
          {"tokens", o.tokens},
          {"core_steps", o.core_steps()},
          {"readouts", o.readouts},
          {"flops_per_token", number_or_null(finished.replay.flops_per_token(o))},
          {"mean_steps", o.mean_steps()},
          {"p10_steps", o.quantile_steps(0.1)},
          {"p50_steps", o.quantile_steps(0.5)},
          {"p90_steps", o.quantile_steps(0.9)},
          {"no_exit_rate", o.share(o.no_exit)},
          {"nats_per_token", o.nats_per_token()},
          {"perplexity", o.perplexity()},
          {"excess_nats", o.nats_per_token() - base.full_nats()},
          {"oracle_ce_gap_nats", o.nats_per_token() - base.best_nats()},
          {"wasted_steps", o.share(o.wasted_steps)},
          {"early_rate", o.share(o.early)},
          {"false_exit_rate", o.share(o.wrong_argmax)},
          {"hindsight", o.hindsight},
          {"pareto", o.pareto},
          {"exits", o.exits}};
}

Json json_of(const Finished& finished) {
  const ReplayBaseline& base = finished.replay.baseline;
  const auto mean = [&](double sum) { return sum / static_cast<double>(base.tokens); };
  Json rules = Json::array();
  for (const size_t i : finished.order) rules.push_back(json_of_rule(finished, i));
  Json report = {{"recordings", describe_recordings(finished.recordings)},
                 {"tokens", base.tokens},
                 {"max_steps", finished.replay.n_steps},
                 {"caveat", kTeacherForced},
                 {"cost", kCost},
                 {"left_out", finished.left_out},
                 {"baseline",
                  {{"full_nats", base.full_nats()},
                   {"full_perplexity", std::exp(base.full_nats())},
                   {"oracle_ce_nats", base.best_nats()},
                   {"oracle_ce_mean_steps", mean(static_cast<double>(base.best_steps))},
                   {"oracle_safe_nats", mean(base.safe_nll_sum)},
                   {"oracle_safe_mean_steps", mean(static_cast<double>(base.safe_steps))}}},
                 {"rules", rules}};
  if (finished.verification) report["verify"] = json_of(*finished.verification);
  return report;
}

void print_text(const Finished& finished) {
  const ReplayBaseline& base = finished.replay.baseline;
  fmt::print("{}\n", recordings_line(finished.recordings));
  fmt::print("{}\n", table_of(finished, true).to_terminal());
  fmt::print(
      "Full depth: {:.6g} nats/token, perplexity {:.6g}. Shares are of tokens; 'no exit' never "
      "fired and ran to its limit.\n'before it': left before the argmax was what it stays "
      "(oracle-safe). 'false exits': another argmax than at full depth. *: Pareto front.\n",
      base.full_nats(), std::exp(base.full_nats()));
  if (!finished.left_out.empty())
    fmt::print("Left out of the preset, not recorded: {}.\n", fmt::join(finished.left_out, "; "));
  fmt::print("{}\n{}\n", kTeacherForced, kCost);
  if (finished.verification) print_verification(*finished.verification);
}

Status check_output(const std::string& output) {
  const std::string ending = std::filesystem::path(output).extension().string();
  if (output.empty() || ending == ".csv" || ending == ".json") return ok_status();
  return input_error("{}: found the ending '{}', expected .csv or .json", output, ending);
}

Status run(ReplayCall& call) {
  PLUMB_RETURN_IF_ERROR(check_output(call.output));
  if (call.n_threads < 0)
    return input_error("replay: found --threads {}, expected 0 or more", call.n_threads);
  if (call.verify.n_rules < 0 || call.verify.live.max_tokens < 0)
    return input_error("replay: found --verify {} --verify-tokens {}, expected 0 or more",
                       call.verify.n_rules, call.verify.live.max_tokens);
  call.verify.live.threads = call.n_threads;
  call.verify.live.note = [](const std::string& text) {
    std::fprintf(stderr, "plumb: note: %s\n", text.c_str());
  };
  PLUMB_ASSIGN(const Finished finished, replay_call(call));
  if (!call.output.empty()) {
    const bool csv = call.output.ends_with(".csv");
    PLUMB_RETURN_IF_ERROR(write_text_file(
        call.output, csv ? table_of(finished, false).to_csv() : json_of(finished).dump(2) + "\n"));
  }
  if (call.json)
    fmt::print("{}\n", json_of(finished).dump(2));
  else if (call.output.empty())
    print_text(finished);
  else
    fmt::print("{}\n", call.output);
  return ok_status();
}

}  // namespace

void add_replay(CLI::App& program, Action& action) {
  auto call = std::make_shared<ReplayCall>();
  CLI::App* verb = program.add_subcommand(
      "replay", "What exit rules would have done on recorded trajectories, without a model");
  add_recording_options(*verb, call->recordings);
  verb->add_option("--rule", call->rules, "Rules, separated by ';': see below")
      ->type_name("EXPR[;EXPR]");
  verb->add_option("--grid", call->grids,
                   "Thresholds of a scalar, log-spaced when both ends are above 0; in every rule "
                   "that has the scalar, else on its own. Several: all combinations")
      ->allow_extra_args(false)
      ->type_name("SCALAR=LOW:HIGH:N");
  verb->add_flag("--preset", call->preset, "Add 15 well-known rules with 20 thresholds each");
  verb->add_flag("--pareto", call->pareto_only, "List only the rules on the Pareto front");
  verb->add_option("-o,--output", call->output, "Write all numbers to FILE.csv or FILE.json");
  verb->add_option("--threads", call->n_threads, "0: all; never changes a result");
  verb->add_option("--verify", call->verify.n_rules,
                   "Run N of the rules live on the recorded model and text, a token at a time, and "
                   "report where replay disagrees")
      ->type_name("N");
  verb->add_option("--verify-tokens", call->verify.live.max_tokens,
                   "Tokens of each text that are run live, in whole windows; 0: all")
      ->capture_default_str();
  verb->add_option("--verify-cache", call->verify.live.cache,
                   "Cache strategy of the live runs; default: the recording's, else latest")
      ->type_name("STRATEGY");
  verb->add_option("--verify-model", call->verify.live.model,
                   "Where the model is now, if not where it was recorded")
      ->type_name("MODEL");
  verb->add_flag("--json", call->json, "Print JSON");
  verb->footer("Scalars of a rule: " + scalar_names() + ".\n" + kTeacherForced);
  verb->callback([call, &action] { action = [call] { return run(*call); }; });
}

}  // namespace plumb::cli
