// A threshold with a stated risk, from recorded trajectories.
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/calibrate.h"
#include "analysis/table.h"
#include "core/store/run_reader.h"
#include "experiments/cli/replay_options.h"
#include "experiments/cli/verbs.h"

namespace plumb::cli {
namespace {

struct CalibrateCall {
  RecordingOptions recordings;
  std::string rule, grid, bound = "excess-nll", unit = "window";
  CalibrationOptions options;
  bool json = false;
};

const char* unit_words(RiskUnit unit, int64_t n) {
  if (unit == RiskUnit::kWindow) return n == 1 ? "window" : "windows";
  return n == 1 ? "token" : "tokens";
}

std::string promise(const CalibrateCall& call) {
  const CalibrationOptions& o = call.options;
  const std::string risk =
      o.risk == RiskKind::kFalseExit
          ? fmt::format("the share of tokens whose argmax at the exit is not that of full depth is "
                        "at most {}",
                        o.delta)
          : fmt::format("the mean excess loss over full depth is at most {} nats per token (each "
                        "token's counted from 0 to {} nats: gains do not pay for losses)",
                        o.delta, o.bound);
  return fmt::format("With probability {} over the calibration data, {}.", 1 - o.epsilon, risk);
}

std::string unit_note(const CalibrateCall& call) {
  if (call.options.unit == RiskUnit::kWindow)
    return "n counts windows: tokens of one window are dependent, windows are taken as independent "
           "draws. This is conservative: averaging inside a window earns no credit.";
  return "n counts tokens, taken as independent, which tokens of one window are not: the promise "
         "holds only as far as they are.";
}

Result<std::vector<double>> thresholds_of(const CalibrateCall& call, const Rule& rule) {
  const auto single = rule.single_threshold();
  if (!single)
    return input_error("calibrate: rule '{}' has no single threshold, expected one scalar",
                       rule.expression());
  if (!call.grid.empty()) {
    PLUMB_ASSIGN(const ThresholdGrid grid, parse_grid_of(single->scalar->name, call.grid));
    return grid.values;
  }
  const auto grid = default_grid(single->scalar->name, 50);
  if (!grid)
    return input_error("calibrate: {} has no usual range of thresholds, expected --grid LOW:HIGH:N",
                       single->scalar->name);
  return grid->values;
}

// A scalar alone may have no default threshold; the grid replaces whatever stands here.
Result<Rule> rule_of(const std::string& text) {
  const Scalar* scalar = find_scalar(text);
  return scalar == nullptr
             ? Rule::parse(text)
             : Rule::parse(fmt::format("{}{}1", text, comparator_text(scalar->direction)));
}

Json json_of(const RiskEstimate& e) {
  return {{"n", e.n},
          {"tokens", e.tokens},
          {"risk", e.risk},
          {"clipped_rate", e.clipped},
          {"mean_steps", e.mean_steps},
          {"no_exit_rate", e.no_exit},
          {"nats_per_token", e.nats},
          {"full_nats", e.full_nats},
          {"excess_nats", e.nats - e.full_nats},
          {"perplexity", std::exp(e.nats)}};
}

Json json_of(const ThresholdTest& test) {
  return {{"rule", test.rule.canonical()},
          {"threshold", test.rule.single_threshold()->threshold},
          {"p_value", test.p_value},
          {"p_hoeffding", test.p_hoeffding},
          {"accepted", test.accepted},
          {"calibration", json_of(test.calibration)},
          {"held_out", json_of(test.held_out)}};
}

void print_json(const CalibrateCall& call, const std::vector<Recording>& recordings,
                const Calibration& result) {
  Json tests = Json::array();
  for (const ThresholdTest& test : result.tests) tests.push_back(json_of(test));
  const bool any = result.chosen >= 0;
  const Json chosen = any ? json_of(result.tests[static_cast<size_t>(result.chosen)]) : Json();
  const CalibrationOptions& o = call.options;
  const Json report = {{"recordings", describe_recordings(recordings)},
                       {"method", "learn-then-test, fixed sequence, Hoeffding-Bentkus p-values"},
                       {"bound", call.bound},
                       {"unit", call.unit},
                       {"unit_note", unit_note(call)},
                       {"promise", promise(call)},
                       {"delta", o.delta},
                       {"epsilon", o.epsilon},
                       {"clip_nats", o.risk == RiskKind::kExcessNll ? Json(o.bound) : Json()},
                       {"split", o.split},
                       {"seed", o.seed},
                       {"units", result.units},
                       {"calibration_units", result.calibration_units},
                       {"least_units", result.least_units},
                       {"certified", any},
                       {"threshold", any ? chosen["threshold"] : Json()},
                       {"rule", any ? chosen["rule"] : Json()},
                       {"chosen", chosen},
                       {"tests", tests}};
  fmt::print("{}\n", report.dump(2));
}

Table table_of(const Calibration& result, const char* unit) {
  Table table({{.name = "rule", .type = CellType::kText},
               {.name = "risk", .heading = "risk, calibration", .unit = unit, .digits = 3},
               {.name = "p_value", .heading = "p", .digits = 3},
               {.name = "accepted", .type = CellType::kText},
               {.name = "held_out", .heading = "risk, held out", .unit = unit, .digits = 3},
               {.name = "mean_steps", .heading = "mean, held out", .unit = "steps", .digits = 4},
               {.name = "no_exit", .heading = "no exit", .digits = 3},
               {.name = "excess", .heading = "net excess", .unit = "nats", .digits = 3}});
  for (const ThresholdTest& test : result.tests)
    table.add_row({rule_label(test.rule), test.calibration.risk, test.p_value,
                   std::string(test.accepted ? "yes" : ""), test.held_out.risk,
                   test.held_out.mean_steps, test.held_out.no_exit,
                   test.held_out.nats - test.held_out.full_nats});
  return table;
}

void print_none(const CalibrateCall& call, const Calibration& result) {
  const int64_t n = result.calibration_units;
  fmt::print("No threshold can be certified from {} calibration {}.\n", n,
             unit_words(call.options.unit, n));
  if (n < result.least_units)
    fmt::print(
        "Even without any loss it takes {} at this delta and epsilon: record more text or shorter "
        "windows, or allow a larger delta{}.\n",
        result.least_units,
        call.options.risk == RiskKind::kExcessNll
            ? " (or a smaller --clip: what counts is delta as a share of it)"
            : "");
  else
    fmt::print("The safest threshold of the grid already has p {:.3g}: give a safer --grid.\n",
               result.tests.front().p_value);
}

void print_text(const CalibrateCall& call, const std::vector<Recording>& recordings,
                const Calibration& result) {
  const bool share = call.options.risk == RiskKind::kFalseExit;
  fmt::print("{}\n{}\n", recordings_line(recordings),
             table_of(result, share ? "share" : "nats").to_terminal());
  if (result.chosen < 0) {
    print_none(call, result);
  } else {
    const ThresholdTest& best = result.tests[static_cast<size_t>(result.chosen)];
    fmt::print("Certified: {}\n{}\n", rule_label(best.rule), promise(call));
    fmt::print(
        "Calibration: risk {:.4g} on {} {}, p {:.3g} (Hoeffding alone {:.3g}). Held out: risk "
        "{:.4g} on {}, mean depth {:.4g} steps, no exit {:.3g}, {:.5g} nats/token ({:+.3g} against "
        "full depth).\n",
        best.calibration.risk, best.calibration.n,
        unit_words(call.options.unit, best.calibration.n), best.p_value, best.p_hoeffding,
        best.held_out.risk, best.held_out.n, best.held_out.mean_steps, best.held_out.no_exit,
        best.held_out.nats, best.held_out.nats - best.held_out.full_nats);
    if (!share)
      fmt::print("Tokens whose excess was cut at {} nats: {:.3g} of the held-out ones.\n",
                 call.options.bound, best.held_out.clipped);
  }
  fmt::print("{}\n", unit_note(call));
  fmt::print(
      "The recording is teacher-forced with full-depth caches; the promise is about text like "
      "it.\n");
}

Status run(CalibrateCall& call) {
  call.options.risk = call.bound == "false-exit" ? RiskKind::kFalseExit : RiskKind::kExcessNll;
  call.options.unit = call.unit == "token" ? RiskUnit::kToken : RiskUnit::kWindow;
  PLUMB_ASSIGN(const Rule rule, rule_of(call.rule));
  PLUMB_ASSIGN(const std::vector<double> thresholds, thresholds_of(call, rule));
  PLUMB_ASSIGN(RunReader reader, RunReader::open(call.recordings.db));
  PLUMB_ASSIGN(const std::vector<Recording> recordings,
               load_recordings(reader, call.recordings.selection));
  PLUMB_ASSIGN(const Calibration result, calibrate(recordings, rule, thresholds, call.options));
  call.json ? print_json(call, recordings, result) : print_text(call, recordings, result);
  return ok_status();
}

}  // namespace

void add_calibrate(CLI::App& program, Action& action) {
  auto call = std::make_shared<CalibrateCall>();
  CLI::App* verb = program.add_subcommand(
      "calibrate", "The boldest exit threshold whose risk is certified, from recorded trajectories");
  add_recording_options(*verb, call->recordings);
  verb->add_option("--rule", call->rule,
                   "A scalar, or a rule with one threshold and modifiers; the grid replaces the "
                   "threshold")
      ->required()
      ->type_name("EXPR");
  verb->add_option("--delta", call->options.delta,
                   "Highest risk: nats per token (excess-nll) or share of tokens (false-exit)")
      ->capture_default_str();
  verb->add_option("--epsilon", call->options.epsilon, "Probability that the promise fails")
      ->capture_default_str();
  verb->add_option("--bound", call->bound, "The risk that is bounded")
      ->check(CLI::IsMember({"excess-nll", "false-exit"}))
      ->capture_default_str();
  verb->add_option("--clip", call->options.bound,
                   "Largest excess loss of a token that is counted, nats")
      ->capture_default_str();
  verb->add_option("--unit", call->unit, "What is taken as independent")
      ->check(CLI::IsMember({"window", "token"}))
      ->capture_default_str();
  verb->add_option("--grid", call->grid, "Thresholds to try; default: the scalar's useful range")
      ->type_name("LOW:HIGH:N");
  verb->add_option("--split", call->options.split, "Share of the units that calibrates")
      ->capture_default_str();
  verb->add_option("--seed", call->options.seed, "Seed of the split")->capture_default_str();
  verb->add_flag("--json", call->json, "Print JSON");
  verb->callback([call, &action] { action = [call] { return run(*call); }; });
}

}  // namespace plumb::cli
