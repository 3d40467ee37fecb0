// A gated feed-forward whose wide middle is made a few panels at a time, so that gates and ups are
// multiplied where they were computed and never written out.
#pragma once

#include "core/kernels/matmul.h"

namespace plumb {

// Whether gate and up begin with a panel of their own.
bool can_gate(const PackedMatrix& gate_up);

// y = hidden D^T with hidden [rows, down.n_in()] = silu(x G^T) * (x U^T), where gate_up holds the
// rows of G, then those of U. The same bits as matmul, silu_gate and matmul one after the other.
// REQUIRES can_gate; down.n_in() is half of gate_up.n_out(); y may be x.
void gated(Team& team, MatView<const float> x, const PackedMatrix& gate_up, const PackedMatrix& down,
           MatView<float> hidden, MatView<float> y, MatmulMode mode = MatmulMode::kReplace);

}  // namespace plumb
