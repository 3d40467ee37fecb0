// The cache strategies by name (raven.md section 4).
//
// Under CacheIndex::kRecurrence recurrence i of core layer l goes to slot P + c(i) * K + l:
//
//     (none)      c = i                       compress-first{n}   c = min(i, n)
//     s{n}        c = i mod n                 compress-last{n}    c = max(0, i - (R - n) + 1)
//     r{n}        c = i div n                 compress-stride{n}  c = i div n
//     anchor      c = min(i, 8)               compress-boundaries c = min(i, 1)
//
// R is the run's largest depth (R <= n: compress-last{n} keeps all). A past token's entry is the
// last one written to its slot. A missing entry is looked for in the same layer's slots, those
// congruent modulo K. Under kUpstream the same is done with the public constants: n counts slots,
// prelude slots >= 2 are compressed too, and layers are told apart modulo 4 whatever the shape. For
// shape (2, 4) and n a multiple of 4 slots the two agree.
#pragma once

#include <memory>
#include <string_view>

#include "core/cache/kv_policy.h"
#include "core/cache/kv_strategy.h"

namespace plumb {

// `seed` drives `randomized`, a pure function of (seed, slot, position, first position and step of
// the asking call). `num_steps` is the largest depth the run can reach; compress-last needs it,
// and is an error with 0 (unknown). An unknown or impossible name is an error that lists the known.
Result<std::shared_ptr<const KvPolicy>> make_kv_policy(std::string_view name, CacheIndex index,
                                                       const LayerCounts& layers, uint64_t seed,
                                                       int num_steps = 0);

// Entries (a key row and a value row each) that one decoded token occupies at depth `num_steps`,
// by closed formula. REQUIRES num_steps >= 0.
Result<int64_t> kv_entries_per_token(std::string_view name, CacheIndex index,
                                     const LayerCounts& layers, int num_steps);

}  // namespace plumb
