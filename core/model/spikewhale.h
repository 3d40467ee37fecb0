// SpikeWhaleLM: Byrne-86M and Escarda-86M (spikewhale.md). A decoder of distinct layers over
// parallel residual streams and an n-gram memory, and behind the layers a refinement that may be
// repeated: that is the depth.
//
//   prelude   embed -> engram -> layers over the streams -> output mix = anchor
//   step t    h <- h + tanh(gate[t]) * f(norm(h), anchor),   h = anchor at first
//   readout   head( norm(h) )
#pragma once

#include <memory>
#include <vector>

#include "core/model/recurrent_model.h"
#include "core/model/spikewhale_config.h"
#include "core/model/weights.h"

namespace plumb {

Result<std::unique_ptr<RecurrentModel>> load_spikewhale(const Checkpoint& checkpoint,
                                                        Precision precision, Team& team);

// Unique parameters by part, without the buffers and the copy of a tied head that files hold
// besides; `training_heads` is the count of the heads that only training uses.
std::vector<PartCount> spikewhale_parts(const SpikeWhaleConfig& config, int64_t training_heads);

}  // namespace plumb
