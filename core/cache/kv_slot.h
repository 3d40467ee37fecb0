// KvSlot: the keys and values of one (layer, recurrence), contiguous by position, and which of
// them are there. A row that is not there may hold a copy put in for a reader (fill).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/mat.h"
#include "core/kernels/attend.h"

namespace plumb {

// How a cache keeps a position's keys and values: one head after the other.
struct KvFormat {
  size_t n_heads = 1, head_dim = 0;
  bool rounded = false;  // in bf16

  size_t kv_dim() const { return n_heads * head_dim; }
  size_t bytes() const { return 2 * kv_dim() * (rounded ? sizeof(BF16) : sizeof(float)); }
  bool operator==(const KvFormat&) const = default;
};

// Rows of keys in panels of 16 and rows of values, each head's by themselves
// (core/kernels/attend.h). Grows by doubling where nobody says how far.
class KvRows {
 public:
  // Makes room for rows 0 .. count - 1; if more are needed than there is, and `expected` in all,
  // for those too unless that is more than twice as many.
  void reserve(size_t count, const KvFormat& format, size_t expected = 0);
  // [kv_dim] each; rounded to bf16 by the caller where the format is.
  void put(size_t row, std::span<const float> key, std::span<const float> value);
  // row <- source's row `from`, bit for bit.
  void copy(size_t row, const KvRows& source, size_t from);
  // row <- row + (new - row) / count: the running mean after `count` values.
  void blend(size_t row, std::span<const float> key, std::span<const float> value, int count);
  KvView view() const;

 private:
  template <class T>
  struct Store {
    Mat<T> keys;    // [n_heads * capacity / 16, head_dim * 16]
    Mat<T> values;  // [n_heads * capacity, head_dim]
  };
  template <class Self, class Fn>
  static void visit(Self& self, Fn&& fn) {
    if (self.format_.rounded)
      fn(self.rounded_);
    else
      fn(self.exact_);
  }
  // Where head `head` keeps a row's first key, 16 apart, and first value.
  template <class S>
  auto* key_of(S& store, size_t head, size_t row) const {
    return store.keys.row((head * capacity_ + row) / kKeyPanel) + row % kKeyPanel;
  }
  template <class S>
  auto* value_of(S& store, size_t head, size_t row) const {
    return store.values.row(head * capacity_ + row);
  }

  KvFormat format_;
  size_t capacity_ = 0;  // rows, a multiple of 16
  Store<float> exact_;
  Store<BF16> rounded_;
};

class KvSlot {
 public:
  explicit KvSlot(const KvFormat& format) : format_(format) {}

  // Room for positions below `end`, of `expected` in all: see KvRows.
  void reserve(int end, size_t expected);
  void write(int pos, std::span<const float> key, std::span<const float> value);
  // The entry becomes the mean over `count` values, this one the last. REQUIRES has(pos) unless
  // count is 1.
  void average(int pos, std::span<const float> key, std::span<const float> value, int count);
  // Row `pos` shows what `source` holds there and stays absent. REQUIRES !has(pos).
  void fill(int pos, const KvSlot& source);

  // The entry at `pos`, written before, becomes `source`'s row `from` again.
  void restore(int pos, const KvRows& source, size_t from);

  bool has(int pos) const {
    return pos < static_cast<int>(present_.size()) && present_[static_cast<size_t>(pos)] != 0;
  }
  bool complete(int end) const;  // has every position below `end`
  int n_present() const { return n_present_; }
  // Marks a position whose row was written before as (not) there.
  void mark(int pos, bool present);
  void truncate(int length);

  const KvRows& rows() const { return rows_; }  // row p is position p

 private:
  KvFormat format_;
  KvRows rows_;
  std::vector<uint8_t> present_;
  int n_present_ = 0;
};

}  // namespace plumb
