// One call in flight: what DepthBatch (core/decode/context.h) keeps of it. Internal.
#pragma once

#include <algorithm>

#include "core/decode/context.h"

namespace plumb {

struct DepthBatch::Flight {
  TokenCall call;
  size_t tag = 0;
  int first_pos = 0, depth = 0, limit = 0;
  Mat<float> injected, state;       // [n, model_dim], [n, state_dim]
  std::vector<RowMemory> memories;  // of the rows the rule looks at, the last row's at the back
  RuleState rule_state;
  std::optional<RowHistory> history;
  std::vector<Snapshot> snapshots;  // of the record, by step
  std::vector<StepRow> rows;        // of this check, like memories
  bool peeked = false;              // answer.logits are of this depth
  bool done = false;
  TokenAnswer answer;

  size_t n() const { return call.ids.size(); }
  size_t n_read() const { return call.every_row ? n() : 1; }
  bool checks() const {
    return call.rule != nullptr && depth > 0 && call.rule->is_check_step(depth, call.prefill);
  }
  bool rule_needs(Inputs input) const {
    return call.rule != nullptr && needs(call.rule->required(), input);
  }
  bool wants_logits() const { return call.record || (checks() && rule_needs(Inputs::kLogits)); }
  // Steps and reason as the model's own halting counted them.
  void count_halting(const ModelInfo& info) {
    const auto column = [&](HaltingColumn which) {
      return static_cast<size_t>(info.halting_column) + static_cast<size_t>(which);
    };
    float most = 0;
    for (size_t r = 0; r < n(); ++r) most = std::max(most, state(r, column(HaltingColumn::kSteps)));
    answer.steps = static_cast<int>(most);
    answer.reason = state(n() - 1, column(HaltingColumn::kRunning)) == 0 ? DepthReason::kHalting
                                                                         : DepthReason::kDepth;
  }
  size_t row_of(size_t memory) const { return n() - memories.size() + memory; }
};

}  // namespace plumb
