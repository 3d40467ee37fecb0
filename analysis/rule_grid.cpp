#include "analysis/rule_grid.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace plumb {
namespace {

constexpr size_t kMostRules = 1'000'000;
constexpr double kMostValues = 100'000;

Rule must_parse(std::string_view text) {
  Result<Rule> rule = Rule::parse(text);
  PLUMB_CHECK(rule.ok());
  return std::move(rule).value();
}

// Six digits are all that a threshold on a grid needs.
double rounded(double value) { return std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr); }

std::vector<double> spaced(double low, double high, int n) {
  const bool is_log = low > 0 && high > 0;
  std::vector<double> values;
  for (int i = 0; i < n; ++i) {
    const double part = n == 1 ? 0 : static_cast<double>(i) / (n - 1);
    // The ends exactly as they were written.
    if (i == 0 || i == n - 1)
      values.push_back(i == 0 ? low : high);
    else if (is_log)
      values.push_back(rounded(std::exp(std::log(low) + part * std::log(high / low))));
    else
      values.push_back(rounded(low + part * (high - low)));
  }
  return values;
}

// The range in which a scalar decides anything on models of a usual size; evenly spaced where it is
// a probability or a count.
struct UsefulRange {
  std::string_view scalar;
  double low, high;
  bool even;
};
constexpr UsefulRange kRanges[] = {
    {"entropy-diff", 1e-6, 10, false},    {"latent-diff", 1e-5, 1, false},
    {"kl", 1e-8, 10, false},              {"minp-kl", 1e-8, 10, false},
    {"argmax-stability", 1, 20, true},    {"cosine", 1e-6, 1, false},
    {"step-norm", 1e-4, 1e3, false},      {"accel", 1e-4, 1e3, false},
    {"accel-rel", 1e-5, 10, false},       {"contraction", 1e-5, 10, false},
    {"saturation", 0.05, 1, true},        {"deq-abs", 1e-4, 1e3, false},
    {"deq-rel", 1e-5, 1, false},          {"entropy", 1e-3, 10, false},
    {"top1", 0.05, 1, true},              {"margin", 0.05, 1, true},
    {"gate", 0.05, 1, true},              {"fixed", 1, 64, true},
};

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}
bool is_number_character(char c) {
  return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == '+' || c == '-';
}

// A canonical rule as text with one threshold cut out: before + number + after.
struct Cut {
  std::string before, number, after;
};

// Where `scalar op number` stands in `text` from `from` on, the number cut out.
std::optional<Cut> cut_threshold(const std::string& text, std::string_view scalar, size_t from) {
  const size_t end = std::min(text.find('@'), text.size());
  for (size_t at = from; at < end;) {
    if (!is_name_character(text[at])) {
      ++at;
      continue;
    }
    size_t stop = at;
    while (stop < end && is_name_character(text[stop])) ++stop;
    const bool is_it = std::string_view(text).substr(at, stop - at) == scalar;
    at = stop;
    while (at < end && (text[at] == '<' || text[at] == '>' || text[at] == '=')) ++at;
    const size_t number = at;
    while (at < end && at > stop && is_number_character(text[at])) ++at;
    if (is_it && at > number)
      return Cut{text.substr(0, number), text.substr(number, at - number), text.substr(at)};
  }
  return std::nullopt;
}

// All thresholds of `scalar` in `text` set to `value`; with no value, cut with their comparators.
std::string with_threshold(std::string text, std::string_view scalar, std::optional<double> value) {
  size_t from = 0;
  while (const auto cut = cut_threshold(text, scalar, from)) {
    std::string before = cut->before;
    if (value)
      before += fmt::format("{}", *value);
    else
      before.erase(before.find_last_not_of("<>=") + 1);
    from = before.size();
    text = before + cut->after;
  }
  return text;
}

bool uses(const Rule& rule, std::string_view scalar) {
  return std::any_of(rule.nodes().begin(), rule.nodes().end(), [&](const Rule::Node& node) {
    return node.scalar != nullptr && node.scalar->name == scalar &&
           node.kind == Rule::Kind::kCompare;
  });
}

// One expression with every combination of the grids that it uses.
Status expand_one(const Rule& rule, std::span<const ThresholdGrid> grids,
                  std::vector<GridRule>& out) {
  std::vector<std::string> texts = {rule.canonical()};
  std::string family = rule_label(rule);
  for (const ThresholdGrid& grid : grids) {
    if (!uses(rule, grid.scalar)) continue;
    family = with_threshold(family, grid.scalar, std::nullopt);
    if (out.size() + texts.size() * grid.values.size() > kMostRules)
      return input_error("rule '{}' with its grids makes more than {} rules", rule.expression(),
                         kMostRules);
    std::vector<std::string> finer;
    for (const std::string& text : texts)
      for (const double value : grid.values)
        finer.push_back(with_threshold(text, grid.scalar, value));
    texts = std::move(finer);
  }
  for (const std::string& text : texts) {
    PLUMB_ASSIGN(Rule one, Rule::parse(text));
    out.push_back({std::move(one), family});
  }
  return ok_status();
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<double> parse_number(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !std::isfinite(value)) return std::nullopt;
  return value;
}

