// LayeredCache: keys and values of one sequence for a model whose blocks each run once a token. A
// block with a window forgets what no later query can see, so its memory stays bounded.
//
//   positions   0 .. base          base .. end
//               forgotten          kept: [ room to go back | window | rows of this call ]
//
// `base` is a multiple of the 16-key panel. So a key keeps its lane whether or not older ones were
// forgotten, and a query over the cache gets the bits that a whole pass gives it.
#pragma once

#include <vector>

#include "core/base/mat.h"
#include "core/cache/sequence_cache.h"
#include "core/kernels/attend.h"

namespace plumb {

// One block's rows.
class WindowedKv {
 public:
  // How many tokens can be taken back (drafts) after a block with a window has forgotten rows.
  static constexpr int kRewind = 256;

  // `window`: keys a query sees, its own included; 0: all.
  WindowedKv(size_t kv_dim, size_t window) : kv_dim_(kv_dim), window_(window) {}

  // Stores rows for positions pos0, pos0 + 1, ... and appends to `jobs` what their queries are to
  // do: one job as a rule; one a row where earlier tokens never ran this block, which are left out.
  // The jobs are valid until the next call.
  void append(int pos0, MatView<const float> keys, MatView<const float> values,
              MatView<const float> queries, MatView<float> out, std::vector<AttentionJob>& jobs);

  bool can_truncate(int length) const { return first_visible(length) >= base_ || base_ == 0; }
  void truncate(int length);
  // Rows that a query at position `length` would see, or that any would where there is no window.
  size_t n_visible(int length) const;

 private:
  int first_visible(int pos) const;
  bool has(int pos) const;
  void make_room(int pos0, int n);
  void append_with_holes(int pos0, MatView<const float> queries, MatView<float> out,
                         std::vector<AttentionJob>& jobs);

  size_t kv_dim_, window_;
  int base_ = 0;
  Mat<float> keys_;                // [capacity / 16, kv_dim * 16] panels
  Mat<float> values_;              // [capacity, kv_dim]
  std::vector<uint8_t> present_;   // by position - base
  Mat<float> gathered_keys_, gathered_values_;
};

class LayeredCache : public SequenceCache {
 public:
  // `windows`: by block, 0 for none.
  LayeredCache(size_t kv_dim, const std::vector<int>& windows);

  WindowedKv& block(int index) { return blocks_[static_cast<size_t>(index)]; }
  // An error when a block with a window has forgotten what the next token would have to see.
  Status truncate(int length) override;
  // 2 * kv_dim * 4 bytes for every (block, position) that a later token can see.
  size_t bytes() const override;

 private:
  size_t kv_dim_;
  std::vector<WindowedKv> blocks_;
};

}  // namespace plumb
