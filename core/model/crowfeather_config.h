// Configuration of a Crowfeather checkpoint (crowfeather.md section 1): config.json, the "cfg" of a
// .pt, or what tensor shapes decide. The switches whose trained value no shape reveals are here,
// each in one place.
#pragma once

#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/kernels/rope.h"
#include "core/model/recurrent_model.h"

namespace plumb {

enum class WindowConvention {
  kKeys,      // a query sees window keys, its own included
  kDistance,  // a query sees keys at a distance of up to window: one more
};

struct CrowfeatherConfig {
  int vocab_size = 8192, model_dim = 512, n_layers = 12, n_heads = 8, head_dim = 64, ff_dim = 2048;
  int max_positions = 8192;
  int window = 1024;
  WindowConvention window_convention = WindowConvention::kKeys;
  std::vector<bool> sliding;  // by layer; the rest is global
  double norm_eps = 1e-6;
  int norm_weight_offset = 0;  // 1: norm weights are stored less one
  double rope_theta = 10000;
  double rope_theta_global = 10000;  // of global layers
  RopeLayout rope_layout = RopeLayout::kInterleaved;
  bool bf16_rope_table = false;  // cos and sin rounded to bf16
  double logit_softcap = 30;     // 0: off
  bool norm_heads = false;       // qk_norm = rms_noparam
  double embed_scale = 1;
  std::vector<OpenSwitch> open_switches;  // what was assumed
  bool crop_overflow = true;     // past max_positions: keep the last ones and recompute; else an error
  std::vector<std::string> notes;

  // Keys that a query of this layer sees, its own included; 0: all.
  size_t visible_keys(int layer) const;
};

// REQUIRES canonical tensor names (section 3). Rope tables among the buffers are evidence: they
// decide what the config leaves open, and one that contradicts the config is an error.
Result<CrowfeatherConfig> read_crowfeather_config(const Checkpoint& checkpoint);

// Every field, none left to a default.
Json crowfeather_config_json(const CrowfeatherConfig& config);

}  // namespace plumb
