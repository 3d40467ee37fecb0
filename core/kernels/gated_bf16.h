// A gated feed-forward whose wide middle never leaves the caches as f32.
#pragma once

#include "core/kernels/matmul_bf16.h"

namespace plumb {

// Whether this machine (by tiles or dots) and these widths can: gate and up must begin with a panel
// of their own.
bool can_gate_bf16(size_t n_rows, const PackedMatrix& gate_up);

// y = hidden D^T with hidden = silu(x G^T) * (x U^T), where gate_up holds the rows of G, then those
// of U. The same bits as matmul_bf16, silu_gate and matmul_bf16 one after the other.
// REQUIRES can_gate_bf16; down.n_in() is half of gate_up.n_out(); y may be x.
void gated_bf16(Team& team, MatView<const float> x, const PackedMatrix& gate_up,
                const PackedMatrix& down, MatView<float> y, MatmulMode mode = MatmulMode::kReplace);

}  // namespace plumb
