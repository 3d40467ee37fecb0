#include "core/model/spikewhale_weights.h"

#include <algorithm>
#include <cmath>

#include "core/model/spikewhale_names.h"

namespace plumb {
namespace {

Result<HyperConnection> load_connection(WeightLoader& loader, const HyperConnectionConfig& c,
                                        const std::string& site) {
  PLUMB_ASSIGN(const std::vector<float> read,
               load_assumed(loader, AssumedVector::kStreamRead, site, c.n_streams));
  PLUMB_ASSIGN(const std::vector<float> write,
               load_assumed(loader, AssumedVector::kStreamWrite, site, c.n_streams));
  return HyperConnection{read_weights(c, read), write_weights(c, write)};
}

Result<SpikeWhaleBlock> load_block(WeightLoader& loader, const SpikeWhaleConfig& c,
                                   const MlaSpec& spec, int index) {
  const std::string name = fmt::format("model.layers.{}.", index), ffn = name + "ffn.";
  SpikeWhaleBlock block;
  PLUMB_ASSIGN(block.attn_norm, loader.vector(name + "attn_norm.weight", {c.model_dim}));
  PLUMB_ASSIGN(block.ffn_norm, loader.vector(name + "ffn_norm.weight", {c.model_dim}));
  PLUMB_ASSIGN(block.attention, load_mla(loader, name + "attn.", spec, c.model_dim));
  PLUMB_ASSIGN(block.feed_forward.fc, loader.stacked({{ffn + "gate_proj.weight", c.ff_dim},
                                                      {ffn + "up_proj.weight", c.ff_dim}},
                                                     c.model_dim));
  PLUMB_ASSIGN(block.feed_forward.proj,
               loader.linear(ffn + "down_proj.weight", c.model_dim, c.ff_dim));
  if (c.value_embed) {
    PLUMB_ASSIGN(const std::vector<float> gate, loader.vector(name + "ve_gate", {1}));
    block.value_gate = std::tanh(gate[0]);
  }
  if (c.has_streams) {
    PLUMB_ASSIGN(block.around_attention, load_connection(loader, c.streams, name + "hc_attn"));
    PLUMB_ASSIGN(block.around_ffn, load_connection(loader, c.streams, name + "hc_ffn"));
  }
  return block;
}

// The stored tables of layer 0, which all layers share; else the same from rope_theta.
Result<RopeTable> load_rope(WeightLoader& loader, const SpikeWhaleConfig& c,
                            std::vector<std::string>& notes) {
  const int64_t half = c.rope_dim / 2;
  for (int layer = 0; layer < c.n_layers; ++layer)
    for (const char* buffer : {"inv_freq", "cos_cache", "sin_cache"})
      loader.ignore(fmt::format("model.layers.{}.attn.rope.{}", layer, buffer));
  const std::string cos_name = "model.layers.0.attn.rope.cos_cache",
                    sin_name = "model.layers.0.attn.rope.sin_cache";
  if (!loader.has(cos_name) && !loader.has(sin_name)) {
    notes.push_back("no rope tables in the file: they were computed from rope_theta");
    return RopeTable(rope_frequencies(static_cast<size_t>(c.rope_dim), c.rope_theta),
                     std::min(static_cast<size_t>(c.max_positions), RopeTable::kMostTabulated));
  }
  PLUMB_ASSIGN(const std::vector<float> cos, loader.vector(cos_name, {c.max_positions, half}));
  PLUMB_ASSIGN(const std::vector<float> sin, loader.vector(sin_name, {c.max_positions, half}));
  Mat<float> cos_table(static_cast<size_t>(c.max_positions), static_cast<size_t>(half)),
      sin_table = cos_table;
  std::copy(cos.begin(), cos.end(), cos_table.data());
  std::copy(sin.begin(), sin.end(), sin_table.data());
  return RopeTable(std::move(cos_table), std::move(sin_table));
}

}  // namespace

Result<SpikeWhaleWeights> load_spikewhale_weights(WeightLoader& loader, const SpikeWhaleConfig& c,
                                                  const MlaSpec& spec,
                                                  std::vector<std::string>& notes) {
  SpikeWhaleWeights w;
  PLUMB_ASSIGN(w.embedding, loader.linear("model.embed_tokens.weight", c.vocab_size, c.model_dim));
  if (!c.tied) {
    PLUMB_ASSIGN(Linear head, loader.linear("lm_head.weight", c.vocab_size, c.model_dim));
    w.head = std::move(head);
  } else if (loader.has("lm_head.weight")) {
    PLUMB_RETURN_IF_ERROR(loader.tensor("lm_head.weight", {c.vocab_size, c.model_dim}));
  }
  if (c.has_engram) {
    PLUMB_ASSIGN(Engram engram, Engram::load(c.engram, c.vocab_size, c.model_dim, loader));
    w.engram = std::move(engram);
  }
  for (int index = 0; index < c.n_layers; ++index) {
    PLUMB_ASSIGN(SpikeWhaleBlock block, load_block(loader, c, spec, index));
    w.blocks.push_back(std::move(block));
  }
  if (c.has_streams) {
    PLUMB_ASSIGN(
        const std::vector<float> stored,
        load_assumed(loader, AssumedVector::kStreamMix, "model.hc_out_mix", c.streams.n_streams));
    w.out_mix = mix_weights(stored);
  }
  if (c.has_refinement) {
    PLUMB_ASSIGN(
        RefinementWeights refinement,
        load_refinement(loader, c.model_dim, c.refine_dim, c.refine_steps, c.refine_gate_scale));
    w.refinement = std::move(refinement);
  }
  PLUMB_ASSIGN(w.final_norm, loader.vector("model.norm.weight", {c.model_dim}));
  PLUMB_ASSIGN(w.rope, load_rope(loader, c, notes));
  return w;
}

}  // namespace plumb
