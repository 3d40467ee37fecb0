// A decoder whose blocks all differ: depth is how many of them are run before the final norm and
// the head. The baseline without recurrence; Llama and Crowfeather are made of it.
//
//   s_0 = embed_scale * embedding[ids]
//   s_k = block[k-1](s_(k-1)):   u = x + Attn(norm_1 x);   x = u + FeedForward(norm_2 u)
//   logits = softcap( head( final_norm s_k ) )
#pragma once

#include <vector>

#include "core/model/blocks.h"
#include "core/model/layered_cache.h"
#include "core/model/recurrent_model.h"

namespace plumb {

struct LayeredBlock {
  std::vector<float> norm_1, norm_2;
  FusedAttention attention;
  FusedFeedForward feed_forward;
  size_t window = 0;  // keys a query sees, its own included; 0: all
  size_t rope = 0;    // which of LayeredParts::ropes
};

// What a family's loader puts together.
struct LayeredParts {
  ModelInfo info;  // family, sizes and notes; the rest is filled in by the transformer
  int ff_dim = 0;
  double norm_eps = 1e-6;
  double embed_scale = 1;
  double logit_softcap = 0;  // c: logits = c * tanh(logits / c); 0: none
  bool norm_heads = false;   // q and k: every head divided by its root mean square before rope
  RopeLayout rope_layout = RopeLayout::kHalfSplit;
  std::vector<RopeTable> ropes;
  Linear embedding;            // [vocab_size, model_dim]; also the head when that is absent
  std::optional<Linear> head;
  std::vector<LayeredBlock> blocks;
  std::vector<float> final_norm;
};

struct LayeredWorkspace : Workspace {
  using Workspace::Workspace;
  Mat<float> normed;  // [n, model_dim] input of a branch, or of the head
  AttentionWorkspace attention;
  FeedForwardWorkspace feed_forward;
  Batch part;         // the groups at one block
};

class LayeredTransformer final : public RecurrentModel {
 public:
  explicit LayeredTransformer(LayeredParts parts);

  const ModelInfo& info() const override { return parts_.info; }
  std::unique_ptr<Workspace> make_workspace(Team& team) const override;
  // Blocks keep their own rows, so no strategy but `full` has a meaning.
  Result<std::unique_ptr<SequenceCache>> make_cache(std::shared_ptr<const KvPolicy> policy) const override;
  Status prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const override;
  void initial_state(MatView<const float> injected, MatView<float> state) const override;
  Status step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
              MatView<float> state) const override;
  Status readout(const Batch& batch, Workspace& workspace, MatView<const float> state, Readout mode,
                 MatView<float> logits, MatView<float> latent) const override;
  void keep_readout(const Batch& /*batch*/) const override {}
  Status set_noise(const StateNoise& noise) override;

 private:
  void run_block(const Batch& batch, LayeredWorkspace& workspace, int index, MatView<float> x) const;
  void attention(const Batch& batch, LayeredWorkspace& workspace, const Place& place, MatView<float> stream) const;
  void plan(const Batch& batch, LayeredWorkspace& workspace, int index) const;

  LayeredParts parts_;
  AttentionShape shape_;
  std::vector<float> ones_;  // [head_dim] weights of the head norm
};

// The projections and norms of one block, by their names in the checkpoint.
struct LayeredBlockNames {
  std::string norm_1, norm_2, q, k, v, o, gate, up, down;
};
Result<LayeredBlock> load_layered_block(WeightLoader& loader, const LayeredBlockNames& names,
                                        const ModelInfo& info, int ff_dim);

}  // namespace plumb
