// How DepthBatch shows depths to rules and records.
#include <utility>

#include "core/decode/flight.h"

namespace plumb {

// Shows the depths of this window to the rules and records of everybody who looks at them.
Status DepthBatch::observe() {
  peeking_.clear();
  looking_.clear();
  for (const auto& flight : flights_) {
    flight->was_read = false;
    if (flight->depth == 0) continue;
    if (flight->wants_logits()) peeking_.push_back(flight.get());
    if (flight->n_passed > 0 || flight->is_looked_at()) looking_.push_back(flight.get());
  }
  PLUMB_RETURN_IF_ERROR(read(peeking_, Readout::kPeek));

  looks_.clear();
  for (Flight* flight : looking_) {
    flight->rows.resize(flight->n_shown() * flight->memories.size());
    for (size_t m = 0; m < flight->memories.size(); ++m) looks_.push_back({flight, m});
    if (flight->call.record) looks_.push_back({flight, Look::kRecord});
  }
  team_->run(looks_.size(), [&](size_t i) {
    thread_local StepScratch scratch;
    const Look& look = looks_[i];
    if (look.memory != Look::kRecord)
      look.flight->measure(model_->info(), look.memory, scratch);
    else
      look.flight->measure_record(model_->info(), scratch);
  });
  for (Flight* flight : looking_) PLUMB_RETURN_IF_ERROR(show(*flight));
  return ok_status();
}

void DepthBatch::Flight::measure(const ModelInfo& info, size_t memory, StepScratch& scratch) {
  for (size_t i = 0; i < n_shown(); ++i) {
    if (!checks_at(shown_depth(i))) continue;
    StepInput measured = input(info, i, row_of(memory));
    if (!rule_needs(Inputs::kState)) measured.state = {};
    if (!rule_needs(Inputs::kLogits)) measured.logits = {};
    rows[i * memories.size() + memory] = next_row(measured, memories[memory], scratch);
  }
}

void DepthBatch::Flight::measure_record(const ModelInfo& info, StepScratch& scratch) {
  recorded.resize(n_shown());
  for (size_t i = 0; i < n_shown(); ++i) {
    Recorded& at = recorded[i];
    at.lagged.resize(call.lags.size());
    StepInput measured = input(info, i, 0);
    measured.target = call.target;
    at.row = history->next(measured, scratch, at.lagged);
    at.distribution = history->last_distribution();
  }
}

// In order, until the rule fires.
Status DepthBatch::show(Flight& flight) {
  const ModelInfo& info = model_->info();
  const size_t n_memories = flight.memories.size();
  bool exits = false;
  for (size_t i = 0; i < flight.n_shown() && !exits; ++i) {
    const int depth = flight.shown_depth(i);
    if (flight.call.record) {
      Flight::Recorded& at = flight.recorded[i];
      if (!at.row.finite) return not_finite(flight, depth, "logits or states");
      StepTrace& record = flight.answer.record;
      record.rows.push_back(at.row);
      record.lagged.insert(record.lagged.end(), at.lagged.begin(), at.lagged.end());
      if (flight.call.own_halting) record.halting.add(info, flight.shown_state(i).row_span(0));
      flight.snapshots.push_back(std::move(at.distribution));
    }
    if (!flight.checks_at(depth)) continue;
    const std::span<const StepRow> rows =
        std::span(flight.rows).subspan(i * n_memories, n_memories);
    const StepRow row = rows.size() == 1 ? rows[0] : reduce_over_positions(rows);
    if (!row.finite) return not_finite(flight, depth, "logits or states");
    flight.answer.values.push_back(flight.call.rule->value(row));
    exits = flight.call.rule->check(row, flight.rule_state);
    if (exits) exit_at(flight, i);
  }
  return ok_status();
}

void DepthBatch::exit_at(Flight& flight, size_t shown) {
  const int depth = flight.shown_depth(shown);
  flight.done = true;
  flight.answer.reason = DepthReason::kRule;
  flight.chosen = shown;
  run_ahead_.exited(depth);
  if (flight.n_passed == 0) return;
  if (depth < flight.depth) flight.call.cache->take_back_steps(depth);
  flight.depth = depth;
  std::swap(flight.state, flight.passed[shown].state);
}

}  // namespace plumb
