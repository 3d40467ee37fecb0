#include "core/cache/kv_slot.h"

#include <algorithm>
#include <bit>
#include <type_traits>

namespace plumb {

namespace {

void store_as(float value, float& target) { target = value; }
// Exact: it is a bf16 already.
void store_as(float value, BF16& target) {
  target.bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}
float load_from(float value) { return value; }
float load_from(BF16 value) { return f32_from_bf16(value); }
void round_for(float /*target*/, float& /*value*/) {}
void round_for(BF16 /*target*/, float& value) { value = f32_from_bf16(bf16_from_f32(value)); }

}  // namespace

void KvRows::reserve(size_t count, const KvFormat& format, size_t expected) {
  PLUMB_CHECK(capacity_ == 0 || format_ == format);
  format_ = format;
  if (count <= capacity_) return;
  constexpr size_t kFewRows = 256;
  size_t capacity = std::max(kKeyPanel, capacity_);
  if (expected >= count)
    capacity = std::min(expected, std::max(2 * count, kFewRows));
  else
    while (capacity < count) capacity *= 2;
  capacity = (capacity + kKeyPanel - 1) / kKeyPanel * kKeyPanel;
  visit(*this, [&](auto& store) {
    std::remove_reference_t<decltype(store)> grown;
    grown.keys = {format.n_heads * capacity / kKeyPanel, format.head_dim * kKeyPanel};
    grown.values = {format.n_heads * capacity, format.head_dim};
    const size_t kept = capacity_ * format.head_dim;
    for (size_t head = 0; head < format.n_heads && kept > 0; ++head) {
      std::copy_n(store.keys.row(head * capacity_ / kKeyPanel), kept,
                  grown.keys.row(head * capacity / kKeyPanel));
      std::copy_n(store.values.row(head * capacity_), kept, grown.values.row(head * capacity));
    }
    store = std::move(grown);
  });
  capacity_ = capacity;
}

void KvRows::put(size_t row, std::span<const float> key, std::span<const float> value) {
  PLUMB_CHECK(row < capacity_ && key.size() == format_.kv_dim() &&
              value.size() == format_.kv_dim());
  const size_t d = format_.head_dim;
  visit(*this, [&](auto& store) {
    // A key is spread over many lines, which nothing has touched for a whole token: wait for all of
    // them at once.
    constexpr size_t kLine = 64 / (kKeyPanel * sizeof(*store.keys.data()));
    for (size_t head = 0; head < format_.n_heads; ++head)
      for (size_t c = 0; c < d; c += kLine) __builtin_prefetch(key_of(store, head, row) + c * kKeyPanel, 1);
    for (size_t head = 0; head < format_.n_heads; ++head) {
      auto* to_key = key_of(store, head, row);
      auto* to_value = value_of(store, head, row);
      for (size_t c = 0; c < d; ++c) store_as(key[head * d + c], to_key[c * kKeyPanel]);
      for (size_t c = 0; c < d; ++c) store_as(value[head * d + c], to_value[c]);
    }
  });
}

void KvRows::copy(size_t row, const KvRows& source, size_t from) {
  PLUMB_CHECK(row < capacity_ && from < source.capacity_ && format_ == source.format_);
  const size_t d = format_.head_dim;
  const auto copy_heads = [&](auto& to, const auto& of) {
    for (size_t head = 0; head < format_.n_heads; ++head) {
      auto* to_key = key_of(to, head, row);
      const auto* from_key = source.key_of(of, head, from);
      for (size_t c = 0; c < d; ++c) to_key[c * kKeyPanel] = from_key[c * kKeyPanel];
      std::copy_n(source.value_of(of, head, from), d, value_of(to, head, row));
    }
  };
  if (format_.rounded)
    copy_heads(rounded_, source.rounded_);
  else
    copy_heads(exact_, source.exact_);
}

void KvRows::blend(size_t row, std::span<const float> key, std::span<const float> value,
                   int count) {
  PLUMB_CHECK(row < capacity_ && key.size() == format_.kv_dim() &&
              value.size() == format_.kv_dim());
  const size_t d = format_.head_dim;
  const auto n = static_cast<float>(count);
  const auto towards = [n](float next, auto& mean) {
    float moved = load_from(mean) + (next - load_from(mean)) / n;
    round_for(mean, moved);
    store_as(moved, mean);
  };
  visit(*this, [&](auto& store) {
    for (size_t head = 0; head < format_.n_heads; ++head)
      for (size_t c = 0; c < d; ++c) {
        towards(key[head * d + c], key_of(store, head, row)[c * kKeyPanel]);
        towards(value[head * d + c], value_of(store, head, row)[c]);
      }
  });
}

KvView KvRows::view() const {
  KvView view;
  view.kv_dim = view.value_stride = format_.kv_dim();
  // One head alone lies as heads side by side would.
  view.head_rows = format_.n_heads > 1 ? capacity_ : 0;
  if (format_.rounded) {
    view.rounded_keys = rounded_.keys.data();
    view.rounded_values = rounded_.values.data();
  } else {
    view.keys = exact_.keys.data();
    view.values = exact_.values.data();
  }
  return view;
}

void KvSlot::reserve(int end, size_t expected) {
  rows_.reserve(static_cast<size_t>(end), format_, expected);
}

void KvSlot::write(int pos, std::span<const float> key, std::span<const float> value) {
  rows_.reserve(static_cast<size_t>(pos) + 1, format_);
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
  rows_.reserve(static_cast<size_t>(pos) + 1, format_);
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
