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
  struct Recorded {
    StepRow row;
    std::vector<Comparison> lagged;  // [n_lags]
    Snapshot distribution;
  };
  std::vector<Recorded> recorded;  // of the shown depths
  std::vector<StepRow> rows;       // of these checks, [shown depth * memories + memory]
  // Depths of this window that somebody looks at, where it is longer than a step: the first
  // n_passed.
  struct Passed {
    int depth = 0;
    Mat<float> state;  // [1, state_dim]
  };
  std::vector<Passed> passed;
  size_t n_passed = 0;
  Mat<float> before;  // `state` before the step that is being run, while it may be taken back
  MatView<const float> logits;   // of the last readout: [n_shown() * n_read(), vocab_size], ...
  MatView<const float> latents;  // ... [the same, model_dim] if wanted; both until the next one
  size_t chosen = 0;             // which of the shown depths the answer is of
  bool was_read = false;         // `logits` are of the depths shown now
  bool done = false;
  TokenAnswer answer;

  // A new call, in what the last one has allocated.
  void begin(TokenCall next, size_t its_tag) {
    call = std::move(next);
    tag = its_tag;
    first_pos = depth = limit = 0;
    rule_state = {};
    history.reset();
    snapshots.clear();
    n_passed = 0;
    logits = latents = {};
    chosen = 0;
    was_read = done = false;
    answer.latent.clear();
    answer.steps = answer.passes = 0;
    answer.reason = DepthReason::kDepth;
    answer.values.clear();
    answer.record = {};
  }

  size_t n() const { return call.ids.size(); }
  // Rows [begin, begin + n_rows) of this call, as they lie in a joint one.
  Group group(size_t first_row, size_t begin, size_t n_rows) const {
    return {.first_row = first_row,
            .n_rows = n_rows,
            .first_pos = first_pos + static_cast<int>(begin),
            .step = depth,
            .sequence = call.sequence,
            .own_halting = call.own_halting,
            .cache = call.cache};
  }
  size_t n_read() const { return call.every_row ? n() : 1; }
  bool checks_at(int step) const {
    return call.rule != nullptr && step > 0 && call.rule->is_check_step(step, call.prefill);
  }
  bool checks() const { return checks_at(depth); }
  bool rule_needs(Inputs input) const {
    return call.rule != nullptr && needs(call.rule->required(), input);
  }
  // Depths shown together: those passed, or the one it is at.
  size_t n_shown() const { return std::max<size_t>(n_passed, 1); }
  int shown_depth(size_t i) const { return n_passed == 0 ? depth : passed[i].depth; }
  MatView<const float> shown_state(size_t i) const {
    return n_passed == 0 ? state.view() : passed[i].state.view();
  }
  MatView<const float> shown_logits(size_t i) const {
    return logits.rows_from(i * n_read(), n_read());
  }
  // The answer's logits are there.
  bool peeked() const { return was_read && shown_depth(chosen) == depth; }
  StepInput input(const ModelInfo& info, size_t shown, size_t row) const {
    const MatView<const float> from = shown_state(shown);
    StepInput made;
    made.step = shown_depth(shown);
    made.state = from.row_span(row).first(static_cast<size_t>(info.model_dim));
    if (was_read && row + 1 == n()) made.logits = shown_logits(shown).row_span(n_read() - 1);
    if (info.gate_column >= 0)
      made.gate = static_cast<double>(from(row, static_cast<size_t>(info.gate_column)));
    return made;
  }
  // Whoever reads logits at every check of a single token may run ahead of them.
  bool may_run_ahead() const {
    return call.run_ahead && n() == 1 && (call.record || rule_needs(Inputs::kLogits)) &&
           call.cache->can_run_ahead();
  }
  void remember_depth() {
    if (passed.size() == n_passed) passed.emplace_back();
    passed[n_passed].depth = depth;
    passed[n_passed++].state = state;
  }
  bool is_looked_at() const { return depth > 0 && (call.record || checks()); }
  bool wants_logits() const {
    return n_passed > 0 || call.record || (checks() && rule_needs(Inputs::kLogits));
  }
  // Rows of the shown depths: what the rule sees of one row, and what is recorded.
  void measure(const ModelInfo& info, size_t memory, StepScratch& scratch);
  void measure_record(const ModelInfo& info, StepScratch& scratch);
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
