// Crowfeather: a plain transformer with alternating sliding and global layers, a tied head and a
// soft cap on the logits (crowfeather.md). Depth is the number of blocks run.
#pragma once

#include <memory>

#include "core/model/alias_guess.h"
#include "core/model/crowfeather_config.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

// The names other code gives these tensors.
extern const AliasFamily kCrowfeatherAliases;

// Foreign tensor names are guessed where the canonical ones are absent; ModelInfo::notes says how.
Result<std::unique_ptr<RecurrentModel>> load_crowfeather(const Checkpoint& checkpoint, Precision precision, Team& team);

// The same weights under other switches, for finding out which ones they were trained with.
// REQUIRES canonical tensor names.
Result<std::unique_ptr<RecurrentModel>> load_crowfeather_as(const CrowfeatherConfig& config, const Checkpoint& checkpoint,
                                                            Precision precision, Team& team);

}  // namespace plumb
