// What a model keeps of one sequence between calls. Families derive their own (keys and values by
// slot, segment memory); the decode loop only counts tokens, forgets tails and asks for bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/result.h"

namespace plumb {

class SequenceCache {
 public:
  virtual ~SequenceCache() = default;

  // Tokens seen so far; the next one gets this position.
  int length() const { return static_cast<int>(ids_.size()); }
  std::span<const int32_t> ids() const { return ids_; }

  // Announces the tokens of the next call: their positions are [length(), length() + n) before.
  virtual void extend(std::span<const int32_t> ids) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
  }
  // The sequence will probably grow to `length` tokens. A hint: room for them may be made at once.
  virtual void expect(size_t /*length*/) {}
  // Forgets every token at position >= length. An error where the family cannot go back.
  virtual Status truncate(int length) = 0;
  // Steps of the last token may be taken back: see core/decode/run_ahead.h. False where the family
  // cannot, and then the two below are not called.
  virtual bool can_run_ahead() const { return false; }
  // From now to the next extend() or begin_run_ahead(), what the last token's steps and readouts
  // write is remembered by depth. Everything before can no longer be taken back.
  virtual void begin_run_ahead() {}
  // What the last token's steps from `depth` on wrote since begin_run_ahead() never was.
  virtual void take_back_steps(int /*depth*/) {}
  // Families with segments: the tokens since the last border become memory (core/decode/segments.h
  // decides when). Nothing happens elsewhere, or right after a border.
  virtual void end_segment() {}
  // Bytes of keys and values (or memory rows) that hold information.
  virtual size_t bytes() const = 0;

 protected:
  std::vector<int32_t> ids_;
};

}  // namespace plumb
