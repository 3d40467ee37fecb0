// The table of named scalars that exit rules are written in. Adding one is a function and a row.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/exit/step_scalars.h"

namespace plumb {

enum class Comparator : uint8_t { kLess, kLessEqual, kGreater, kGreaterEqual, kEqual };
std::string_view comparator_text(Comparator comparator);  // "<", "<=", ">", ">=", "="
// False whenever either side is NaN.
bool compare(double value, Comparator comparator, double threshold);

// What a scalar depends on beyond its own step; decides whether a recorded trajectory can be
// replayed with another check schedule.
enum class Memory : uint8_t {
  kNone,      // this step alone
  kRebuilt,   // the last check's entropy or argmax, which every recorded row has
  kRecorded,  // the last check's state or distribution: the comparison at that lag must be recorded
};

struct Scalar {
  std::string_view name;
  std::string_view meaning;  // one line, for --help
  Comparator direction;      // the sensible way round: a rule "name" alone means this
  double default_threshold;  // NaN: there is no sensible one, a number must be given
  Inputs inputs;
  Memory memory;
  double (*value)(const StepRow&);

  bool analysis_only() const { return needs(inputs, Inputs::kHindsight); }
};

std::span<const Scalar> all_scalars();
const Scalar* find_scalar(std::string_view name);  // null when unknown
std::string scalar_names();                        // "entropy-diff, latent-diff, ..."

}  // namespace plumb
