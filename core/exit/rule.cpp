#include "core/exit/rule.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/check.h"

namespace plumb {
namespace {

const char* phase_text(Phase phase) {
  return phase == Phase::kBoth ? "both" : phase == Phase::kDecode ? "decode" : "prefill";
}

std::string_view input_text(Inputs missing) {
  if (needs(missing, Inputs::kGate)) return "the model's own halting gate";
  if (needs(missing, Inputs::kLogits)) return "logits at every step";
  return "latent states";
}

}  // namespace

Inputs Rule::required() const {
  Inputs all = Inputs::kNone;
  for (const Node& node : nodes_) {
    if (node.scalar != nullptr) all = all | node.scalar->inputs;
  }
  return all;
}

Status Rule::usable_live(Inputs available) const {
  for (const Node& node : nodes_) {
    if (node.scalar == nullptr) continue;
    if (node.scalar->analysis_only()) {
      return input_error(
          "rule '{}': {} looks at what a live run cannot know and is for replay and analysis only",
          expression(), node.scalar->name);
    }
    for (const Inputs one : {Inputs::kState, Inputs::kLogits, Inputs::kGate}) {
      if (needs(node.scalar->inputs, one) && !needs(available, one)) {
        return input_error("rule '{}': {} needs {}, which is not available here", expression(),
                           node.scalar->name, input_text(one));
      }
    }
  }
  return ok_status();
}

bool Rule::is_check_step(int step, bool prefill) const {
  PLUMB_CHECK(step >= 1);
  if (prefill ? phase_ == Phase::kDecode : phase_ == Phase::kPrefill) return false;
  return step > min_steps_ && (step - 1 - min_steps_) % check_every_ == 0;
}

int Rule::depth_limit(int num_steps) const {
  return max_steps_ > 0 ? std::min(max_steps_, num_steps) : num_steps;
}

bool Rule::holds(int node, const StepRow& row, int forward) const {
  const Node& at = nodes_[static_cast<size_t>(node)];
  const auto holds_child = [&](int child) { return holds(child, row, forward); };
  switch (at.kind) {
    case Kind::kNone:
      return false;
    case Kind::kCompare:
      return compare(at.scalar->value(row), at.comparator, at.threshold);
    case Kind::kPattern:
      return row.step >= at.pattern[static_cast<size_t>(forward) % at.pattern.size()];
    case Kind::kAnd:
      return std::all_of(at.children.begin(), at.children.end(), holds_child);
    case Kind::kOr:
      return std::any_of(at.children.begin(), at.children.end(), holds_child);
  }
  return false;
}

bool Rule::fires(const StepRow& row, int forward) const {
  PLUMB_CHECK(forward >= 0);
  return holds(static_cast<int>(nodes_.size()) - 1, row, forward);
}

bool Rule::check(const StepRow& row, RuleState& state) const {
  state.hits = fires(row, state.forward) ? state.hits + 1 : 0;
  return state.hits >= patience_;
}

double Rule::value(const StepRow& row) const {
  const Scalar* scalar = nodes_.front().scalar;
  return scalar == nullptr ? 0 : scalar->value(row);
}

bool Rule::compares_rows() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& node) {
    return node.scalar != nullptr && node.scalar->memory == Memory::kRecorded;
  });
}

std::optional<Rule::Threshold> Rule::single_threshold() const {
  const Node& only = nodes_.front();
  if (nodes_.size() > 1) return std::nullopt;
  if (only.kind == Kind::kCompare) return Threshold{only.scalar, only.comparator, only.threshold};
  if (only.kind == Kind::kPattern && only.pattern.size() == 1) {
    return Threshold{only.scalar, Comparator::kGreaterEqual, static_cast<double>(only.pattern[0])};
  }
  return std::nullopt;
}

void Rule::print(int node, bool inside_and, std::string& out) const {
  const Node& at = nodes_[static_cast<size_t>(node)];
  switch (at.kind) {
    case Kind::kNone:
      out += "none";
      return;
    case Kind::kCompare:
      out += fmt::format("{}{}{}", at.scalar->name, comparator_text(at.comparator), at.threshold);
      return;
    case Kind::kPattern:
      out += fmt::format("fixed={}", fmt::join(at.pattern, "/"));
      return;
    case Kind::kAnd:
    case Kind::kOr:
      break;
  }
  const bool is_and = at.kind == Kind::kAnd;
  const bool parentheses = inside_and && !is_and;
  if (parentheses) out += '(';
  for (size_t i = 0; i < at.children.size(); ++i) {
    if (i > 0) out += is_and ? " & " : " | ";
    print(at.children[i], is_and, out);
  }
  if (parentheses) out += ')';
}

std::string Rule::expression() const {
  std::string out;
  print(static_cast<int>(nodes_.size()) - 1, false, out);
  return out;
}

std::string Rule::canonical() const {
  const std::string max = max_steps_ > 0 ? fmt::format("max={},", max_steps_) : "";
  return fmt::format("{} @min={},{}patience={},every={},phase={}", expression(), min_steps_, max,
                     patience_, check_every_, phase_text(phase_));
}

Result<Rule> rule_from_criterion(const CriterionFlags& flags) {
  const Scalar* scalar = find_scalar(flags.criterion);
  const bool none = flags.criterion == "none";
  if (scalar == nullptr && !none) {
    return input_error("criterion '{}' is unknown; known are {}, none", flags.criterion,
                       scalar_names());
  }
  std::string text = flags.criterion;
  if (flags.threshold && !none) {
    text += fmt::format("{}{}", comparator_text(scalar->direction), *flags.threshold);
  }
  text += fmt::format(" @min={},patience={},every={},phase={}", flags.min_steps, flags.patience,
                      flags.check_every, flags.no_exit_in_prefill ? "decode" : "both");
  if (flags.max_steps != 0) text += fmt::format(",max={}", flags.max_steps);
  return Rule::parse(text);
}

Result<Rule> rule_from_depth_pattern(const std::vector<int>& depths) {
  return Rule::parse(fmt::format("fixed={}", fmt::join(depths, "/")));
}

}  // namespace plumb
