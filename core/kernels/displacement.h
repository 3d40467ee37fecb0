// How far a latent state moved: the inner products behind every state-only exit criterion.
#pragma once

#include <span>

namespace plumb {

// Sums over model_dim, in double over exact f32 inputs. D = now - then, D' = then - before.
struct Displacement {
  double now_sq = 0;    // |now|^2
  double then_sq = 0;   // |then|^2
  double dot = 0;       // <now, then>
  double delta_sq = 0;  // |D|^2
  double accel_sq = 0;  // |D - D'|^2; 0 when there is no `before`
};

// REQUIRES now.size() == then.size(); `before` the same size, or empty.
Displacement measure_displacement(std::span<const float> now, std::span<const float> then,
                                  std::span<const float> before);

}  // namespace plumb