void add_family(std::string_view expression, std::string_view scalar, std::vector<GridRule>& out) {
  const ThresholdGrid grid = *default_grid(scalar, 20);
  const Status added = expand_one(must_parse(expression), std::span(&grid, 1), out);
  PLUMB_CHECK(added.ok());
}

}  // namespace

Result<ThresholdGrid> parse_grid_of(std::string_view scalar, std::string_view range) {
  if (find_scalar(scalar) == nullptr)
    return input_error("grid: scalar '{}' is unknown; known are {}", scalar, scalar_names());
  const auto parts = split(range, ':');
  const auto low = parse_number(parts[0]);
  const auto high = parts.size() > 1 ? parse_number(parts[1]) : std::nullopt;
  const auto n = parts.size() > 2 ? parse_number(parts[2]) : std::nullopt;
  if (parts.size() != 3 || !low || !high || !n || *n < 1 || *n > kMostValues ||
      *n != std::floor(*n))
    return input_error("grid of {}: found '{}', expected LOW:HIGH:N with 1 <= N <= {}", scalar,
                       range, kMostValues);
  return ThresholdGrid{std::string(scalar), spaced(*low, *high, static_cast<int>(*n))};
}

Result<ThresholdGrid> parse_grid(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos)
    return input_error("grid: found '{}', expected SCALAR=LOW:HIGH:N", text);
  return parse_grid_of(text.substr(0, equals), text.substr(equals + 1));
}

std::optional<ThresholdGrid> default_grid(std::string_view scalar, int n) {
  for (const UsefulRange& range : kRanges) {
    if (range.scalar != scalar) continue;
    ThresholdGrid grid{std::string(scalar), {}};
    if (!range.even) {
      grid.values = spaced(range.low, range.high, n);
      return grid;
    }
    for (int i = 0; i < n; ++i)
      grid.values.push_back(
          rounded(range.low + (range.high - range.low) * i / std::max(1, n - 1)));
    return grid;
  }
  return std::nullopt;
}

Result<std::vector<GridRule>> expand_rules(std::string_view expressions,
                                           std::span<const ThresholdGrid> grids) {
  std::vector<GridRule> out;
  std::vector<Rule> given;
  if (expressions.find_first_not_of(" ;") != std::string_view::npos)
    for (const std::string_view text : split(expressions, ';')) {
      PLUMB_ASSIGN(Rule rule, Rule::parse(text));
      given.push_back(std::move(rule));
    }
  for (const Rule& rule : given) PLUMB_RETURN_IF_ERROR(expand_one(rule, grids, out));
  for (const ThresholdGrid& grid : grids) {
    if (std::any_of(given.begin(), given.end(), [&](const Rule& r) { return uses(r, grid.scalar); }))
      continue;
    const Scalar& scalar = *find_scalar(grid.scalar);
    PLUMB_ASSIGN(const Rule rule,
                 Rule::parse(fmt::format("{}{}1", scalar.name, comparator_text(scalar.direction))));
    PLUMB_RETURN_IF_ERROR(expand_one(rule, std::span(&grid, 1), out));
  }
  return out;
}

std::vector<GridRule> preset_rules() {
  std::vector<GridRule> out;
  for (const char* scalar :
       {"entropy-diff", "latent-diff", "kl", "minp-kl", "argmax-stability", "cosine", "step-norm",
        "accel-rel", "contraction", "deq-rel", "entropy<1", "top1", "margin"}) {
    const std::string text = scalar;
    add_family(text, text.substr(0, text.find('<')), out);
  }
  add_family("accel @patience=2", "accel", out);
  add_family("margin>=0.125 & argmax-stability>=4", "argmax-stability", out);
  return out;
}

std::vector<GridRule> example_rules() {
  std::vector<GridRule> out;
  for (const char* text : {"kl<0.0005", "latent-diff<0.03", "entropy-diff<0.001",
                           "argmax-stability>=5", "margin>=0.125 & argmax-stability>=2",
                           "accel-rel<0.03 @patience=2"}) {
    Rule rule = must_parse(text);
    std::string label = rule_label(rule);
    out.push_back({std::move(rule), std::move(label)});
  }
  return out;
}

std::vector<GridRule> fixed_rules(int n_steps) {
  std::vector<GridRule> out;
  for (int step = 1; step <= n_steps; ++step)
    out.push_back({must_parse(fmt::format("fixed={}", step)), "fixed depth"});
  return out;
}

std::vector<GridRule> oracle_rules() {
  return {{must_parse("oracle-ce"), "oracle-ce"}, {must_parse("oracle-safe"), "oracle-safe"}};
}

std::string rule_label(const Rule& rule) {
  std::string modifiers;
  const auto add = [&](bool wanted, std::string text) {
    if (wanted) modifiers += (modifiers.empty() ? " @" : ",") + text;
  };
  add(rule.min_steps() != 0, fmt::format("min={}", rule.min_steps()));
  add(rule.max_steps() != 0, fmt::format("max={}", rule.max_steps()));
  add(rule.patience() != 1, fmt::format("patience={}", rule.patience()));
  add(rule.check_every() != 1, fmt::format("every={}", rule.check_every()));
  add(rule.phase() != Phase::kBoth, rule.phase() == Phase::kDecode ? "phase=decode"
                                                                   : "phase=prefill");
  return rule.expression() + modifiers;
}

}  // namespace plumb
