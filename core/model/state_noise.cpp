#include "core/model/state_noise.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/rng.h"

namespace plumb {

std::optional<StateNoise::Kind> parse_noise_kind(std::string_view name) {
  for (const auto& [kind, text] : kNoiseKinds)
    if (text == name) return kind;
  return std::nullopt;
}

double noise_share(StateNoise::Kind kind, double level, int step, int mean_recurrence, double uniform) {
  switch (kind) {
    case StateNoise::Kind::kNone: return 0;
    case StateNoise::Kind::kGeom: return level / (step + 1);
    case StateNoise::Kind::kSqrt: return level / std::sqrt(step + 1.0);
    case StateNoise::Kind::kLine:
      return std::max(level, static_cast<double>(mean_recurrence - step) / mean_recurrence);
    case StateNoise::Kind::kChi: return 2 * level * uniform;
    case StateNoise::Kind::kFixed: return level;
  }
  return 0;
}

void mix_noise(std::span<float> x, std::span<const float> z, double share) {
  const auto keep = static_cast<float>(1 - share), add = static_cast<float>(share);
  for (size_t i = 0; i < x.size(); ++i) x[i] = keep * x[i] + add * z[i];
}

void add_state_noise(const StateNoise& noise, double level, int mean_recurrence, const Batch& batch,
                     MatView<float> state) {
  std::vector<float> z(state.cols());
  for (const Group& group : batch.groups) {
    for (size_t i = 0; i < group.n_rows; ++i) {
      const DrawKey key{.seed = noise.seed,
                        .stream = RngStream::kNoise,
                        .row = group.sequence,
                        .position = static_cast<uint32_t>(group.first_pos) + static_cast<uint32_t>(i),
                        .step = static_cast<uint32_t>(group.step)};
      // The scale factor of `chi` is one draw for all tokens of a step, as in the reference.
      DrawKey shared = key;
      shared.row = shared.position = 0;
      const double u = uniform_double(shared, uint64_t{1} << 32);
      fill_normal(key, 1.0, z);
      mix_noise(state.row_span(group.first_row + i), z,
                noise_share(noise.kind, level, group.step, mean_recurrence, u));
    }
  }
}

}  // namespace plumb
