// Pieces that transformer families share: fused-projection attention over a cache, gated
// feed-forward, and loops over rows.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "core/base/mat.h"
#include "core/cache/kv_storage.h"
#include "core/kernels/attend.h"
#include "core/kernels/elementwise.h"
#include "core/kernels/rope.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

// fn(first_row, n_rows) over all rows, in chunks on all threads: of `chunk` rows, or fewer where a
// thread would go without. Rows must be independent.
template <class Fn>
void for_row_chunks(Team& team, size_t n_rows, Fn&& fn, size_t chunk = 16) {
  const auto n_threads = static_cast<size_t>(team.size());
  if (n_rows < chunk * n_threads) chunk = std::max<size_t>(1, (n_rows + n_threads - 1) / n_threads);
  team.run((n_rows + chunk - 1) / chunk, [&](size_t part) {
    const size_t first = part * chunk;
    fn(first, std::min(chunk, n_rows - first));
  });
}

// Norms over all rows on all threads. y may be x.
void rms_norm_rows(Team& team, MatView<const float> x, std::span<const float> weight, float eps,
                   MatView<float> y);

// Fires the entropy tap, computing it only when somebody looks.
void fire_entropy(const TapBus* bus, const Place& place, MatView<const float> logits);

struct AttentionWorkspace {
  Mat<float> qkv;                  // [n, (n_heads + 2 * n_kv_heads) * head_dim] q, k, v side by side
  Mat<float> attended;             // [n, n_heads * head_dim]
  Mat<float> branch;               // [n, model_dim] only when the attention tap is looked at
  std::vector<Mat<float>> keys;    // per group without a cache: [panels, kv_dim * 16]
  std::vector<AttentionJob> jobs;
  // Of every group, its cache's answer; and the first groups of runs with one cache.
  std::vector<std::optional<Result<KvRead>>> reads;
  std::vector<size_t> runs;
};

// Stores the rows of each group and says where they may look: one job a group, but groups that
// follow each other with one cache are one token at several depths, and one job. Each replaces the
// cache's rows of the one before. Keys and values are rounded where their cache keeps bf16.
Result<std::span<const AttentionJob>> plan_attention(const Batch& batch, Workspace& workspace,
                                                     AttentionWorkspace& scratch, const Place& place,
                                                     MatView<const float> queries,
                                                     MatView<float> keys, MatView<float> values,
                                                     MatView<float> out);

// Rotates `n_heads` heads of every row at its absolute position, after adding `bias` to it if there
// is one.
void rope_rows(Team& team, const Batch& batch, MatView<float> rows, size_t n_heads, size_t head_dim,
               RopeLayout layout, const RopeTable& table, std::span<const float> bias = {});

// Attention in the precision of the projection that made its queries: rounded where that rounds.
void attend_like(const Linear& projection, Team& team, const AttentionShape& shape,
                 std::span<const AttentionJob> jobs);

struct FusedAttention {
  Linear qkv;                    // rows q, then k, then v
  std::vector<float> qk_bias;    // [2][n_heads][head_dim] q bias, then k bias; empty: none
  Linear proj;
};

struct AttentionSpec {
  AttentionShape shape;
  RopeLayout layout = RopeLayout::kHalfSplit;
  const RopeTable* rope = nullptr;
};

// stream += Attention(x). Keys go to the cache after bias and rope.
Status attention_branch(const Batch& batch, Workspace& workspace, AttentionWorkspace& scratch,
                        const AttentionSpec& spec, const FusedAttention& weights, const Place& place,
                        MatView<const float> x, MatView<float> stream);

struct FusedFeedForward {
  Linear fc;    // rows gate (through SiLU), then up
  Linear proj;
};

struct FeedForwardWorkspace {
  Mat<float> gate_up;  // [n, 2 * ff_dim]
  Mat<float> hidden;   // [n, ff_dim]
  Mat<float> branch;   // [n, model_dim] only when the tap is looked at
};

// stream += proj( silu(gate x) * (up x) ).
void feed_forward_branch(Workspace& workspace, FeedForwardWorkspace& scratch,
                         const FusedFeedForward& weights, const Place& place,
                         MatView<const float> x, MatView<float> stream);

}  // namespace plumb
