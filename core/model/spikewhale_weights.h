// The weights of a SpikeWhaleLM, layer by layer, under the names of spikewhale.md section 2.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/model/engram.h"
#include "core/model/hrm.h"
#include "core/model/hyper_connections.h"
#include "core/model/mla.h"
#include "core/model/spikewhale_config.h"

namespace plumb {

struct SpikeWhaleBlock {
  std::vector<float> attn_norm, ffn_norm;
  MlaWeights attention;
  FusedFeedForward feed_forward;
  HyperConnection around_attention, around_ffn;  // empty without hyper-connections
  float value_gate = 0;                          // tanh already taken
};

struct SpikeWhaleWeights {
  Linear embedding;  // [vocab_size, model_dim]; also the head when that is absent
  std::optional<Linear> head;
  std::optional<Engram> engram;
  std::vector<SpikeWhaleBlock> blocks;
  std::vector<float> out_mix;  // weights, not as stored; empty without hyper-connections
  std::optional<RefinementWeights> refinement;
  std::vector<float> final_norm;
  RopeTable rope;
};

// Reads all but the training heads. Says in `notes` what was not in the file and had to be made.
Result<SpikeWhaleWeights> load_spikewhale_weights(WeightLoader& loader,
                                                  const SpikeWhaleConfig& config,
                                                  const MlaSpec& attention,
                                                  std::vector<std::string>& notes);

}  // namespace plumb
