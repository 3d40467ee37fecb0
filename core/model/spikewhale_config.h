// Configuration of a SpikeWhaleLM checkpoint (Byrne, Escarda; spikewhale.md section 1):
// config.json, or, without one, what tensors decide. The switches whose published value is only
// assumed are here, each in one place with its names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/model/engram.h"
#include "core/model/hyper_connections.h"

namespace plumb {

struct SpikeWhaleConfig {
  int vocab_size = 0, model_dim = 0, n_layers = 0, max_positions = 0;
  int n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int rope_dim = 0;            // trailing, rotated numbers of a head
  int q_rank = 0, o_rank = 0;  // q_lora_rank, o_lora_rank
  int ff_dim = 0;              // moe_intermediate_size: the dense width as well
  double rope_theta = 10000, norm_eps = 1e-6;
  bool norm_heads = true;       // use_qk_norm
  bool exclusive = true;        // use_xsa
  bool erf_attention = false;   // use_derf
  bool erf_mask_always = true;  // derf_mask: causal; else the reference's leak inside a chunk
  bool value_embed = false;     // use_value_embed
  bool tied = true;             // tie_word_embeddings
  bool has_engram = false;      // use_engram
  EngramConfig engram;
  bool has_streams = false;  // use_hyper_connections
  HyperConnectionConfig streams;
  bool has_refinement = false;    // use_hrm_refine
  int refine_dim = 0;             // hrm_refine_dim
  int refine_steps = 0;           // hrm_refine_steps: gates stored
  double refine_gate_scale = 1;   // hrm_gate_scale: multiplies tanh(gate)
  std::vector<int32_t> stop_ids;  // eos_token_id
  std::vector<OpenSwitch> open_switches;  // what was assumed
  std::vector<std::string> notes;
};

// With a config.json every field that the model needs must be in it: the defaults of the published
// code describe another model.
Result<SpikeWhaleConfig> read_spikewhale_config(const Checkpoint& checkpoint);

// Every field that decides something, none left to a default.
Json spikewhale_config_json(const SpikeWhaleConfig& config);

}  // namespace plumb
