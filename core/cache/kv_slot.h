// KvSlot: the keys and values of one (layer, recurrence), contiguous by position, and which of
// them are there. A row that is not there may hold a copy put in for a reader (fill).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/mat.h"
#include "core/kernels/attend.h"

namespace plumb {

// Rows of keys in panels of 16 and rows of values (core/kernels/attend.h). Grows by doubling.
class KvRows {
 public:
  // Makes room for rows 0 .. count - 1.
  void reserve(size_t count, size_t kv_dim);
  void put(size_t row, std::span<const float> key, std::span<const float> value);
  // row <- source's row `from`, bit for bit.
  void copy(size_t row, const KvRows& source, size_t from);
  // row <- row + (new - row) / count: the running mean after `count` values.
  void blend(size_t row, std::span<const float> key, std::span<const float> value, int count);
  KvView view() const { return {keys_.data(), values_.data(), kv_dim_, kv_dim_}; }

 private:
  size_t kv_dim_ = 0;
  Mat<float> keys_;    // [panels, kv_dim * 16]
  Mat<float> values_;  // [panels * 16, kv_dim]
};

class KvSlot {
 public:
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
  KvRows rows_;
  size_t kv_dim_ = 0;
  std::vector<uint8_t> present_;
  int n_present_ = 0;
};

}  // namespace plumb
