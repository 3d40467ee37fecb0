#include "core/cache/kv_slot.h"

#include <algorithm>

namespace plumb {

void KvRows::reserve(size_t count, size_t kv_dim) {
  PLUMB_CHECK(kv_dim_ == 0 || kv_dim_ == kv_dim);
  kv_dim_ = kv_dim;
  if (count <= values_.rows()) return;
  size_t capacity = std::max(kKeyPanel, values_.rows());
  while (capacity < count) capacity *= 2;
  Mat<float> keys(capacity / kKeyPanel, kv_dim * kKeyPanel), values(capacity, kv_dim);
  std::copy(keys_.data(), keys_.data() + keys_.size(), keys.data());
  std::copy(values_.data(), values_.data() + values_.size(), values.data());
  keys_ = std::move(keys);
  values_ = std::move(values);
}

void KvRows::put(size_t row, std::span<const float> key, std::span<const float> value) {
  PLUMB_CHECK(row < values_.rows() && key.size() == kv_dim_ && value.size() == kv_dim_);
  put_key(keys_.data(), kv_dim_, row, key);
  std::copy(value.begin(), value.end(), values_.row(row));
}

void KvRows::copy(size_t row, const KvRows& source, size_t from) {
  PLUMB_CHECK(row < values_.rows() && from < source.values_.rows() && kv_dim_ == source.kv_dim_);
  float* to_key = keys_.row(row / kKeyPanel) + row % kKeyPanel;
  const float* from_key = source.keys_.row(from / kKeyPanel) + from % kKeyPanel;
  for (size_t c = 0; c < kv_dim_; ++c) to_key[c * kKeyPanel] = from_key[c * kKeyPanel];
  std::copy(source.values_.row(from), source.values_.row(from) + kv_dim_, values_.row(row));
}

void KvRows::blend(size_t row, std::span<const float> key, std::span<const float> value,
                   int count) {
  PLUMB_CHECK(row < values_.rows() && key.size() == kv_dim_ && value.size() == kv_dim_);
  const auto n = static_cast<float>(count);
  float* mean_key = keys_.row(row / kKeyPanel) + row % kKeyPanel;
  float* mean_value = values_.row(row);
  for (size_t c = 0; c < kv_dim_; ++c) {
    mean_key[c * kKeyPanel] += (key[c] - mean_key[c * kKeyPanel]) / n;
    mean_value[c] += (value[c] - mean_value[c]) / n;
  }
}

void KvSlot::write(int pos, std::span<const float> key, std::span<const float> value) {
  kv_dim_ = key.size();
  rows_.reserve(static_cast<size_t>(pos) + 1, kv_dim_);
  rows_.put(static_cast<size_t>(pos), key, value);
  mark(pos, true);
}

void KvSlot::average(int pos, std::span<const float> key, std::span<const float> value, int count) {
  if (count == 1) return write(pos, key, value);
  PLUMB_CHECK(has(pos));
  rows_.blend(static_cast<size_t>(pos), key, value, count);
}

void KvSlot::fill(int pos, const KvSlot& source) {
  PLUMB_CHECK(!has(pos) && source.has(pos));
  rows_.reserve(static_cast<size_t>(pos) + 1, source.kv_dim_);
  rows_.copy(static_cast<size_t>(pos), source.rows_, static_cast<size_t>(pos));
}

void KvSlot::restore(int pos, const KvRows& source, size_t from) {
  rows_.copy(static_cast<size_t>(pos), source, from);
  mark(pos, true);
}

bool KvSlot::complete(int end) const {
  if (static_cast<int>(present_.size()) <= end) return n_present_ == end;
  return std::all_of(present_.begin(), present_.begin() + end,
                     [](uint8_t there) { return there != 0; });
}

void KvSlot::mark(int pos, bool present) {
  const auto p = static_cast<size_t>(pos);
  if (p >= present_.size()) {
    if (!present) return;
    present_.resize(p + 1, 0);
  }
  n_present_ += static_cast<int>(present) - static_cast<int>(present_[p] != 0);
  present_[p] = present ? 1 : 0;
}

void KvSlot::truncate(int length) {
  for (int pos = length; pos < static_cast<int>(present_.size()); ++pos) mark(pos, false);
  if (length < static_cast<int>(present_.size())) present_.resize(static_cast<size_t>(length));
}

}  // namespace plumb
