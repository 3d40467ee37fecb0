// Test-time noise against the reference's formulas, with its own random numbers.
#include "core/model/state_noise.h"

#include <set>

#include "core/kernels/elementwise.h"
#include "tests/support/golden.h"

namespace plumb {
namespace {

using test::expect_close;
using test::golden;

// What the reference's run was set to (tests/goldens/raven/README.md).
constexpr double kAmount = 0.5, kStd = 0.11180339887498948, kScale = 5.656854249492381;
constexpr double kUniform = 0.25;
constexpr int kMeanRecurrence = 8;
constexpr size_t kRows = 3, kWidth = 32;

TEST(StateNoise, EveryKindAtEveryStepIsTheReferences) {
  const auto x = golden("raven/noise.safetensors", "x");
  const auto z = golden("raven/noise.safetensors", "z");
  const auto norm = golden("raven/noise.safetensors", "norm_4_weight");
  int compared = 0;
  for (const auto& [kind, name] : kNoiseKinds) {
    if (kind == StateNoise::Kind::kNone) continue;
    for (const int step : {0, 3, 7}) {
      const std::string key = fmt::format("{}_{}", name, step);
      SCOPED_TRACE(key);
      Mat<float> mixed(kRows, kWidth);
      std::copy(x.data.begin(), x.data.end(), mixed.data());
      const double share =
          noise_share(kind, kAmount * kStd * kScale, step, kMeanRecurrence, kUniform);
      for (size_t r = 0; r < kRows; ++r)
        mix_noise(mixed.view().row_span(r), std::span(z.data).subspan(r * kWidth, kWidth), share);
      const auto bare = golden("raven/noise.safetensors", key + "_norenorm");
      expect_close({mixed.data(), mixed.size()}, bare.data, 1e-6, 1e-6);
      Mat<float> normed(kRows, kWidth);
      rms_norm(mixed, norm.data, 1e-6F, normed);
      expect_close({normed.data(), normed.size()}, golden("raven/noise.safetensors", key).data,
                   2e-6, 2e-6);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 15);
}

TEST(StateNoise, NamesRoundTripAndNothingElseParses) {
  std::set<std::string_view> names;
  for (const auto& [kind, name] : kNoiseKinds) {
    EXPECT_EQ(parse_noise_kind(name), kind);
    names.insert(name);
  }
  EXPECT_EQ(names.size(), kNoiseKinds.size());
  EXPECT_FALSE(parse_noise_kind("gauss"));
}

}  // namespace
}  // namespace plumb
