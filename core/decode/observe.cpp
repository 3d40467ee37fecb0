// How DepthBatch shows depths to rules and records.
#include "core/decode/flight.h"

namespace plumb {

// Shows the depths of this window to the rules and records of everybody who looks at them.
Status DepthBatch::observe() {
  std::vector<Flight*> peeking, looking;
  for (const auto& flight : flights_) {
    flight->was_read = false;
    if (flight->depth == 0) continue;
    if (flight->wants_logits()) peeking.push_back(flight.get());
    if (!flight->passed.empty() || flight->is_looked_at()) looking.push_back(flight.get());
  }
  PLUMB_RETURN_IF_ERROR(read(peeking, Readout::kPeek));

  struct Job {
    Flight* flight;
    size_t memory;
  };
  std::vector<Job> jobs;
  for (Flight* flight : looking) {
    flight->rows.resize(flight->n_shown() * flight->memories.size());
    for (size_t m = 0; m < flight->memories.size(); ++m) jobs.push_back({flight, m});
  }
  team_->run(jobs.size(), [&](size_t j) {
    thread_local StepScratch scratch;
    Flight& flight = *jobs[j].flight;
    const size_t memory = jobs[j].memory;
    for (size_t i = 0; i < flight.n_shown(); ++i) {
      if (!flight.checks_at(flight.shown_depth(i))) continue;
      StepInput input = flight.input(model_->info(), i, flight.row_of(memory));
      if (!flight.rule_needs(Inputs::kState)) input.state = {};
      if (!flight.rule_needs(Inputs::kLogits)) input.logits = {};
      flight.rows[i * flight.memories.size() + memory] =
          next_row(input, flight.memories[memory], scratch);
    }
  });
  for (Flight* flight : looking) PLUMB_RETURN_IF_ERROR(show(*flight));
  return ok_status();
}

// In order, until the rule fires.
Status DepthBatch::show(Flight& flight) {
  const ModelInfo& info = model_->info();
  const size_t n_memories = flight.memories.size();
  bool exits = false;
  for (size_t i = 0; i < flight.n_shown() && !exits; ++i) {
    const int depth = flight.shown_depth(i);
    if (flight.call.record) {
      StepScratch scratch;
      const size_t n_lags = flight.call.lags.size();
      StepTrace& record = flight.answer.record;
      record.lagged.resize(record.lagged.size() + n_lags);
      StepInput input = flight.input(info, i, 0);
      input.target = flight.call.target;
      record.rows.push_back(
          flight.history->next(input, scratch, std::span(record.lagged).last(n_lags)));
      if (flight.call.own_halting) record.halting.add(info, flight.shown_state(i).row_span(0));
      flight.snapshots.push_back(flight.history->last_distribution());
      if (!record.rows.back().finite) return not_finite(flight, depth, "logits or states");
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
  if (flight.passed.empty()) return;
  if (depth < flight.depth) flight.call.cache->take_back_steps(depth);
  flight.depth = depth;
  flight.state = std::move(flight.passed[shown].state);
}

}  // namespace plumb
