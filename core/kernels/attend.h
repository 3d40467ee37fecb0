// Softmax attention of a few query rows over keys and values kept in panels.
//
// Keys lie in panels of 16 positions, so that one load serves 16 scores; values lie row by row. A
// score is one chain of fused multiply-adds over the head in
// order; a weighted value is one chain over the keys in order. So the bits of an output depend
// neither on threads nor on how many queries are computed together, and a query over a cache gets
// what the same query gets in a whole pass.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/mat.h"
#include "core/parallel/team.h"

namespace plumb {

constexpr size_t kKeyPanel = 16;

struct KvView {
  const float* keys = nullptr;    // [ceil(n / 16)][kv_dim][16]
  const float* values = nullptr;  // [n][value_stride]
  size_t kv_dim = 0;              // n_kv_heads * head_dim
  size_t value_stride = 0;        // floats between the values of two positions; >= kv_dim
  // Not 0: every head has its own keys, [head_rows / 16][head_dim][16], and values, [head_rows]
  // [head_dim], and the heads follow each other, so that reading one is reading on.
  size_t head_rows = 0;
  // Instead of the above where keys and values are kept in bf16.
  const BF16* rounded_keys = nullptr;
  const BF16* rounded_values = nullptr;
};

// One head of it, in f32 or BF16.
template <class T>
struct KvHead {
  const T* keys;       // panel p at p * panel_step: [head_dim][16]
  size_t panel_step;
  const T* values;     // position j at j * value_step: [head_dim]
  size_t value_step;
};
template <class T>
KvHead<T> head_of(const KvView& kv, size_t head, size_t head_dim) {
  const bool apart = kv.head_rows > 0;
  KvHead<T> one{nullptr, (apart ? head_dim : kv.kv_dim) * kKeyPanel, nullptr,
                apart ? head_dim : kv.value_stride};
  if constexpr (std::is_same_v<T, BF16>)
    one.keys = kv.rounded_keys, one.values = kv.rounded_values;
  else
    one.keys = kv.keys, one.values = kv.values;
  if (one.keys == nullptr) return one;
  one.keys += head * head_dim * (apart ? kv.head_rows : kKeyPanel);
  one.values += head * head_dim * (apart ? kv.head_rows : 1);
  return one;
}

struct AttentionShape {
  size_t n_heads = 0;
  size_t n_kv_heads = 0;  // divides n_heads; query head h reads head h / (n_heads / n_kv_heads)
  size_t head_dim = 0;
  float scale = 0;        // multiplies the scores; 1/sqrt(head_dim) nearly everywhere
};

// The rows of one sequence in one call. Row t sees keys [max(first_key, end - window), end) with
// end = n_before + t + 1.
struct AttentionJob {
  MatView<const float> queries;  // [n_rows, n_heads * head_dim]
  MatView<float> out;            // same shape; may be the queries
  KvView kv;
  size_t n_before = 0;           // keys that precede row 0's own
  size_t window = 0;             // 0: no limit
  size_t first_key = 0;          // keys before it are seen by nobody
  // Not empty: the rows are alternatives of one position, [n_rows, kv_dim] their keys and values.
  // Each sees the n_before keys and its own, wherever its place in the cache's order is n_before.
  MatView<const float> own_keys, own_values;

  bool alternatives() const { return !own_keys.empty(); }
  size_t end_of_row(size_t t) const { return n_before + (alternatives() ? 0 : t) + 1; }
};

// The first key of a row whose last one is `end` - 1.
constexpr size_t first_key_of(const AttentionJob& job, size_t end) {
  const size_t begin = job.window > 0 && end > job.window ? end - job.window : 0;
  return begin > job.first_key ? begin : job.first_key;
}

void attend(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs);

// The definition, in double precision.
void attend_reference(const AttentionShape& shape, const AttentionJob& job);

// Writes positions [first, first + rows) of an array of key panels, [..][kv_dim][16].
void put_keys(MatView<const float> rows, size_t first, float* panels);
inline void put_key(float* panels, size_t kv_dim, size_t pos, std::span<const float> key) {
  put_keys({key.data(), 1, kv_dim, kv_dim}, pos, panels);
}

}  // namespace plumb
