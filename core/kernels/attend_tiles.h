// Attention for --dtype bf16: jobs of many rows by hardware tiles, the rest as attend() does.
//
// With tiles, queries, keys, values and weights are rounded to bf16; scores, softmax and weighted
// sums stay f32, and a row is divided by the sum of its rounded weights, so that what multiplies
// the values adds up to one. A row's bits depend neither on threads nor on the rows beside it.
#pragma once

#include "core/kernels/attend.h"

namespace plumb {

// Fewer rows leave most of a tile empty, and rounding the keys for them is no gain.
constexpr size_t kFewestTiledRows = 16;

// Whether attend_bf16 gives the job to the tiles: enough rows, and a machine that has them.
bool attends_by_tiles(const AttentionJob& job);

void attend_bf16(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs);

}  // namespace plumb
