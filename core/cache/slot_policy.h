// Lookups and compressions: every strategy but decode-*.
#pragma once

#include <memory>

#include "core/cache/kv_policy.h"
#include "core/cache/kv_strategy.h"

namespace plumb {

// REQUIRES num_steps > 0 for compress-last.
std::shared_ptr<const KvPolicy> make_slot_policy(const KvStrategy& strategy, CacheIndex index,
                                                 const LayerCounts& layers, uint64_t seed,
                                                 int num_steps);

}  // namespace plumb
