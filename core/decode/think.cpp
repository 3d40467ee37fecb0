#include "core/decode/think.h"

namespace plumb {

Status check_tokens(const ModelInfo& info, std::span<const int32_t> ids, int first_pos) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= info.vocab_size)
      return input_error("token id {} at position {} is outside the vocabulary [0, {})", ids[i],
                         first_pos + static_cast<int>(i), info.vocab_size);
  const int64_t end = int64_t{first_pos} + static_cast<int64_t>(ids.size());
  if (info.max_positions > 0 && end > info.max_positions)
    return input_error("{} positions are asked for, but this model ends at {}", end, info.max_positions);
  return ok_status();
}

Status check_depth(const ModelInfo& info, int num_steps) {
  if (num_steps < info.min_steps || (info.max_steps > 0 && num_steps > info.max_steps))
    return input_error("--num-steps {} is outside what this model can run: {} {} to {}", num_steps, info.axis,
                       info.min_steps, info.max_steps > 0 ? std::to_string(info.max_steps) : "any");
  return ok_status();
}

DepthPass::DepthPass(const RecurrentModel& model, Team& team, const TapBus* taps)
    : model_(&model), workspace_(model.make_workspace(team)) {
  workspace_->taps = taps;
}

Status DepthPass::begin(Batch batch, const StateSource& states) {
  batch_ = std::move(batch);
  depth_ = 0;
  const ModelInfo& info = model_->info();
  for (Group& group : batch_.groups) {
    group.step = 0;
    PLUMB_RETURN_IF_ERROR(check_tokens(info, batch_.ids.subspan(group.first_row, group.n_rows), group.first_pos));
  }
  const size_t n = batch_.n_rows();
  injected_.resize(n, static_cast<size_t>(info.model_dim));
  state_.resize(n, static_cast<size_t>(info.state_dim));
  PLUMB_RETURN_IF_ERROR(model_->prelude(batch_, *workspace_, injected_));
  if (info.random_state) return states.fill(batch_, injected_, state_);
  model_->initial_state(injected_, state_);
  return ok_status();
}

Status DepthPass::advance() {
  for (Group& group : batch_.groups) group.step = depth_;
  PLUMB_RETURN_IF_ERROR(model_->step(batch_, *workspace_, injected_, state_));
  ++depth_;
  return ok_status();
}

Status DepthPass::read(Readout mode, MatView<float> logits, MatView<float> latent) {
  return model_->readout(batch_, *workspace_, state_, mode, logits, latent);
}

Status DepthPass::read_state(MatView<const float> state, Readout mode, MatView<float> logits) {
  return model_->readout(batch_, *workspace_, state, mode, logits, {});
}

}  // namespace plumb
