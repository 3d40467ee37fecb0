#include "core/cache/kv_storage.h"

#include <algorithm>

namespace plumb {

KvCache::KvCache(LayerCounts layers, const KvFormat& format, std::shared_ptr<const KvPolicy> policy,
                 GatherMode mode)
    : layers_(layers), format_(format), policy_(std::move(policy)), mode_(mode) {
  slots_.resize(static_cast<size_t>(layers.n_coda + layers.n_prelude), KvSlot(format));
}

KvSlot& KvCache::slot_at(int slot) {
  const int index = slot + layers_.n_coda;
  PLUMB_CHECK(index >= 0);
  if (index >= static_cast<int>(slots_.size()))
    slots_.resize(static_cast<size_t>(index) + 1, KvSlot(format_));
  return slots_[static_cast<size_t>(index)];
}

KvCache::Gathered& KvCache::gathered_at(int number) {
  const int index = number + layers_.n_coda;
  PLUMB_CHECK(index >= 0);
  if (index >= static_cast<int>(gathered_.size())) gathered_.resize(static_cast<size_t>(index) + 1);
  return gathered_[static_cast<size_t>(index)];
}

bool KvCache::has(int slot, int pos) const {
  const int index = slot + layers_.n_coda;
  return index >= 0 && index < static_cast<int>(slots_.size()) &&
         slots_[static_cast<size_t>(index)].has(pos);
}

Result<KvRead> KvCache::append(const Place& place, int pos0, MatView<const float> keys,
                               MatView<const float> values) {
  const KvCall call{place, pos0, static_cast<int>(keys.rows())};
  const KvPlan plan = policy_->plan(call);
  store(call, plan, keys, values);
  if (plan.store != kNowhere) {
    const KvSlot& slot = slot_at(plan.store);
    if (slot.complete(pos0 + call.n_rows))
      return KvRead{slot.rows().view(), static_cast<size_t>(pos0)};
  }
  if (mode_ == GatherMode::kFromScratch || plan.gather == KvGather::kFresh) {
    fresh_.valid_end = 0;
    return gather(call, plan, fresh_, keys, values);
  }
  if (plan.gather == KvGather::kInPlace) return fill_in_place(call, plan);
  return gather(call, plan, gathered_at(plan.buffer), keys, values);
}

void KvCache::store(const KvCall& call, const KvPlan& plan, MatView<const float> keys,
                    MatView<const float> values) {
  changes_.note(call.first_pos);
  for (const int number : {plan.store, plan.share})
    if (number != kNowhere) slot_at(number).reserve(call.first_pos + call.n_rows, expected_);
  for (int i = 0; i < call.n_rows; ++i) {
    const int pos = call.first_pos + i;
    const auto key = keys.row_span(static_cast<size_t>(i)),
               value = values.row_span(static_cast<size_t>(i));
    if (plan.store != kNowhere) {
      KvSlot& slot = slot_at(plan.store);
      PLUMB_CHECK(plan.overwrites || !slot.has(pos));
      if (ahead_ && call.place.stage == Stage::kCore)
        note_replaced(plan.store, pos, call.place.step);
      slot.write(pos, key, value);
      if (ahead_ && call.place.stage == Stage::kCoda) note_coda(plan.store, pos, call.place.step);
    }
    if (plan.share == kNowhere) continue;
    if (ahead_) note_replaced(plan.share, pos, call.place.step);
    KvSlot& shared = slot_at(plan.share);
    if (plan.average)
      shared.average(pos, key, value, call.place.step + 1);
    else
      shared.write(pos, key, value);
  }
}

// Where a position's entry is found can change only when something about that position does.
int KvCache::first_stale(const Gathered& kept) const {
  return std::min(kept.valid_end, changes_.first_since(kept.synced));
}

Result<KvRead> KvCache::fill_in_place(const KvCall& call, const KvPlan& plan) {
  Gathered& kept = gathered_at(plan.store);
  const int end = call.first_pos + call.n_rows;
  kept.valid_end = first_stale(kept);
  for (int pos = kept.valid_end; pos < end; ++pos) {
    PLUMB_ASSIGN(const int source, policy_->find(call, plan.store, pos, *this));
    PLUMB_CHECK(source != kLeaveOut);
    if (source == plan.store) continue;
    slot_at(plan.store).fill(pos, slot_at(source));
    ++rows_gathered_;
  }
  kept.valid_end = end;
  kept.synced = changes_.now();
  return KvRead{slot_at(plan.store).rows().view(), static_cast<size_t>(call.first_pos)};
}

Result<KvRead> KvCache::gather(const KvCall& call, const KvPlan& plan, Gathered& kept,
                               MatView<const float> keys, MatView<const float> values) {
  const int end = call.first_pos + call.n_rows;
  const bool own_stored = plan.store != kNowhere;
  kept.valid_end = std::min(first_stale(kept), call.first_pos);
  std::vector<int>& positions = kept.positions;
  positions.erase(std::lower_bound(positions.begin(), positions.end(), kept.valid_end),
                  positions.end());
  kept.rows.reserve(positions.size() + static_cast<size_t>(end - kept.valid_end), format_);
  for (int pos = kept.valid_end; pos < end; ++pos) {
    const size_t row = positions.size();
    if (!own_stored && pos >= call.first_pos) {
      const auto i = static_cast<size_t>(pos - call.first_pos);
      kept.rows.put(row, keys.row_span(i), values.row_span(i));
    } else {
      PLUMB_ASSIGN(const int source, policy_->find(call, plan.store, pos, *this));
      if (source == kLeaveOut) continue;
      PLUMB_CHECK(has(source, pos));
      kept.rows.copy(row, slot_at(source).rows(), static_cast<size_t>(pos));
    }
    positions.push_back(pos);
    ++rows_gathered_;
  }
  // Rows that only this call sees are not there for the next.
  kept.valid_end = own_stored ? end : call.first_pos;
  kept.synced = changes_.now();
  const size_t n = static_cast<size_t>(call.n_rows);
  PLUMB_CHECK(positions.size() >= n && positions[positions.size() - n] == call.first_pos);
  return KvRead{kept.rows.view(), positions.size() - n};
}

void KvCache::drop_coda(int pos0, int n) {
  changes_.note(pos0);
  for (int j = 0; j < layers_.n_coda; ++j)
    for (int pos = pos0; pos < pos0 + n; ++pos) slot_at(-(j + 1)).mark(pos, false);
}

void KvCache::keep_coda(int pos0, int n, int step) {
  changes_.note(pos0);
  for (const Written& w : written_)
    if (w.slot < 0 && w.step == step) slot_at(w.slot).restore(w.pos, ahead_rows_, w.row);
  for (int j = 0; j < layers_.n_coda; ++j)
    for (int pos = pos0; pos < pos0 + n; ++pos) slot_at(-(j + 1)).mark(pos, true);
}

void KvCache::begin_run_ahead() {
  stop_running_ahead();
  ahead_ = true;
}

void KvCache::note_replaced(int slot, int pos, int step) {
  Written w{slot, pos, step, has(slot, pos), 0};
  if (w.had) {
    w.row = n_ahead_rows_++;
    ahead_rows_.reserve(n_ahead_rows_, format_);
    ahead_rows_.copy(w.row, slot_at(slot).rows(), static_cast<size_t>(pos));
  }
  written_.push_back(w);
}

void KvCache::note_coda(int slot, int pos, int step) {
  const size_t row = n_ahead_rows_++;
  ahead_rows_.reserve(n_ahead_rows_, format_);
  ahead_rows_.copy(row, slot_at(slot).rows(), static_cast<size_t>(pos));
  written_.push_back({slot, pos, step, true, row});
}

void KvCache::take_back_steps(int depth) {
  for (size_t i = written_.size(); i-- > 0;) {
    const Written& w = written_[i];
    if (w.slot < 0 || w.step < depth) continue;
    changes_.note(w.pos);
    if (w.had)
      slot_at(w.slot).restore(w.pos, ahead_rows_, w.row);
    else
      slot_at(w.slot).mark(w.pos, false);
  }
  std::erase_if(written_, [&](const Written& w) { return w.slot >= 0 && w.step >= depth; });
}

void KvCache::extend(std::span<const int32_t> ids) {
  SequenceCache::extend(ids);
  stop_running_ahead();
}

void KvCache::stop_running_ahead() {
  ahead_ = false;
  written_.clear();
  n_ahead_rows_ = 0;
}

Status KvCache::truncate(int length) {
  PLUMB_CHECK(length >= 0 && length <= this->length());
  changes_.note(length);
  stop_running_ahead();
  for (KvSlot& slot : slots_) slot.truncate(length);
  ids_.resize(static_cast<size_t>(length));
  return ok_status();
}

size_t KvCache::entries() const {
  size_t count = 0;
  for (const KvSlot& slot : slots_) count += static_cast<size_t>(slot.n_present());
  return count;
}

size_t KvCache::bytes() const { return entries() * format_.bytes(); }

}  // namespace plumb
