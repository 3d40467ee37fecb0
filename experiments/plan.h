// From a sweep to the passes that compute it. One pass is one forward computation over one text;
// all depths of the sweep are points of the same pass.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/decode/score.h"
#include "experiments/spec.h"

namespace plumb {

struct PassPlan {
  std::string model, dtype, text, state;
  uint64_t seed = 0;
  std::string cache, rule;               // empty: none
  std::optional<int> segment_len, mem_len;
  bool warm_start = false, bf16_logits = false;
};

// The grid, models outermost so that each is loaded once, then dtypes, texts, and the rest.
std::vector<PassPlan> plan_passes(const SweepSpec& spec);

// One line for people: the axes that vary, or all of them.
std::string pass_text(const PassPlan& pass);

struct RecordPlan {
  bool steps = false;
  LatentSelection latents;
};
// tokens | steps | latents[:POSITIONS,STEPS,f16|f32]; POSITIONS and STEPS are "all" or items like
// 0..15 joined by "+". Latents include steps.
Result<RecordPlan> parse_record(const std::string& text);

}  // namespace plumb
