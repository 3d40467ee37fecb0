// The tensor names of SpikeWhaleLM that no published source shows (spikewhale.md section 2): every
// spelling that is tried, in one table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/model/weights.h"

namespace plumb {

enum class AssumedVector : uint8_t { kStreamRead, kStreamWrite, kStreamMix, kEngramGate };

// "{site}.{spelling}" of the one spelling that the checkpoint has; shape [extent] or [1, extent].
// An error lists what the site does hold.
Result<std::vector<float>> load_assumed(WeightLoader& loader, AssumedVector which,
                                        const std::string& site, int64_t extent);

// Heads that only training uses: multi-token prediction and JEPA.
bool is_training_head(std::string_view tensor);

// By the config's model_type, or by the two low-rank projections of the attention.
bool is_spikewhale(const Checkpoint& checkpoint);

}  // namespace plumb
