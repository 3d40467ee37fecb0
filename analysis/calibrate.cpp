#include "analysis/calibrate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/replay.h"
#include "core/base/rng.h"

namespace plumb {
namespace {

// a ln(a/b), 0 at a = 0.
double relative(double a, double b) { return a <= 0 ? 0 : a * std::log(a / b); }

// P(Binomial(n, p) <= k), summed from the largest term down in logarithms.
double binomial_cdf(int64_t k, int64_t n, double p) {
  if (k >= n) return 1;
  double sum = 0;
  const double nd = static_cast<double>(n);
  for (int64_t i = 0; i <= k; ++i) {
    const double id = static_cast<double>(i);
    sum += std::exp(std::lgamma(nd + 1) - std::lgamma(id + 1) - std::lgamma(nd - id + 1) +
                    id * std::log(p) + (nd - id) * std::log1p(-p));
  }
  return std::min(1.0, sum);
}

// The units in a random order that depends on the seed alone.
std::vector<size_t> shuffled(size_t n, uint64_t seed) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  const DrawKey key{.seed = seed, .stream = RngStream::kSubsample};
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[uniform_below(key, i, i)]);
  return order;
}

RiskEstimate estimate(const std::vector<std::vector<UnitLoss>>& units,
                      std::span<const size_t> chosen, size_t threshold, double scale) {
  RiskEstimate out;
  int64_t steps = 0, no_exit = 0, clipped = 0;
  for (const size_t i : chosen) {
    const UnitLoss& unit = units[i][threshold];
    ++out.n;
    out.tokens += unit.tokens;
    out.risk += unit.loss;
    out.nats += unit.nll_sum, out.full_nats += unit.full_nll_sum;
    steps += unit.steps, no_exit += unit.no_exit, clipped += unit.clipped;
  }
  const double tokens = static_cast<double>(out.tokens);
  out.risk *= scale / static_cast<double>(out.n);
  out.nats /= tokens, out.full_nats /= tokens;
  out.mean_steps = static_cast<double>(steps) / tokens;
  out.no_exit = static_cast<double>(no_exit) / tokens;
  out.clipped = static_cast<double>(clipped) / tokens;
  return out;
}

// Adds one token to its unit. Losses are summed here and averaged by finish().
void add_token(const StepRow& exit, const StepRow& full, bool fired,
               const CalibrationOptions& options, UnitLoss& unit) {
  ++unit.tokens;
  unit.steps += exit.step;
  unit.no_exit += !fired;
  unit.nll_sum += exit.nll, unit.full_nll_sum += full.nll;
  if (options.risk == RiskKind::kFalseExit) {
    unit.loss += exit.top1 != full.top1;
    return;
  }
  const double excess = std::max(0.0, exit.nll - full.nll) / options.bound;
  unit.clipped += excess > 1;
  unit.loss += std::min(1.0, excess);
}

// units[i][t] of one recording, appended.
Status add_units(const Recording& recording, std::span<const Rule> rules,
                 const CalibrationOptions& options, std::vector<std::vector<UnitLoss>>& units) {
  for (const Rule& rule : rules) {
    PLUMB_RETURN_IF_ERROR(replayable_on(recording, rule));
    PLUMB_RETURN_IF_ERROR(has_scalars(recording, rule));
  }
  TokenRows token_rows(recording);
  for (size_t token = 0; token < recording.n_tokens(); ++token) {
    const Trajectory& trajectory = token_rows.load(token);
    const auto forward = static_cast<int>(recording.place_in_window(token));
    if (options.unit == RiskUnit::kToken || token == 0 ||
        recording.window_of(token) != recording.window_of(token - 1))
      units.emplace_back(rules.size());
    for (size_t t = 0; t < rules.size(); ++t) {
      const Exit exit = find_exit(rules[t], trajectory, forward);
      add_token(trajectory.rows[static_cast<size_t>(exit.step) - 1], trajectory.rows.back(),
                exit.reason == ExitReason::kRule, options, units.back()[t]);
    }
  }
  return ok_status();
}

Status check_options(const CalibrationOptions& options) {
  const auto share = [](double value) { return value > 0 && value < 1; };
  const double most = options.risk == RiskKind::kFalseExit ? 1 : options.bound;
  if (!(options.bound > 0) || !std::isfinite(options.bound))
    return input_error("calibrate: found a bound of {} nats, expected it above 0", options.bound);
  if (!(options.delta > 0) || !(options.delta < most))
    return input_error("calibrate: found --delta {}, expected it between 0 and {}", options.delta,
                       most);
  if (!share(options.epsilon))
    return input_error("calibrate: found --epsilon {}, expected it between 0 and 1",
                       options.epsilon);
  if (!share(options.split))
    return input_error("calibrate: found --split {}, expected it between 0 and 1", options.split);
  return ok_status();
}

