#include "core/model/llama.h"

#include "core/model/layered_transformer.h"

namespace plumb {
Result<std::unique_ptr<RecurrentModel>> load_llama(const Checkpoint& checkpoint, Precision precision, Team& team) {
  PLUMB_ASSIGN(const LlamaConfig c, read_llama_config(checkpoint));
  WeightLoader loader(checkpoint, precision, team);
  LayeredParts parts;
  ModelInfo& info = parts.info;
  info.family = "llama";
  info.model_dim = c.model_dim;
  info.vocab_size = c.vocab_size;
  info.n_heads = c.n_heads;
  info.n_kv_heads = c.n_kv_heads;
  info.head_dim = c.head_dim;
  info.stop_ids = c.stop_ids;
  info.open_switches = c.open_switches;
  info.trained_positions = c.trained_positions;
  info.notes = c.notes;
  parts.ff_dim = c.ff_dim;
  parts.norm_eps = c.norm_eps;
  parts.rope_layout = RopeLayout::kHalfSplit;
  PLUMB_ASSIGN(parts.embedding, loader.linear("model.embed_tokens.weight", c.vocab_size, c.model_dim));
  if (!c.tied) {
    Linear head;
    PLUMB_ASSIGN(head, loader.linear("lm_head.weight", c.vocab_size, c.model_dim));
    parts.head = std::move(head);
  }
  loader.ignore("lm_head.weight");
  for (int l = 0; l < c.n_layers; ++l) {
    const std::string name = fmt::format("model.layers.{}.", l), attn = name + "self_attn.", mlp = name + "mlp.";
    PLUMB_ASSIGN(LayeredBlock block,
                 load_layered_block(loader, {name + "input_layernorm.weight", name + "post_attention_layernorm.weight",
                                             attn + "q_proj.weight", attn + "k_proj.weight", attn + "v_proj.weight",
                                             attn + "o_proj.weight", mlp + "gate_proj.weight", mlp + "up_proj.weight",
                                             mlp + "down_proj.weight"}, info, c.ff_dim));
    loader.ignore(attn + "rotary_emb.inv_freq");  // a buffer of older files
    parts.blocks.push_back(std::move(block));
  }
  PLUMB_ASSIGN(parts.final_norm, loader.vector("model.norm.weight", {c.model_dim}));
  PLUMB_RETURN_IF_ERROR(loader.finish());
  const size_t positions = c.trained_positions > 0 ? static_cast<size_t>(c.trained_positions) : RopeTable::kMostTabulated;
  parts.ropes.emplace_back(rope_frequencies(static_cast<size_t>(c.head_dim), c.rope_theta, c.rope_scaling),
                           std::min(positions, RopeTable::kMostTabulated));
  return std::unique_ptr<RecurrentModel>(std::make_unique<LayeredTransformer>(std::move(parts)));
}

}  // namespace plumb
