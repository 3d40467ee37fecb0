#include "core/cache/segment_memory.h"

#include <algorithm>

namespace plumb {

SegmentMemory::SegmentMemory(const MemoryShape& shape) : shape_(shape) {
  PLUMB_CHECK(shape.memory_len >= 0 && shape.max_steps > 0 && shape.max_steps <= UINT16_MAX);
  steps_.resize(static_cast<size_t>(shape.max_steps));
}

void SegmentMemory::resize_rows(size_t n) {
  n_keys_.resize(n, 0);
  states_.resize(n * shape_.model_dim);
  if (shape_.kind == MemoryKind::kFinalOutput) outputs_.resize(n * shape_.model_dim);
  if (shape_.keep_injected) injected_.resize(n * shape_.model_dim);
}

void SegmentMemory::extend(std::span<const int32_t> ids) {
  SequenceCache::extend(ids);
  resize_rows(index_of(length()));
}

void SegmentMemory::end_segment() {
  if (segment_start_ == length()) return;
  if (of_last_step()) {
    // Another row stands for the token from now on, so its keys are made anew.
    const size_t first = index_of(segment_start_);
    std::fill(n_keys_.begin() + static_cast<std::ptrdiff_t>(first), n_keys_.end(), uint16_t{0});
    if (shape_.kind == MemoryKind::kFinalOutput)
      std::copy(outputs_.begin() + static_cast<std::ptrdiff_t>(first * shape_.model_dim), outputs_.end(),
                states_.begin() + static_cast<std::ptrdiff_t>(first * shape_.model_dim));
  }
  segment_start_ = length();
  first_visible_ = std::max(first_visible_, length() - n_kept());
  forget_before(first_visible_);
}

// Hidden rows are left where they are until there are as many as a move costs.
void SegmentMemory::forget_before(int pos) {
  constexpr int kPanel = static_cast<int>(kKeyPanel), kLeastMove = 64;
  const int new_base = pos / kPanel * kPanel;
  if (new_base - base_ < std::max(n_kept(), kLeastMove)) return;
  const auto dropped = static_cast<size_t>(new_base - base_);
  const size_t n_rows = index_of(length()) - dropped;
  for (size_t step = 0; step < steps_.size(); ++step) {
    KvRows moved;
    for (size_t row = 0; row < n_rows; ++row) {
      if (n_keys_[row + dropped] <= step) continue;
      moved.reserve(n_rows, {1, shape_.kv_dim});
      moved.copy(row, steps_[step], row + dropped);
    }
    steps_[step] = std::move(moved);
  }
  n_keys_.erase(n_keys_.begin(), n_keys_.begin() + static_cast<std::ptrdiff_t>(dropped));
  for (std::vector<float>* rows : {&states_, &outputs_, &injected_})
    if (!rows->empty()) rows->erase(rows->begin(), rows->begin() + static_cast<std::ptrdiff_t>(dropped * shape_.model_dim));
  base_ = new_base;
}

Status SegmentMemory::truncate(int length) {
  PLUMB_CHECK(length >= 0 && length <= this->length());
  if (length < segment_start_)
    return input_error("cannot go back to position {}: the segment that held it has ended (the open one begins at {})",
                       length, segment_start_);
  ids_.resize(static_cast<size_t>(length));
  resize_rows(index_of(length));
  return ok_status();
}

size_t SegmentMemory::bytes() const {
  size_t floats = 0;
  const size_t rows_per_token = 1 + (outputs_.empty() ? 0 : 1) + (injected_.empty() ? 0 : 1);
  for (int pos = first_visible_; pos < length(); ++pos)
    floats += n_keys_[index_of(pos)] * 2 * shape_.kv_dim + rows_per_token * shape_.model_dim;
  return floats * sizeof(float);
}

std::vector<int> SegmentMemory::missing(int step, int end) const {
  std::vector<int> positions;
  for (int pos = first_visible_; pos < end; ++pos)
    if (n_keys_[index_of(pos)] <= step) positions.push_back(pos);
  return positions;
}

bool SegmentMemory::enters_as_is(int pos) const { return of_last_step() && pos < segment_start_; }

void SegmentMemory::put(int step, int pos, std::span<const float> key, std::span<const float> value) {
  const size_t row = index_of(pos);
  PLUMB_CHECK(pos >= first_visible_ && row < n_keys_.size() && n_keys_[row] == step);
  KvRows& rows = steps_[static_cast<size_t>(step)];
  rows.reserve(n_keys_.size(), {1, shape_.kv_dim});
  rows.put(row, key, value);
  ++n_keys_[row];
}

void SegmentMemory::repeat(int step, int pos) {
  const size_t row = index_of(pos);
  PLUMB_CHECK(step > 0 && row < n_keys_.size() && n_keys_[row] == step);
  KvRows& rows = steps_[static_cast<size_t>(step)];
  rows.reserve(n_keys_.size(), {1, shape_.kv_dim});
  rows.copy(row, steps_[static_cast<size_t>(step) - 1], row);
  ++n_keys_[row];
}

void SegmentMemory::keep(int pos, std::span<const float> state, std::span<const float> injected,
                         std::span<const float> output) {
  const size_t at = index_of(pos) * shape_.model_dim;
  PLUMB_CHECK(pos >= segment_start_ && at + shape_.model_dim <= states_.size());
  const auto to = static_cast<std::ptrdiff_t>(at);
  std::copy(state.begin(), state.end(), states_.begin() + to);
  if (shape_.keep_injected) std::copy(injected.begin(), injected.end(), injected_.begin() + to);
  if (shape_.kind == MemoryKind::kFinalOutput) std::copy(output.begin(), output.end(), outputs_.begin() + to);
}

}  // namespace plumb
