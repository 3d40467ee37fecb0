// The one block of an adaptive-recurrent model (act.md section 4): what enters a step, attention
// over segment memory and the open segment, and the gated feed-forward.
//
//   u = s + e_step (+ x_0 again)                     step embedding, input injection
//   pre:   y = u + Attn(norm1 u);      z = y + FF(norm2 y)
//   post:  y = norm1(u + Attn(u));     z = norm2(y + FF(y))
#pragma once

#include <vector>

#include "core/kernels/relative_position.h"
#include "core/model/act_config.h"
#include "core/model/blocks.h"

namespace plumb {

struct ActWorkspace : Workspace {
  using Workspace::Workspace;
  Mat<float> entering;           // [n, model_dim] u
  Mat<float> normed;             // [n, model_dim] what keys, values and queries are projected from
  Mat<float> key_value;          // [n, 2 * n_heads * head_dim]
  std::vector<int> positions;    // [n] absolute
  std::vector<Mat<float>> panels;  // by group without a cache: its keys
  std::vector<size_t> rows;      // [m] the rows of the batch that the block is run for, ascending
  std::vector<int> row_positions;  // [m]
  Mat<float> stream;             // [m, model_dim] u, then y, then z
  Mat<float> picked;             // [m, model_dim] input of a branch
  Mat<float> query, attended;    // [m, n_heads * head_dim]
  Mat<float> branch;             // [m, model_dim] only when the attention tap is looked at
  std::vector<AttentionJob> jobs;
  FeedForwardWorkspace feed_forward;
  // Rows of earlier tokens whose keys a deeper token is the first to need.
  Mat<float> late, late_normed, late_key_value;
  // Projected sinusoids of distances 0, 1, ... (xl_relative), in panels.
  Mat<float> distances;
  size_t n_distances = 0;
  Mat<float> output, head_input;  // [n, model_dim] of a readout
};

// Weights and biases of one norm; `bias` for layer norm only.
struct ActNorm {
  std::vector<float> weight, bias;
  float eps = 0;

  static Result<ActNorm> load(const ActConfig& config, WeightLoader& loader, const std::string& name);
  void apply(Team& team, MatView<const float> x, MatView<float> y) const;  // y may be x
};

class ActBlock {
 public:
  Status load(const ActConfig& config, WeightLoader& loader);
  void set_memory_len(int tokens) { config_.memory_len = tokens; }

  // u of all rows of the batch, from their state rows (first model_dim columns).
  void enter(const Batch& batch, ActWorkspace& ws, MatView<const float> injected, MatView<const float> state) const;
  // Keys and values of all rows, into their caches; also those that earlier tokens lack at a
  // group's step. REQUIRES ws.entering.
  void make_keys(const Batch& batch, ActWorkspace& ws) const;
  // z of ws.rows, in ws.stream. REQUIRES make_keys().
  void run(const Batch& batch, ActWorkspace& ws, const Place& place) const;

 private:
  size_t width() const { return shape_.n_heads * shape_.head_dim; }
  void enter_row(int step, std::span<const float> state, std::span<const float> injected, std::span<float> out) const;
  void project_keys(Team& team, MatView<const float> entering, std::span<const int> positions, Mat<float>& normed,
                    Mat<float>& key_value) const;
  void complete(SegmentMemory& memory, int step, int end, ActWorkspace& ws) const;
  void rotate(Team& team, MatView<float> rows, std::span<const int> positions) const;
  void plan(const Batch& batch, ActWorkspace& ws) const;
  void need_distances(ActWorkspace& ws, size_t n) const;
  void attention(const Batch& batch, ActWorkspace& ws, const Place& place) const;

  ActConfig config_;
  AttentionShape shape_;
  ActNorm norm_1_, norm_2_;
  Linear query_, key_value_, out_;
  FusedFeedForward feed_forward_;
  RopeTable rope_;
  std::vector<float> step_embedding_;  // [max_steps, model_dim]; empty: none
  // xl_relative
  Linear distance_;                    // wr
  std::vector<float> content_bias_, position_bias_;
};

}  // namespace plumb
