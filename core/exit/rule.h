// Exit rules: boolean expressions over the named scalars of one step (core/exit/scalars.h).
//
//   rule     := any [ '@' modifier { ',' modifier } ]
//   any      := all { '|' all }            all := one { '&' one }
//   one      := '(' any ')' | 'none' | name [ op number ] | 'fixed' '=' depth { '/' depth }
//   op       := '<' | '<=' | '>' | '>=' | '='
//   modifier := 'min=' m | 'max=' n | 'patience=' n | 'every=' n | 'phase=' decode|prefill|both
//
//   kl<5e-4    margin>=0.9 & argmax-stability>=4    kl<1e-3 | fixed=16    accel<1e-3 @patience=2
//
// A bare name means its default direction and threshold; the numbers are resolved when parsed.
// `fixed=16` fires at every step >= 16. `fixed=3/1/4` is a forced depth pattern: forward f of a
// sequence (f = 0 the prefill, then one per further token) fires at steps >= pattern[f mod 3].
// `none` never fires. Modifiers hold for the whole rule:
//   min=m       the first m steps are not checked: the first check is at step m + 1 (exactly
//               upstream's min_steps; min=2 means the earliest exit is step 3). Default 0
//   every=n     then every n-th step is checked: m + 1, m + 1 + n, ... Default 1
//   patience=n  n consecutive CHECKS must fire. Default 1
//   max=n       no token runs more than n steps. Default: none, the caller's --num-steps decides
//   phase       which forwards are checked at all; decode = upstream's no exit in prefill
// Skipped steps leave no trace in the scalars' memory, so a row compares with the last check.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/exit/scalars.h"

namespace plumb {

enum class Phase : uint8_t { kBoth, kDecode, kPrefill };

// What a rule remembers of one token. Fresh for every forward of a sequence.
struct RuleState {
  int forward = 0;  // f of the depth pattern
  int hits = 0;     // consecutive checks that fired, up to now
};

class Rule {
 public:
  Rule() : nodes_(1) {}  // `none`
  // Text of at most 4096 characters, parentheses at most 32 deep. The error is one sentence.
  static Result<Rule> parse(std::string_view text);

  // Every number resolved, in shortest exact decimal; parse(canonical()) is the same rule and
  // canonical() of that the same text. A key for databases: resolve_max() first, so that the
  // depth limit is in it. E.g. "kl<0.0005 @min=0,max=32,patience=1,every=1,phase=both".
  std::string canonical() const;
  // The expression alone.
  std::string expression() const;

  // What must be measured at a check step. Without kLogits the coda is never needed for it.
  Inputs required() const;
  // Refuses, by name: analysis-only scalars in live use, and scalars whose input is not available
  // (say a gate on a model without one).
  Status usable_live(Inputs available) const;
  // Remarks for the user: a comparison against the scalar's usual direction, ...
  const std::vector<std::string>& notes() const { return notes_; }

  // Is step `step` (from 1) of a prefill or decode forward checked? The one place where min, every
  // and phase act.
  bool is_check_step(int step, bool prefill) const;
  // True when the token must stop after this step whatever the row says (max).
  bool at_limit(int step) const { return max_steps_ > 0 && step >= max_steps_; }
  // The depth a forward may run to: `num_steps`, or less where max says so.
  int depth_limit(int num_steps) const;
  // Writes the caller's depth into the rule: max = depth_limit(num_steps).
  void resolve_max(int num_steps) { max_steps_ = depth_limit(num_steps); }

  // One check. True: the token exits at this step. REQUIRES row of a check step.
  bool check(const StepRow& row, RuleState& state) const;
  // Does the expression hold on this row, patience aside?
  bool fires(const StepRow& row, int forward) const;
  // The value of the expression's first scalar: what exit_values lists. 0 for `none`.
  double value(const StepRow& row) const;

  int min_steps() const { return min_steps_; }
  int max_steps() const { return max_steps_; }  // 0: not set
  int patience() const { return patience_; }
  int check_every() const { return check_every_; }
  Phase phase() const { return phase_; }
  // Does any scalar compare with the last check's state or distribution?
  bool compares_rows() const;

  // A single comparison "scalar op number" (no depth pattern), whatever the modifiers.
  struct Threshold {
    const Scalar* scalar;
    Comparator comparator;
    double threshold;
  };
  std::optional<Threshold> single_threshold() const;

  // The expression as a tree, for evaluators of many rules at once. Children come before their
  // parents, the root is last.
  enum class Kind : uint8_t { kNone, kCompare, kPattern, kAnd, kOr };
  struct Node {
    Kind kind = Kind::kNone;
    const Scalar* scalar = nullptr;  // kCompare, kPattern
    Comparator comparator = Comparator::kLess;
    double threshold = 0;
    std::vector<int> pattern;   // kPattern: depths, at least one
    std::vector<int> children;  // kAnd, kOr: indices below this node's own
  };
  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  friend class RuleParser;

  bool holds(int node, const StepRow& row, int forward) const;
  void print(int node, bool inside_and, std::string& out) const;

  std::vector<Node> nodes_;  // the first is the leftmost leaf, the last the root
  int min_steps_ = 0, max_steps_ = 0, patience_ = 1, check_every_ = 1;
  Phase phase_ = Phase::kBoth;
  std::vector<std::string> notes_;
};

// The upstream flags: --criterion C --threshold X --min-steps --patience --check-every
// --no-exit-in-prefill. C is a scalar's name, or none. Without a threshold, the scalar's default.
struct CriterionFlags {
  std::string criterion;
  std::optional<double> threshold;
  int min_steps = 0;
  int max_steps = 0;  // 0: not set
  int patience = 1;
  int check_every = 1;
  bool no_exit_in_prefill = false;
};
Result<Rule> rule_from_criterion(const CriterionFlags& flags);

// --depth-pattern 3,1,4. Depths from 1.
Result<Rule> rule_from_depth_pattern(const std::vector<int>& depths);

}  // namespace plumb
