// What a pass of a model costs, counted from its tensors: multiplications and bytes of weights.
//
// Every token is multiplied once by each matrix of prelude, coda and head, and once a step by each
// of the core. A multiply and an add are two operations:
//
//   matrices   2 n (prelude + steps core + coda + head)        numbers in the matrices, n tokens
//   attention  4 n_heads head_dim  sum over layers and tokens of the keys the token sees
//
// Norms, rope, softmax, activations and embedding lookups are not counted.
#pragma once

#include <cstdint>

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

struct StageWeights {
  int64_t numbers = 0;  // in matrices
  int64_t outputs = 0;  // rows of those matrices: each has a scale in int8
};

struct ModelCost {
  StageWeights prelude, core, coda,
      head;                     // core: of one step, the mean one where blocks are distinct
  int64_t attention_width = 0;  // n_heads * head_dim
  LayerCounts layers;           // attention layers, n_core of one step
  std::vector<int> windows;     // by step, with distinct blocks; else empty
  int stored_bytes = 4;         // of a number of the core in the checkpoint

  double flops(int64_t n_tokens, int64_t steps) const;
  // As packed for `precision`; f32 arithmetic keeps bf16 weights as they are.
  double bytes(const StageWeights& stage, Precision precision) const;
};

Result<ModelCost> count_cost(const Checkpoint& checkpoint, const ModelInfo& info);

}  // namespace plumb
