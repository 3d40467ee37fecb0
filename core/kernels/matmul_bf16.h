// y = bf16(x) W^T for weights packed as bf16: inputs rounded to bf16, products summed in f32
// (--dtype bf16). The order of the sums is the hardware's, so another machine, or another number of
// rows, may differ in the last bits; nothing depends on threads.
#pragma once

#include <optional>
#include <string_view>

#include "core/kernels/bf16_units.h"
#include "core/kernels/matmul.h"

namespace plumb {

std::string_view bf16_unit_name(Bf16Unit unit);  // "widen", "dots", "tiles"
bool available(Bf16Unit unit);

// x [rows, n_in], y [rows, n_out]. REQUIRES w.type() == kBF16; x and y do not overlap; `unit`,
// where given, is available.
void matmul_bf16(Team& team, MatView<const float> x, const PackedMatrix& w, MatView<float> y,
                 MatmulMode mode = MatmulMode::kReplace, std::optional<Bf16Unit> unit = {});

// target[i] = bf16(source[i]), rounded to nearest even.
void round_row_to_bf16(std::span<const float> source, BF16* target);

}  // namespace plumb
