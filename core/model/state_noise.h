// Test-time noise on the state before the adapter of a step (raven.md 6.7).
//   x <- (1 - a) x + a z, z ~ N(0, 1), n = amount * std * emb_scale, step i0 from 0:
//   geom n/(i0+1) | sqrt n/sqrt(i0+1) | line max(n, (mean - i0)/mean) | chi 2 n u, u ~ U(0,1) once a call | fixed n
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "core/base/mat.h"
#include "core/model/recurrent_model.h"

namespace plumb {

inline constexpr std::array<std::pair<StateNoise::Kind, std::string_view>, 6> kNoiseKinds = {{
    {StateNoise::Kind::kNone, "none"},
    {StateNoise::Kind::kGeom, "geom"},
    {StateNoise::Kind::kSqrt, "sqrt"},
    {StateNoise::Kind::kLine, "line"},
    {StateNoise::Kind::kChi, "chi"},
    {StateNoise::Kind::kFixed, "fixed"},
}};
std::optional<StateNoise::Kind> parse_noise_kind(std::string_view name);

// The share a of noise at step i0. `level` is n above; `uniform` in [0, 1) is read by chi only.
double noise_share(StateNoise::Kind kind, double level, int step, int mean_recurrence, double uniform);

// x <- (1 - share) x + share z
void mix_noise(std::span<float> x, std::span<const float> z, double share);

// Draws z as a function of (noise.seed, position, step) and mixes it into the rows of `state`.
void add_state_noise(const StateNoise& noise, double level, int mean_recurrence, const Batch& batch,
                     MatView<float> state);

}  // namespace plumb
