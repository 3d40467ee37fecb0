#include "core/model/llama_retrofit.h"

namespace plumb {
namespace {

struct PreNormBlock {
  std::vector<float> norm_1, norm_2;
  FusedAttention attention;
  FusedFeedForward feed_forward;
};

Result<PreNormBlock> load_pre_norm_block(WeightLoader& loader, const RavenConfig& c, const std::string& name) {
  const int64_t e = c.model_dim;
  PreNormBlock block;
  PLUMB_ASSIGN(block.norm_1, loader.vector(name + ".norm_1.weight", {e}));
  PLUMB_ASSIGN(block.norm_2, loader.vector(name + ".norm_2.weight", {e}));
  PLUMB_RETURN_IF_ERROR(load_branches(loader, c, name, block.attention, block.feed_forward));
  return block;
}

class LlamaRetrofit final : public LoopedTransformer {
 public:
  Status load(const RavenConfig& config, WeightLoader& loader) {
    PLUMB_RETURN_IF_ERROR(load_shared(config, loader));
    attention_spec_.layout = RopeLayout::kHalfSplit;
    PLUMB_ASSIGN(stages_, load_stages(loader, config, load_pre_norm_block));
    fill_info("raven-llama");
    return loader.finish();
  }

 protected:
  // u = x + Attn(norm_1 x);  y = u + MLP(norm_2 u)                            (raven.md 3.1)
  Status block(const Batch& batch, LoopedWorkspace& ws, const Place& place, MatView<float> x) const override {
    const PreNormBlock& b = stages_[static_cast<size_t>(place.stage)][static_cast<size_t>(place.block)];
    const auto eps = static_cast<float>(config_.norm_eps);
    Team& team = *ws.team;
    ws.normed.resize(x.rows(), x.cols());
    rms_norm_rows(team, x, b.norm_1, eps, ws.normed);
    PLUMB_RETURN_IF_ERROR(attention_branch(batch, ws, ws.attention, attention_spec_, b.attention, place, ws.normed, x));
    rms_norm_rows(team, x, b.norm_2, eps, ws.normed);
    feed_forward_branch(ws, ws.feed_forward, b.feed_forward, place, ws.normed, x);
    fire(ws.taps, Tap::kBlockOut, place, x);
    return ok_status();
  }

  // The public forward feeds the raw state to the coda.
  void enter_coda(Team& team, MatView<const float> state, MatView<float> stream) const override {
    for_row_chunks(team, state.rows(), [&](size_t first, size_t count) {
      for (size_t i = first; i < first + count; ++i)
        std::copy(state.row(i), state.row(i) + state.cols(), stream.row(i));
    });
  }

 private:
  LoopedStages<PreNormBlock> stages_;
};

}  // namespace

Result<std::unique_ptr<RecurrentModel>> load_llama_retrofit(const Checkpoint& checkpoint,
                                                            Precision precision, Team& team) {
  PLUMB_ASSIGN(const RavenConfig config, read_raven_config(checkpoint, RavenVariant::kLlamaRetrofit));
  WeightLoader loader(checkpoint, precision, team);
  auto model = std::make_unique<LlamaRetrofit>();
  PLUMB_RETURN_IF_ERROR(model->load(config, loader));
  return std::unique_ptr<RecurrentModel>(std::move(model));
}

}  // namespace plumb
