// decode-last, decode-averaged, decode-first: one entry a layer for what decoding reads.
//
//     slots:  prelude j | shared, core layer l | prompt recurrence i, core layer l     | coda
//             j         | P + l                | P + (i + 1) * K + l                   | -(j + 1)
//                                                (decode-first: P + i * K + l)
//
// The rows of a prompt (a call of several rows) see each other at their own recurrence and leave a
// shared entry as well. A decoded token (a call of one row) sees itself at its own recurrence
// and every earlier token at its shared entry: its last, its mean over, or its first
// recurrence. Later prompt rows see decoded tokens at their shared entry too.
#pragma once

#include <memory>

#include "core/cache/kv_policy.h"
#include "core/cache/kv_strategy.h"

namespace plumb {

// REQUIRES strategy.reuse != kNone.
std::shared_ptr<const KvPolicy> make_decode_policy(const KvStrategy& strategy,
                                                   const LayerCounts& layers);

}  // namespace plumb
