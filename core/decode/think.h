// The depth loop: the tokens of one call taken from embedding to any depth, read out on the way.
// Everything of the call lives here; s_1..s_r are prefixes of each other, so one pass serves every
// depth up to the largest.
//
//   DepthPass pass(model, team);
//   pass.begin(batch, states);                    // prelude, s_0
//   while (pass.depth() < largest) {
//     pass.advance();                             // one more recurrence for all rows
//     if (wanted(pass.depth())) pass.read(Readout::kPeek, logits);
//   }
#pragma once

#include <memory>

#include "core/base/mat.h"
#include "core/base/result.h"
#include "core/decode/state_source.h"
#include "core/model/recurrent_model.h"

namespace plumb {

class DepthPass {
 public:
  DepthPass(const RecurrentModel& model, Team& team, const TapBus* taps = nullptr);

  // Checks ids and positions against the model, runs the prelude and sets s_0. The groups of
  // `batch` must cover its ids.
  Status begin(Batch batch, const StateSource& states);
  Status advance();
  // logits [n, vocab_size], latent [n, model_dim] or empty.
  Status read(Readout mode, MatView<float> logits, MatView<float> latent = {});
  // The same of a state kept from an earlier depth of this pass.
  Status read_state(MatView<const float> state, Readout mode, MatView<float> logits);

  int depth() const { return depth_; }
  // Own halting is over for every row: further steps change nothing that is read out.
  bool settled() const { return model_->settled(batch_, state_); }
  const Batch& batch() const { return batch_; }
  MatView<float> state() { return state_; }          // [n, state_dim]
  MatView<const float> state() const { return state_; }
  MatView<const float> injected() const { return injected_; }
  const RecurrentModel& model() const { return *model_; }

 private:
  const RecurrentModel* model_;
  std::unique_ptr<Workspace> workspace_;
  Batch batch_;
  Mat<float> injected_, state_;
  int depth_ = 0;
};

// Every id in [0, vocab_size) and every position below max_positions, else a sentence.
Status check_tokens(const ModelInfo& info, std::span<const int32_t> ids, int first_pos);
// A depth this family can run, else a sentence naming its axis.
Status check_depth(const ModelInfo& info, int num_steps);

}  // namespace plumb
