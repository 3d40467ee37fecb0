#include "core/decode/context.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "core/base/dtype.h"
#include "core/decode/flight.h"
#include "core/decode/think.h"

namespace plumb {

const char* depth_reason_name(DepthReason reason) {
  return reason == DepthReason::kRule      ? "rule"
         : reason == DepthReason::kHalting ? "halting"
                                           : "depth";
}

namespace {

void copy_rows(MatView<const float> from, MatView<float> to) {
  for (size_t r = 0; r < from.rows(); ++r)
    std::copy(from.row(r), from.row(r) + from.cols(), to.row(r));
}

bool all_finite(MatView<const float> rows) {
  for (size_t r = 0; r < rows.rows(); ++r) {
    // A sum is finite unless an entry is not, or it overflows: only then look closely.
    double sum = 0;
    for (const float x : rows.row_span(r)) sum += static_cast<double>(x);
    if (!std::isfinite(sum)) return false;
  }
  return true;
}

}  // namespace

DepthBatch::DepthBatch(const RecurrentModel& model, Team& team)
    : model_(&model), team_(&team), workspace_(model.make_workspace(team)) {}
DepthBatch::~DepthBatch() = default;

Error DepthBatch::not_finite(const Flight& flight, int depth, const char* what) const {
  return work_error("{} at depth {} are not finite at position {} of sequence {}", what, depth,
                    flight.first_pos + static_cast<int>(flight.n()) - 1, flight.call.sequence);
}

// The groups and ids of a joint call over some rows of each flight; until the next one.
const Batch& DepthBatch::gather(std::span<Flight* const> flights, size_t (*first)(const Flight&),
                                size_t (*count)(const Flight&)) {
  batch_.groups.clear();
  ids_.clear();
  for (const Flight* flight : flights) {
    const size_t begin = first(*flight), n = count(*flight);
    batch_.groups.push_back(flight->group(ids_.size(), begin, n));
    const auto at = flight->call.ids.begin() + static_cast<std::ptrdiff_t>(begin);
    ids_.insert(ids_.end(), at, at + static_cast<std::ptrdiff_t>(n));
  }
  batch_.ids = ids_;
  return batch_;
}

const Batch& DepthBatch::gather_whole(std::span<Flight* const> flights) {
  return gather(
      flights, [](const Flight&) -> size_t { return 0; }, [](const Flight& f) { return f.n(); });
}

void DepthBatch::take_in_left() {
  std::move(left_.begin(), left_.end(), std::back_inserter(spare_));
  left_.clear();
}

Status DepthBatch::enter(std::span<TokenCall> calls, std::span<const size_t> tags) {
  PLUMB_CHECK(calls.size() == tags.size());
  take_in_left();
  if (calls.empty()) return ok_status();
  const ModelInfo& info = model_->info();
  const auto e = static_cast<size_t>(info.model_dim);
  joining_.clear();
  for (size_t i = 0; i < calls.size(); ++i) {
    if (spare_.empty()) spare_.push_back(std::make_unique<Flight>());
    std::unique_ptr<Flight> flight = std::move(spare_.back());
    spare_.pop_back();
    flight->begin(std::move(calls[i]), tags[i]);
    TokenCall& call = flight->call;
    PLUMB_CHECK(!call.ids.empty() && call.cache != nullptr &&
                (!call.record || call.ids.size() == 1));
    flight->first_pos = call.cache->length();
    PLUMB_RETURN_IF_ERROR(check_tokens(info, call.ids, flight->first_pos));
    flight->limit = call.rule != nullptr ? call.rule->depth_limit(call.num_steps) : call.num_steps;
    flight->rule_state.forward = call.forward;
    call.cache->extend(call.ids);
    joining_.push_back(flight.get());
    flights_.push_back(std::move(flight));
  }
  const Batch& batch = gather_whole(joining_);
  injected_.resize(batch.n_rows(), e);
  PLUMB_RETURN_IF_ERROR(model_->prelude(batch, *workspace_, injected_));
  for (size_t i = 0; i < joining_.size(); ++i) {
    Flight& flight = *joining_[i];
    const Group& group = batch.groups[i];
    flight.injected.resize(group.n_rows, e);
    flight.state.resize(group.n_rows, static_cast<size_t>(info.state_dim));
    copy_rows(injected_.view().rows_from(group.first_row, group.n_rows), flight.injected);
    if (info.random_state) {
      PLUMB_CHECK(flight.call.states != nullptr);
      own_.ids = flight.call.ids;
      own_.groups.assign(1, group);
      own_.groups[0].first_row = 0;
      PLUMB_RETURN_IF_ERROR(flight.call.states->fill(own_, flight.injected, flight.state));
    } else {
      model_->initial_state(flight.injected, flight.state);
    }
    if (!flight.call.start.empty()) {
      PLUMB_CHECK(flight.call.start.size() == flight.state.cols());
      std::copy(flight.call.start.begin(), flight.call.start.end(),
                flight.state.row(group.n_rows - 1));
    }
    flight.memories.resize(flight.call.rule == nullptr         ? 0
                           : flight.rule_needs(Inputs::kState) ? flight.n()
                                                               : 1);
    for (size_t m = 0; m < flight.memories.size(); ++m)
      flight.memories[m].start(flight.state.view().row_span(flight.row_of(m)).first(e));
    if (flight.call.record)
      flight.history.emplace(std::vector<int>(flight.call.lags.begin(), flight.call.lags.end()),
                             flight.state.view().row_span(0).first(e));
  }
  return ok_status();
}

// Steps until something must be looked at: more than one when every token in flight may run ahead,
// and then none is done before the last.
int DepthBatch::window() const {
  int steps = std::numeric_limits<int>::max();
  for (const auto& flight : flights_) {
    if (!flight->may_run_ahead()) return 1;
    const int guess = flight->call.rule == nullptr
                          ? run_ahead_.most(flights_.size())
                          : run_ahead_.window(flight->depth, flights_.size());
    steps = std::min({steps, guess, flight->limit - flight->depth});
  }
  return std::max(steps, 1);
}

Status DepthBatch::run_window() {
  const int steps = window();
  for (const auto& flight : flights_) {
    flight->n_passed = 0;
    if (steps > 1) flight->call.cache->begin_run_ahead();
  }
  for (int i = 0; i < steps; ++i) {
    const Status status = step(steps > 1);
    if (status.ok()) continue;
    // Perhaps nobody needs the step that cannot be run: that shows when this window is read.
    if (i == 0) return status;
    take_back_step();
    break;
  }
  return ok_status();
}

void DepthBatch::take_back_step() {
  for (const auto& flight : flights_) {
    flight->call.cache->take_back_steps(flight->depth);
    flight->state = flight->before;
  }
}

Status DepthBatch::step(bool remember) {
  std::vector<Flight*>& moving = moving_;
  moving.clear();
  for (const auto& flight : flights_)
    if (flight->depth < flight->limit) moving.push_back(flight.get());
  if (moving.empty()) return ok_status();
  const ModelInfo& info = model_->info();
  if (remember)
    for (Flight* flight : moving) flight->before = flight->state;
  // A model of distinct blocks runs one block a call for the groups that are at it.
  if (info.distinct_blocks && moving.size() > 1)
    std::stable_sort(moving.begin(), moving.end(),
                     [](const Flight* a, const Flight* b) { return a->depth < b->depth; });
  const Batch& batch = gather_whole(moving);
  if (moving.size() == 1) {
    PLUMB_RETURN_IF_ERROR(model_->step(batch, *workspace_, moving[0]->injected, moving[0]->state));
  } else {
    injected_.resize(batch.n_rows(), static_cast<size_t>(info.model_dim));
    state_.resize(batch.n_rows(), static_cast<size_t>(info.state_dim));
    for (size_t i = 0; i < moving.size(); ++i) {
      const Group& group = batch.groups[i];
      copy_rows(moving[i]->injected, injected_.view().rows_from(group.first_row, group.n_rows));
      copy_rows(moving[i]->state, state_.view().rows_from(group.first_row, group.n_rows));
    }
    PLUMB_RETURN_IF_ERROR(model_->step(batch, *workspace_, injected_, state_));
    for (size_t i = 0; i < moving.size(); ++i) {
      const Group& group = batch.groups[i];
      copy_rows(state_.view().rows_from(group.first_row, group.n_rows), moving[i]->state);
    }
  }
  for (Flight* flight : moving) {
    ++flight->depth;
    if (remember && flight->is_looked_at()) flight->remember_depth();
  }
  return ok_status();
}

// Calls whose rows have all halted by themselves are over.
void DepthBatch::end_halted() {
  for (const auto& flight : flights_) {
    if (!flight->call.own_halting || flight->depth == 0) continue;
    Flight* const one[] = {flight.get()};
    flight->done = model_->settled(gather_whole(one), flight->state);
  }
}

// Rows before the one that is read leave their coda entries for it to see; their logits are not
// computed. Every readout of a call writes them anew, so those of the exit remain.
Status DepthBatch::read_bodies(std::span<Flight* const> flights) {
  std::vector<Flight*>& with_body = with_body_;
  with_body.clear();
  for (Flight* flight : flights)
    if (flight->n() > flight->n_read()) with_body.push_back(flight);
  if (with_body.empty()) return ok_status();
  const auto count = [](const Flight& f) { return f.n() - f.n_read(); };
  const Batch& batch = gather(
      with_body, [](const Flight&) -> size_t { return 0; }, count);
  state_.resize(batch.n_rows(), with_body[0]->state.cols());
  for (size_t i = 0; i < with_body.size(); ++i) {
    const Group& group = batch.groups[i];
    copy_rows(with_body[i]->state.view().rows_from(0, group.n_rows),
              state_.view().rows_from(group.first_row, group.n_rows));
  }
  return model_->readout(batch, *workspace_, state_, Readout::kKeep, {}, {});
}

// One row, or those of a prompt, for every depth that is shown.
Status DepthBatch::read(std::span<Flight* const> flights, Readout mode) {
  if (flights.empty()) return ok_status();
  PLUMB_RETURN_IF_ERROR(read_bodies(flights));
  const ModelInfo& info = model_->info();
  Batch& batch = batch_;
  batch.groups.clear();
  ids_.clear();
  for (const Flight* flight : flights) {
    const size_t n = flight->n_read(), begin = flight->n() - n;
    for (size_t i = 0; i < flight->n_shown(); ++i) {
      batch.groups.push_back(flight->group(ids_.size(), begin, n));
      batch.groups.back().step = flight->shown_depth(i);
      ids_.insert(ids_.end(), flight->call.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                  flight->call.ids.end());
    }
  }
  batch.ids = ids_;
  const bool latent = std::any_of(flights.begin(), flights.end(),
                                  [](const Flight* f) { return f->call.want_latent; });
  state_.resize(batch.n_rows(), static_cast<size_t>(info.state_dim));
  logits_.resize(batch.n_rows(), static_cast<size_t>(info.vocab_size));
  if (latent) latent_.resize(batch.n_rows(), static_cast<size_t>(info.model_dim));
  size_t row = 0;
  for (const Flight* flight : flights)
    for (size_t i = 0; i < flight->n_shown(); ++i, row += flight->n_read())
      copy_rows(flight->shown_state(i).rows_from(flight->n() - flight->n_read(), flight->n_read()),
                state_.view().rows_from(row, flight->n_read()));
  PLUMB_RETURN_IF_ERROR(model_->readout(batch, *workspace_, state_, mode, logits_,
                                        latent ? latent_.view() : MatView<float>()));
  row = 0;
  for (Flight* flight : flights) {
    const size_t n = flight->n_shown() * flight->n_read();
    if (flight->call.bf16_logits) round_to_bf16({logits_.row(row), n * logits_.cols()});
    flight->logits = logits_.view().rows_from(row, n);
    if (flight->call.want_latent) flight->latents = latent_.view().rows_from(row, n);
    flight->chosen = flight->n_shown() - 1;
    flight->was_read = true;
    row += n;
  }
  return ok_status();
}

// What the answer takes from the last readout.
void DepthBatch::take_readout(Flight& flight) {
  const MatView<const float> logits = flight.shown_logits(flight.chosen);
  flight.answer.logits.resize(logits.rows(), logits.cols());
  copy_rows(logits, flight.answer.logits);
  if (!flight.call.want_latent) return;
  const auto latent = flight.latents.row_span((flight.chosen + 1) * flight.n_read() - 1);
  flight.answer.latent.assign(latent.begin(), latent.end());
}

Status DepthBatch::finish_readouts(std::span<Flight* const> done) {
  std::vector<Flight*>& unread = unread_;
  unread.clear();
  for (Flight* flight : done) {
    if (!flight->peeked()) {
      flight->n_passed = 0;
      unread.push_back(flight);
      continue;
    }
    Flight* const one[] = {flight};
    model_->keep_readout(gather(
        one, [](const Flight& f) { return f.n() - f.n_read(); },
        [](const Flight& f) { return f.n_read(); }));
    take_readout(*flight);
  }
  PLUMB_RETURN_IF_ERROR(read(unread, Readout::kKeep));
  for (Flight* flight : unread) take_readout(*flight);
  return ok_status();
}

Result<std::span<const DepthBatch::Finished>> DepthBatch::advance() {
  take_in_left();
  PLUMB_RETURN_IF_ERROR(run_window());
  end_halted();
  PLUMB_RETURN_IF_ERROR(observe());
  std::vector<Flight*>& done = done_;
  done.clear();
  for (const auto& flight : flights_) {
    flight->done = flight->done || flight->depth >= flight->limit;
    if (flight->done) done.push_back(flight.get());
  }
  PLUMB_RETURN_IF_ERROR(finish_readouts(done));
  finished_.clear();
  for (Flight* flight : done) {
    TokenAnswer& answer = flight->answer;
    if (!all_finite(answer.logits)) return not_finite(*flight, flight->depth, "logits");
    answer.steps = answer.passes = flight->depth;
    if (flight->call.own_halting) flight->count_halting(model_->info());
    const float* last = flight->state.row(flight->n() - 1);
    answer.state.assign(last, last + flight->state.cols());
    if (!flight->snapshots.empty()) {
      const std::vector<Snapshot>& seen = flight->snapshots;
      team_->run(seen.size(), [&](size_t k) {
        answer.record.rows[k].kl_final =
            compare_distributions(seen.back().view(), seen[k].view()).kl;
      });
      fill_hindsight(answer.record.rows);
    }
    finished_.push_back({flight->tag, &answer});
  }
  for (auto& flight : flights_)
    if (flight->done) left_.push_back(std::move(flight));
  std::erase(flights_, nullptr);
  return std::span<const Finished>(finished_);
}

}  // namespace plumb
