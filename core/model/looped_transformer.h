// Prelude / looped core / coda: what the Raven variants share. A variant supplies its block and
// what happens to the state before the coda.
//
//   ids -> embed -> prelude[0..P) -> e
//   s_k = core[0..K)( adapter [s_(k-1) ; e] )            k = 1..r, the same e every time
//   logits = head( ln_f( coda[0..D)( enter_coda(s_r) ) ) )
#pragma once

#include <array>
#include <utility>

#include "core/cache/kv_storage.h"
#include "core/model/blocks.h"
#include "core/model/raven_config.h"
#include "core/model/state_noise.h"

namespace plumb {

struct LoopedWorkspace : Workspace {
  using Workspace::Workspace;
  Mat<float> joined;   // [n, 2 * model_dim] adapter input: state, then injected
  Mat<float> normed;   // [n, model_dim] input of a branch
  Mat<float> stream;   // [n, model_dim] residual stream of the coda
  AttentionWorkspace attention;
  FeedForwardWorkspace feed_forward;
};

// A variant's blocks by Stage.
template <class Block>
using LoopedStages = std::array<std::vector<Block>, 3>;

// What the blocks of both variants share: fused projections. `block` is the block's name in the
// checkpoint.
Status load_branches(WeightLoader& loader, const RavenConfig& config, const std::string& block,
                     FusedAttention& attention, FusedFeedForward& feed_forward);

// Every block of the three stages, each by load_block(loader, config, name).
template <class Block>
Result<LoopedStages<Block>> load_stages(WeightLoader& loader, const RavenConfig& config,
                                        Result<Block> (*load_block)(WeightLoader&, const RavenConfig&,
                                                                    const std::string& name)) {
  const std::pair<const char*, int> counts[] = {
      {"prelude", config.n_prelude}, {"core_block", config.n_core}, {"coda", config.n_coda}};
  LoopedStages<Block> stages;
  for (size_t stage = 0; stage < stages.size(); ++stage)
    for (int j = 0; j < counts[stage].second; ++j) {
      PLUMB_ASSIGN(Block block, load_block(loader, config, fmt::format("transformer.{}.{}", counts[stage].first, j)));
      stages[stage].push_back(std::move(block));
    }
  return stages;
}

class LoopedTransformer : public RecurrentModel {
 public:
  const ModelInfo& info() const override { return info_; }
  std::unique_ptr<Workspace> make_workspace(Team& team) const override;
  Result<std::unique_ptr<SequenceCache>> make_cache(std::shared_ptr<const KvPolicy> policy) const override;
  Status prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const override;
  void initial_state(MatView<const float> injected, MatView<float> state) const override;
  Status step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
              MatView<float> state) const override;
  Status readout(const Batch& batch, Workspace& workspace, MatView<const float> state, Readout mode,
                 MatView<float> logits, MatView<float> latent) const override;
  void keep_readout(const Batch& batch) const override;
  Status set_noise(const StateNoise& noise) override;

 protected:
  // One block, in place on the residual stream.
  virtual Status block(const Batch& batch, LoopedWorkspace& workspace, const Place& place,
                       MatView<float> stream) const = 0;
  // The coda's input from the raw state: ln_f for Huginn, nothing for the Llama retrofit.
  virtual void enter_coda(Team& team, MatView<const float> state, MatView<float> stream) const = 0;
  // After test-time noise (raven.md 6.7).
  virtual void renormalise(MatView<float> /*state*/) const {}

  // Reads everything but the blocks; subclasses call it first.
  Status load_shared(const RavenConfig& config, WeightLoader& loader);
  void fill_info(const char* family);

  RavenConfig config_;
  ModelInfo info_;
  RopeTable rope_;
  AttentionSpec attention_spec_;
  std::vector<float> ln_f_;

 private:
  Linear embedding_;              // [V, E]; also the head when tied
  std::optional<Linear> head_;    // untied
  Linear adapter_;
  std::vector<float> adapter_bias_;
  StateNoise noise_;
};

}  // namespace plumb
