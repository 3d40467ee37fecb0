#include "core/model/raven.h"

namespace plumb {
namespace {

struct SandwichBlock {
  std::vector<float> norm_1, norm_2, norm_3, norm_4;
  FusedAttention attention;
  FusedFeedForward feed_forward;
};

Result<SandwichBlock> load_sandwich_block(WeightLoader& loader, const RavenConfig& c, const std::string& name) {
  const int64_t e = c.model_dim;
  SandwichBlock block;
  PLUMB_ASSIGN(block.norm_1, loader.vector(name + ".norm_1.weight", {e}));
  PLUMB_ASSIGN(block.norm_2, loader.vector(name + ".norm_2.weight", {e}));
  PLUMB_ASSIGN(block.norm_3, loader.vector(name + ".norm_3.weight", {e}));
  PLUMB_ASSIGN(block.norm_4, loader.vector(name + ".norm_4.weight", {e}));
  if (c.qk_bias) {
    PLUMB_ASSIGN(block.attention.qk_bias, loader.vector(name + ".attn.qk_bias", {2, 1, c.n_heads, c.head_dim()}));
  }
  PLUMB_RETURN_IF_ERROR(load_branches(loader, c, name, block.attention, block.feed_forward));
  return block;
}

class Raven final : public LoopedTransformer {
 public:
  Status load(const RavenConfig& config, WeightLoader& loader) {
    PLUMB_RETURN_IF_ERROR(load_shared(config, loader));
    attention_spec_.layout = RopeLayout::kInterleaved;
    PLUMB_ASSIGN(stages_, load_stages(loader, config, load_sandwich_block));
    fill_info("raven-huginn");
    return loader.finish();
  }

 protected:
  // u = norm_2( x + Attn(norm_1 x) );  y = norm_4( u + MLP(norm_3 u) )        (raven.md 3.1)
  Status block(const Batch& batch, LoopedWorkspace& ws, const Place& place, MatView<float> x) const override {
    const SandwichBlock& b = stages_[static_cast<size_t>(place.stage)][static_cast<size_t>(place.block)];
    const auto eps = static_cast<float>(config_.norm_eps);
    Team& team = *ws.team;
    ws.normed.resize(x.rows(), x.cols());
    rms_norm_rows(team, x, b.norm_1, eps, ws.normed);
    PLUMB_RETURN_IF_ERROR(attention_branch(batch, ws, ws.attention, attention_spec_, b.attention, place, ws.normed, x));
    rms_norm_rows(team, x, b.norm_2, eps, x);
    rms_norm_rows(team, x, b.norm_3, eps, ws.normed);
    feed_forward_branch(ws, ws.feed_forward, b.feed_forward, place, ws.normed, x);
    rms_norm_rows(team, x, b.norm_4, eps, x);
    fire(ws.taps, Tap::kBlockOut, place, x);
    return ok_status();
  }

  void enter_coda(Team& team, MatView<const float> state, MatView<float> stream) const override {
    rms_norm_rows(team, state, ln_f_, static_cast<float>(config_.norm_eps), stream);
  }

  void renormalise(MatView<float> state) const override {
    const auto& core = stages_[static_cast<size_t>(Stage::kCore)];
    rms_norm(state, core.back().norm_4, static_cast<float>(config_.norm_eps), state);
  }

 private:
  LoopedStages<SandwichBlock> stages_;
};

}  // namespace

Result<std::unique_ptr<RecurrentModel>> load_raven(const Checkpoint& checkpoint, Precision precision, Team& team) {
  PLUMB_ASSIGN(const RavenConfig config, read_raven_config(checkpoint, RavenVariant::kHuginn));
  WeightLoader loader(checkpoint, precision, team);
  auto model = std::make_unique<Raven>();
  PLUMB_RETURN_IF_ERROR(model->load(config, loader));
  return std::unique_ptr<RecurrentModel>(std::move(model));
}

}  // namespace plumb
