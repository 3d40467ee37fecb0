// Configuration of an adaptive-recurrent (ACT) checkpoint: config.json, or what tensor shapes
// decide. The published model's code is not available, so most switches are readings of the
// literature; each is here, in one place, with its default (act.md section 2).
#pragma once

#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/cache/segment_memory.h"
#include "core/io/checkpoint.h"
#include "core/kernels/rope.h"
#include "core/model/recurrent_model.h"

namespace plumb {

enum class ActPosition { kRope, kRelative, kLearned, kNone };
enum class ActStepEmbedding { kNone, kLearned, kSinusoidal };
enum class ActHalting { kAct, kThreshold, kNone };

struct ActConfig {
  int vocab_size = 50257, model_dim = 1280, n_heads = 20, head_dim = 64, ff_dim = 10240;
  int max_steps = 8;
  ActPosition position = ActPosition::kRope;
  double rope_theta = 10000;
  RopeLayout rope_layout = RopeLayout::kHalfSplit;
  int max_positions = 0;             // rows of the position table; learned positions only
  ActStepEmbedding step_embedding = ActStepEmbedding::kNone;
  bool inject = false;               // the embedding is added again at every step but the first
  bool layer_norm = false;           // else RMS
  bool post_norm = false;            // norms after the residual sum, else before the branch
  double norm_eps = 1e-6;
  bool final_norm = true;
  double embed_scale = 1;
  double logit_softcap = 0;          // c: logits = c * tanh(logits / c); 0: none
  ActHalting halting = ActHalting::kAct;
  double epsilon = 0.01;             // act: halts once the sum of p reaches 1 - epsilon
  double threshold = 0.5;            // threshold: halts at p above it
  bool halt_before = false;          // p looks at the step's input, else at its output
  bool lerp = false;                 // y = w z + (1 - w) y, else y = y + w z
  bool leave_remainder = false;      // at the last step w = p, else what is left of 1
  bool run_halted = false;           // states of halted tokens go on changing, else they freeze
  MemoryKind memory = MemoryKind::kPerStep;
  int memory_len = 4096;
  bool same_length = false;          // no query sees more than memory_len earlier keys
  bool tied = true;                  // the head is the embedding
  int segment_len = 0;               // 0: unknown
  std::vector<OpenSwitch> open_switches;  // what was assumed
  std::vector<std::string> notes;         // what was inferred or assumed
};

// REQUIRES canonical tensor names (act.md section 3). A field that contradicts the tensors is an
// error; a rope table among the buffers decides what the config leaves open.
Result<ActConfig> read_act_config(const Checkpoint& checkpoint);

// Every field, none left to a default.
Json act_config_json(const ActConfig& config);

}  // namespace plumb
