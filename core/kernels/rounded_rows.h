// The two halves of matmul_bf16 (core/kernels/matmul_bf16.h), for what has its rounded rows
// already.
#pragma once

#include "core/kernels/matmul_bf16.h"

namespace plumb {

// x rounded and laid out for dots or tiles (core/kernels/bf16_units.h), in whole tiles of rows;
// those that x does not have are left unspecified.
void round_inputs(Team& team, MatView<const float> x, size_t depth, Bf16Unit unit,
                  Mat<BF16>& rounded);

// y [n_rows, w.n_out] from rows that round_inputs laid out for `unit` and depth w.padded_in().
void multiply_rounded(Team& team, MatView<const BF16> x, size_t n_rows, const PackedMatrix& w,
                      MatView<float> y, MatmulMode mode, Bf16Unit unit);

}  // namespace plumb
