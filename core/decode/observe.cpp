// How DepthBatch shows a depth to rules and records.
#include "core/decode/flight.h"

namespace plumb {

// Shows this depth to the rules and records of everybody who is at a check.
Status DepthBatch::observe() {
  std::vector<Flight*> peeking, looking;
  for (const auto& flight : flights_) {
    flight->peeked = false;
    if (flight->depth == 0) continue;
    if (flight->wants_logits()) peeking.push_back(flight.get());
    if (flight->checks() || flight->call.record) looking.push_back(flight.get());
  }
  PLUMB_RETURN_IF_ERROR(read(peeking, Readout::kPeek));

  const ModelInfo& info = model_->info();
  const auto e = static_cast<size_t>(info.model_dim);
  const auto input_of = [&](const Flight& flight, size_t row) {
    StepInput input;
    input.step = flight.depth;
    input.state = flight.state.view().row_span(row).first(e);
    if (flight.peeked && row + 1 == flight.n())
      input.logits = {flight.answer.logits.row(flight.answer.logits.rows() - 1),
                      flight.answer.logits.cols()};
    if (info.gate_column >= 0)
      input.gate = flight.state(row, static_cast<size_t>(info.gate_column));
    return input;
  };
  struct Job {
    Flight* flight;
    size_t memory;
  };
  std::vector<Job> jobs;
  for (Flight* flight : looking) {
    if (flight->checks())
      for (size_t m = 0; m < flight->memories.size(); ++m) jobs.push_back({flight, m});
  }
  team_->run(jobs.size(), [&](size_t j) {
    thread_local StepScratch scratch;
    Flight& flight = *jobs[j].flight;
    StepInput input = input_of(flight, flight.row_of(jobs[j].memory));
    if (!flight.rule_needs(Inputs::kState)) input.state = {};
    if (!flight.rule_needs(Inputs::kLogits)) input.logits = {};
    flight.rows[jobs[j].memory] = next_row(input, flight.memories[jobs[j].memory], scratch);
  });
  for (Flight* flight : looking) {
    if (flight->call.record) {
      StepScratch scratch;
      const size_t n_lags = flight->call.lags.size();
      StepTrace& record = flight->answer.record;
      record.lagged.resize(record.lagged.size() + n_lags);
      StepInput input = input_of(*flight, 0);
      input.target = flight->call.target;
      record.rows.push_back(
          flight->history->next(input, scratch, std::span(record.lagged).last(n_lags)));
      if (flight->call.own_halting) record.halting.add(info, flight->state.view().row_span(0));
      flight->snapshots.push_back(flight->history->last_distribution());
      if (!record.rows.back().finite) return not_finite(*flight, "logits or states");
    }
    if (!flight->checks()) continue;
    const StepRow row =
        flight->rows.size() == 1 ? flight->rows[0] : reduce_over_positions(flight->rows);
    if (!row.finite) return not_finite(*flight, "logits or states");
    flight->answer.values.push_back(flight->call.rule->value(row));
    if (!flight->call.rule->check(row, flight->rule_state)) continue;
    flight->done = true;
    flight->answer.reason = DepthReason::kRule;
  }
  return ok_status();
}

}  // namespace plumb
