// Attention for --dtype bf16: jobs of many rows by the instructions that multiply bf16, the rest as
// attend() does.
//
// With them, queries, keys, values and weights are rounded to bf16; scores, softmax and weighted
// sums stay f32, and a row is divided by the sum of its rounded weights, so that what multiplies
// the values adds up to one. A row's bits depend neither on threads nor on the rows beside it.
#pragma once

#include <optional>

#include "core/kernels/attend.h"
#include "core/kernels/bf16_units.h"

namespace plumb {

// Rounding the keys for fewer rows is no gain.
constexpr size_t kFewestRoundedRows = 16;

// Without a unit, the machine's. REQUIRES that it is available.
void attend_bf16(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs,
                 std::optional<Bf16Unit> unit = {});

}  // namespace plumb
