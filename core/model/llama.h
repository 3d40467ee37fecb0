// Plain Llama in Hugging Face layout: the fixed-depth baseline, and the source of retrofits.
#pragma once

#include <memory>
#include <vector>

#include "core/kernels/rope.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

struct LlamaConfig {
  int model_dim = 0, n_layers = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, ff_dim = 0, vocab_size = 0;
  double norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  int trained_positions = 0;  // max_position_embeddings, informative; 0: unknown
  bool tied = false;          // no lm_head.weight: the embedding is the head
  std::vector<int32_t> stop_ids;
  std::vector<OpenSwitch> open_switches;
  std::vector<std::string> notes;
};

// config.json checked against the tensors. What this block cannot run (biases, other activations,
// other rope scalings) is an error naming the field.
Result<LlamaConfig> read_llama_config(const Checkpoint& checkpoint);

Result<std::unique_ptr<RecurrentModel>> load_llama(const Checkpoint& checkpoint, Precision precision, Team& team);

}  // namespace plumb
