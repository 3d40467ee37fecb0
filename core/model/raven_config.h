// config.json of the Raven family in its published styles (raven.md section 1), checked against the
// tensors.
#pragma once

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/kernels/rope.h"
#include "core/model/recurrent_model.h"

namespace plumb {

enum class RavenVariant {
  kHuginn,         // sandwich norms, interleaved rope, ln_f on the state before the coda
  kLlamaRetrofit,  // pre-norm, grouped queries, half-split rope, raw state into the coda
};

struct RavenConfig {
  RavenVariant variant = RavenVariant::kHuginn;
  int model_dim = 0, n_heads = 0, n_kv_heads = 0, ff_dim = 0, vocab_size = 0;
  int n_prelude = 0, n_core = 0, n_coda = 0;
  bool qk_bias = false, adapter_bias = false, tied = false;
  double norm_eps = 1e-6;
  double rope_theta = 50000;
  RopeScaling rope_scaling;
  int max_positions = 0;           // Huginn: block_size, a hard limit; 0: none
  int trained_positions = 0;       // informative; 0: unknown
  int mean_recurrence = 32;
  double state_std = 0, embed_scale = 1;
  std::vector<OpenSwitch> open_switches;  // the same as values to try
  std::vector<std::string> notes;  // what was assumed

  int head_dim() const { return model_dim / n_heads; }
};

Result<RavenConfig> read_raven_config(const Checkpoint& checkpoint, RavenVariant variant);

}  // namespace plumb
