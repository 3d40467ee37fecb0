#include "core/cache/kv_policies.h"

#include <algorithm>

#include "core/cache/decode_policy.h"
#include "core/cache/slot_policy.h"

namespace plumb {

Result<std::shared_ptr<const KvPolicy>> make_kv_policy(std::string_view name, CacheIndex index,
                                                       const LayerCounts& layers, uint64_t seed,
                                                       int num_steps) {
  PLUMB_CHECK(num_steps >= 0);
  PLUMB_ASSIGN(const KvStrategy strategy, parse_kv_strategy(name, index, layers.n_core));
  if (strategy.reuse != KvDecodeReuse::kNone) return make_decode_policy(strategy, layers);
  if (strategy.compression == KvCompression::kLast && num_steps == 0)
    return input_error(
        "cache strategy \"{}\" keeps the last {} recurrences, so the largest depth must be known: "
        "give --num-steps",
        name, strategy.n);
  return make_slot_policy(strategy, index, layers, seed, num_steps);
}

Result<int64_t> kv_entries_per_token(std::string_view name, CacheIndex index,
                                     const LayerCounts& layers, int num_steps) {
  PLUMB_ASSIGN(const auto policy, make_kv_policy(name, index, layers, 0, std::max(num_steps, 1)));
  return policy->entries_per_token(num_steps, KvPhase::kDecode);
}

}  // namespace plumb
