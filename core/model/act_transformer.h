// Adaptive-recurrent (ACT): one block over and over on the residual stream, a halting head that
// decides token by token how often, and Transformer-XL segment memory (act.md).
//
//   s_0 = x_0 = embed_scale * embedding[ids] (+ position row)
//   z   = block(s_(n-1));   p = sigmoid(halting head)        n = 1 .. max_steps
//   y   = sum of w_n z_n, w_n = p_n, the last one what is left of 1
//   logits = softcap( head( final_norm y ) )
//
// A state row is [s | y | HaltingColumn cells]. With Group::own_halting the model stops every token
// by itself; without, y is the last z, whatever depth is asked: one pass serves every depth.
// SegmentMemory (core/cache) is the cache of a sequence; core/decode/segments.h puts the borders.
#pragma once

#include <memory>

#include "core/model/act_config.h"
#include "core/model/alias_guess.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

// The names other code gives these tensors.
extern const AliasFamily kActAliases;
// Whether a checkpoint is of this family: it says so, has the canonical names, or foreign names
// with a halting head among them.
bool is_act(const Checkpoint& checkpoint);

// Foreign tensor names are guessed where the canonical ones are absent; ModelInfo::notes says how.
Result<std::unique_ptr<RecurrentModel>> load_act(const Checkpoint& checkpoint, Precision precision, Team& team);

// The same weights under other switches, for finding out which ones they were trained with.
// REQUIRES canonical tensor names.
Result<std::unique_ptr<RecurrentModel>> load_act_as(const ActConfig& config, const Checkpoint& checkpoint,
                                                    Precision precision, Team& team);

}  // namespace plumb
