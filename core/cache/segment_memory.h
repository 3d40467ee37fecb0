// SegmentMemory: what a model with segment-level recurrence keeps of one sequence.
//
//   positions   0 ......... | memory ......... | open segment .... |
//               forgotten   ^first_visible()   ^segment_start()    ^length()
//
// A row is one token. For every step of the recurrence its key and value lie by position, memory
// first, so that a reader sees memory and open segment as one stretch. Keys are stored after
// rotation to their absolute position, so a row of per-step memory is projected once in its life.
//
// A token that halted before step n has no key there until a deeper token asks: missing() names
// such rows and row() gives what their key is projected from. In per-step memory that is the state
// the token stopped with; the final_* memories hold one row that serves every step.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/mat.h"
#include "core/cache/kv_slot.h"
#include "core/cache/sequence_cache.h"

namespace plumb {

enum class MemoryKind : uint8_t {
  kPerStep,      // step n sees what entered step n (layer-wise, as Transformer-XL)
  kFinalOutput,  // every step sees the tokens' outputs
  kFinalState,   // every step sees the tokens' last states
  kNone,
};

struct MemoryShape {
  MemoryKind kind = MemoryKind::kPerStep;
  int memory_len = 0;          // rows that survive a border at most
  int max_steps = 0;
  size_t model_dim = 0, kv_dim = 0;
  bool keep_injected = false;  // the embedding is part of what enters a step
};

class SegmentMemory final : public SequenceCache {
 public:
  explicit SegmentMemory(const MemoryShape& shape);

  void extend(std::span<const int32_t> ids) override;
  // The open segment's rows join the memory; all but the last memory_len rows are forgotten.
  void end_segment() override;
  // An error before segment_start(): what a border forgot does not come back.
  Status truncate(int length) override;
  // Keys and values, and the rows they are made from, of all tokens a later one can see.
  size_t bytes() const override;

  int segment_start() const { return segment_start_; }
  int first_visible() const { return first_visible_; }
  int memory_len() const { return shape_.memory_len; }  // as given, even with kNone

  // Visible positions before `end` that have no key at `step`.
  std::vector<int> missing(int step, int end) const;
  // A memory row that enters every step as it is, without step embedding or injection.
  bool enters_as_is(int pos) const;
  // What the key of `pos` is projected from: the state it stopped with, or its memory row.
  std::span<const float> row(int pos) const { return row_of(states_, pos); }
  std::span<const float> injected(int pos) const { return row_of(injected_, pos); }

  // REQUIRES keys at all earlier steps, and none at this one.
  void put(int step, int pos, std::span<const float> key, std::span<const float> value);
  // The same key and value as at the step before.
  void repeat(int step, int pos);
  // After a step: the token's state and, for final_output memory, its output so far.
  void keep(int pos, std::span<const float> state, std::span<const float> injected,
            std::span<const float> output);

  // Keys and values of one step; position p is row index_of(p). Valid until the next change.
  KvView view(int step) const { return steps_[static_cast<size_t>(step)].view(); }
  size_t index_of(int pos) const { return static_cast<size_t>(pos - base_); }

 private:
  int n_kept() const { return shape_.kind == MemoryKind::kNone ? 0 : shape_.memory_len; }
  bool of_last_step() const { return shape_.kind == MemoryKind::kFinalOutput || shape_.kind == MemoryKind::kFinalState; }
  std::span<const float> row_of(const std::vector<float>& rows, int pos) const {
    return std::span(rows).subspan(index_of(pos) * shape_.model_dim, shape_.model_dim);
  }
  void resize_rows(size_t n);
  void forget_before(int pos);

  MemoryShape shape_;
  int segment_start_ = 0, first_visible_ = 0;
  // Position of row 0, a multiple of the key panel: a key keeps its lane when others are forgotten,
  // so forgetting changes no bit of anybody's attention.
  int base_ = 0;
  std::vector<KvRows> steps_;                       // [max_steps]
  std::vector<uint16_t> n_keys_;                    // by row: steps that have its key
  std::vector<float> states_, outputs_, injected_;  // [rows, model_dim]; the last two as needed
};

}  // namespace plumb
