// Many rules from few words: expressions, grids of thresholds, and the preset.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/exit/rule.h"

namespace plumb {

// Thresholds of one scalar.
struct ThresholdGrid {
  std::string scalar;
  std::vector<double> values;
};

// "kl=1e-5:1e-1:40": 40 values from the first to the last, log-spaced when both are above zero,
// evenly otherwise. At most 100 000. kInput.
Result<ThresholdGrid> parse_grid(std::string_view text);
// The part after '=' for a scalar that is known: "1e-5:1e-1:40".
Result<ThresholdGrid> parse_grid_of(std::string_view scalar, std::string_view range);
// Thresholds over the useful range of a scalar, the same whatever the data. nullopt: it has none
// (oracles, rank, ...).
std::optional<ThresholdGrid> default_grid(std::string_view scalar, int n);

// A rule and the family of rules it belongs to: those that differ in the thresholds of a grid.
struct GridRule {
  Rule rule;
  std::string family;  // "kl", "margin>=0.125 & argmax-stability"; alone: the rule's label
};

// `expressions`: rules separated by ';', may be empty. A grid replaces the threshold of its scalar
// in every expression that has it (several grids: all combinations); a grid whose scalar is in
// none stands for rules of that scalar alone. At most a million rules. kInput.
Result<std::vector<GridRule>> expand_rules(std::string_view expressions,
                                           std::span<const ThresholdGrid> grids);

// Fifteen rules of 20 thresholds each: the public criteria and the best-known others.
std::vector<GridRule> preset_rules();
// A few of them at one threshold each, for figures.
std::vector<GridRule> example_rules();
// `fixed=k` for every depth, family "fixed depth".
std::vector<GridRule> fixed_rules(int n_steps);
// The two oracles.
std::vector<GridRule> oracle_rules();

// The expression with those modifiers that are not the default: "kl<0.001 @patience=2".
std::string rule_label(const Rule& rule);

}  // namespace plumb
