#include "core/model/token_cost.h"

#include <algorithm>

namespace plumb {

TokenCost token_cost(const ModelInfo& info) {
  TokenCost cost;
  bool has_head = false;
  for (const PartCount& part : info.parts) {
    const double flops = 2.0 * static_cast<double>(part.parameters);
    switch (part.work) {
      case PartWork::kNone:
        break;
      case PartWork::kPrelude:
        cost.prelude += flops;
        break;
      case PartWork::kStep:
        cost.step += flops;
        break;
      case PartWork::kBlocks:
        cost.step += flops / std::max(info.layers.n_core, 1);
        break;
      case PartWork::kReadout:
        cost.readout += flops;
        has_head = has_head || part.name == "head";
    }
  }
  // A tied head is a part only as the embedding, which is looked up.
  if (!has_head) cost.readout += 2.0 * info.vocab_size * info.model_dim;
  // A key is multiplied with the query, its value with the weight.
  const double per_layer = 4.0 * info.n_heads * info.head_dim;
  cost.prelude_per_key = per_layer * info.layers.n_prelude;
  cost.step_per_key = per_layer * (info.distinct_blocks ? 1 : info.layers.n_core);
  cost.readout_per_key = per_layer * info.layers.n_coda;
  return cost;
}

}  // namespace plumb
