// What a stored rope table or inverse-frequency buffer says about how a model was trained.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/kernels/rope.h"

namespace plumb {

struct RopeEvidence {
  std::optional<double> theta;
  std::optional<RopeLayout> layout;  // known when the table repeats every angle
  bool bf16 = false;                 // cos or sin was stored in bf16
  std::string source;                // a tensor's name
};

// Buffers that foreign checkpoints carry and a loader recomputes: names that end in cos, sin,
// inv_freq, freqs_cis, mask or causal_mask.
bool is_rope_or_mask_buffer(std::string_view name);

// Nothing when there is no table. `expected_theta` is tried first. Tables that disagree with each
// other, or follow no theta, are an error.
Result<std::optional<RopeEvidence>> find_rope_evidence(const Checkpoint& checkpoint, int head_dim, double expected_theta);

}  // namespace plumb
