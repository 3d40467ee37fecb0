// The config of a SpikeWhaleLM as a complete config.json.
#include <nlohmann/json.hpp>

#include "core/model/spikewhale_switches.h"

namespace plumb {

Json spikewhale_config_json(const SpikeWhaleConfig& c) {
  Json json = {{"model_type", "spike_whale"},
               {"architectures", {"SpikeWhaleLM"}},
               {"vocab_size", c.vocab_size},
               {"hidden_size", c.model_dim},
               {"num_hidden_layers", c.n_layers},
               {"max_position_embeddings", c.max_positions},
               {"num_attention_heads", c.n_heads},
               {"num_key_value_heads", c.n_kv_heads},
               {"head_dim", c.head_dim},
               {"nope_head_dim", c.head_dim - c.rope_dim},
               {"qk_rope_head_dim", c.rope_dim},
               {"q_lora_rank", c.q_rank},
               {"o_lora_rank", c.o_rank},
               {"moe_intermediate_size", c.ff_dim},
               {"rope_theta", c.rope_theta},
               {"rms_norm_eps", c.norm_eps},
               {"use_qk_norm", c.norm_heads},
               {"use_xsa", c.exclusive},
               {"use_derf", c.erf_attention},
               {"use_value_embed", c.value_embed},
               {"use_moe", false},
               {"tie_word_embeddings", c.tied},
               {"use_engram", c.has_engram},
               {"use_hyper_connections", c.has_streams},
               {"use_hrm_refine", c.has_refinement}};
  if (c.erf_attention) json["derf_mask"] = name_of(kErfMasks, c.erf_mask_always);
  if (c.has_engram)
    json.update({{"engram_compress_dim", c.engram.compress_dim},
                 {"engram_num_heads", c.engram.n_heads},
                 {"engram_table_size", c.engram.table_size},
                 {"engram_max_ngram", c.engram.max_ngram},
                 {"engram_gate_input", name_of(kGateInputs, c.engram.gate_input)},
                 {"engram_gate_form", name_of(kGateForms, c.engram.gate_form)},
                 {"engram_context", name_of(kEngramContexts, c.engram.use_context)}});
  if (c.has_streams)
    json.update({{"hc_mult", c.streams.n_streams},
                 {"hc_sinkhorn_iters", c.streams.sinkhorn_iters},
                 {"hc_eps", c.streams.eps},
                 {"hc_read_map", name_of(kReadMaps, c.streams.read_map)},
                 {"hc_write_map", name_of(kWriteMaps, c.streams.write_map)}});
  if (c.has_refinement)
    json.update({{"hrm_refine_dim", c.refine_dim},
                 {"hrm_refine_steps", c.refine_steps},
                 {"hrm_gate_scale", c.refine_gate_scale}});
  if (!c.stop_ids.empty()) json["eos_token_id"] = c.stop_ids;
  return json;
}

}  // namespace plumb