// The rule at each threshold, from the one that stops last to the one that stops first.
Result<std::vector<Rule>> safest_first(const Rule& rule, std::span<const double> thresholds) {
  const auto single = rule.single_threshold();
  if (!single || single->comparator == Comparator::kEqual ||
      rule.nodes().front().kind != Rule::Kind::kCompare)
    return input_error(
        "calibrate: rule '{}' has no single threshold, expected one scalar, its modifiers aside",
        rule.canonical());
  if (single->scalar->analysis_only())
    return input_error("calibrate: {} looks at what a live run cannot know", single->scalar->name);
  std::vector<double> values(thresholds.begin(), thresholds.end());
  const bool less = single->comparator == Comparator::kLess ||
                    single->comparator == Comparator::kLessEqual;
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (!less) std::reverse(values.begin(), values.end());
  const ThresholdGrid grid{std::string(single->scalar->name), values};
  PLUMB_ASSIGN(const std::vector<GridRule> expanded,
               expand_rules(rule.canonical(), std::span(&grid, 1)));
  std::vector<Rule> rules;
  for (const GridRule& one : expanded) rules.push_back(one.rule);
  return rules;
}

}  // namespace

double hoeffding_p(double risk, double delta, double n) {
  const double gap = std::max(0.0, delta - risk);
  return std::exp(-2 * n * gap * gap);
}

double hoeffding_bentkus_p(double risk, double delta, double n) {
  const double r = std::min(risk, delta);
  const double hoeffding =
      std::exp(-n * (relative(r, delta) + (r >= 1 ? 0 : relative(1 - r, 1 - delta))));
  // Rounding must not push n * risk over the integer it is.
  const auto hits = static_cast<int64_t>(std::ceil(n * risk - 1e-9));
  const double bentkus = std::exp(1.0) * binomial_cdf(hits, static_cast<int64_t>(n), delta);
  return std::min({1.0, hoeffding, bentkus});
}

Calibration calibrate_units(const std::vector<std::vector<UnitLoss>>& units, double scale,
                            const CalibrationOptions& options) {
  PLUMB_CHECK(units.size() >= 2 && !units.front().empty());
  Calibration out;
  const std::vector<size_t> order = shuffled(units.size(), options.seed);
  const auto wanted = static_cast<size_t>(
      std::llround(options.split * static_cast<double>(units.size())));
  const size_t n = std::clamp<size_t>(wanted, 1, units.size() - 1);
  const std::span<const size_t> all(order);
  out.units = static_cast<int64_t>(units.size());
  out.calibration_units = static_cast<int64_t>(n);
  const double delta = options.delta / scale;
  out.least_units =
      static_cast<int64_t>(std::ceil(std::log(options.epsilon) / std::log1p(-delta) - 1e-9));
  bool going = true;
  for (size_t t = 0; t < units.front().size(); ++t) {
    ThresholdTest test;
    test.calibration = estimate(units, all.first(n), t, scale);
    test.held_out = estimate(units, all.subspan(n), t, scale);
    const double risk = test.calibration.risk / scale;
    test.p_hoeffding = hoeffding_p(risk, delta, static_cast<double>(n));
    test.p_value = hoeffding_bentkus_p(risk, delta, static_cast<double>(n));
    going = going && test.p_value <= options.epsilon;
    test.accepted = going;
    if (going) out.chosen = static_cast<int>(t);
    out.tests.push_back(std::move(test));
  }
  return out;
}

Result<Calibration> calibrate(std::span<const Recording> recordings, const Rule& rule,
                              std::span<const double> thresholds,
                              const CalibrationOptions& options) {
  PLUMB_RETURN_IF_ERROR(check_options(options));
  PLUMB_CHECK(!thresholds.empty());
  PLUMB_ASSIGN(const std::vector<Rule> rules, safest_first(rule, thresholds));
  std::vector<std::vector<UnitLoss>> units;
  for (const Recording& recording : recordings)
    PLUMB_RETURN_IF_ERROR(add_units(recording, rules, options, units));
  if (units.size() < 2)
    return input_error("calibrate: found {} {}, expected at least two: one side of the split each",
                       units.size(), options.unit == RiskUnit::kWindow ? "window" : "token");
  for (auto& unit : units)
    for (UnitLoss& at : unit) at.loss /= static_cast<double>(at.tokens);
  const double scale = options.risk == RiskKind::kFalseExit ? 1 : options.bound;
  Calibration out = calibrate_units(units, scale, options);
  for (size_t t = 0; t < rules.size(); ++t) out.tests[t].rule = rules[t];
  return out;
}

}  // namespace plumb
