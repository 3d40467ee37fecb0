// The pieces of a block that are not matrix products. Rows are tokens; every row is computed by
// itself in a fixed order, so results depend neither on threads nor on batching.
#pragma once

#include <span>

#include "core/base/mat.h"

namespace plumb {

// y = x * (mean(x^2) + eps)^(-1/2) * weight, row by row. y may be x.
// The normalised value is rounded to f32 before the weight multiplies it (raven.md 3.1).
void rms_norm(MatView<const float> x, std::span<const float> weight, float eps, MatView<float> y);

// y = (x - mean) / sqrt(biased variance + eps) * weight + bias. y may be x.
void layer_norm(MatView<const float> x, std::span<const float> weight, std::span<const float> bias,
                float eps, MatView<float> y);

// y += x
void add_row(std::span<const float> x, std::span<float> y);
void add_in_place(MatView<float> y, MatView<const float> x);

// Gated feed-forward: out[c] = silu(gate_up[c]) * gate_up[width + c]; gate_up [rows, 2 * width].
void silu_gate(MatView<const float> gate_up, MatView<float> out);
// y = silu(x) * y
void silu_multiply(MatView<const float> x, MatView<float> y);

float dot(std::span<const float> a, std::span<const float> b);

}  // namespace plumb
