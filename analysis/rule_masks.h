// Many rules on one schedule of checks, a token at a time: each distinct comparison becomes a bit
// mask over the checks, each rule a few bitwise operations on masks.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "core/exit/rule.h"

namespace plumb {

// Equals Rule::check() over the rows in order; the same scalars, the same comparisons.
class RuleMasks {
 public:
  // REQUIRES that all rules check the same steps. They outlive this.
  RuleMasks(std::span<const Rule* const> rules, size_t n_checks);

  // The comparisons of all rules on the rows of one token's checks. REQUIRES n_checks rows.
  void load(std::span<const StepRow> rows);
  // Index of the check at which rule i stops the loaded token, or n_checks: never.
  size_t first_hit(size_t i, int64_t forward);

 private:
  struct Leaf {
    const Scalar* scalar;
    Comparator comparator;
    double threshold;
  };
  void evaluate(const Rule::Node& node, size_t leaf, int64_t forward, uint64_t* out);

  std::span<const Rule* const> rules_;
  size_t n_checks_, n_words_;
  std::vector<Leaf> leaves_;
  std::vector<std::vector<size_t>> leaf_of_;  // by rule and node
  std::vector<double> values_;                // [n_checks] of one scalar
  std::vector<size_t> by_scalar_;             // leaves, those of one scalar together
  std::vector<uint64_t> masks_;               // [leaves][n_words]
  std::vector<uint64_t> nodes_;               // [nodes of a rule][n_words]
  std::vector<int> steps_;                    // [n_checks]
};

}  // namespace plumb
