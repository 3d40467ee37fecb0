// What one token costs a model, in floating-point operations: the cost model of replay.
//
//   FLOPs = prelude + r step + n readout, each of them  fixed + keys * per_key
//
// with r steps, n readouts (a rule that looks at logits reads out at every check) and `keys` the
// positions attended to. Counted are matrix products and attention, an addition and a product each;
// norms, activations and softmax are left out, as is usual.
#pragma once

#include "core/model/recurrent_model.h"

namespace plumb {

struct TokenCost {
  double prelude = 0, step = 0, readout = 0;  // FLOPs of matrix products
  double prelude_per_key = 0, step_per_key = 0, readout_per_key = 0;  // of attention, a key
};

TokenCost token_cost(const ModelInfo& info);

}  // namespace plumb
