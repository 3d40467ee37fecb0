// Stored expectations, and the comparison with a stated tolerance that names the worst cell.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "core/io/tensor_info.h"

namespace plumb::test {

inline std::string golden_path(const std::string& name) { return std::string(PLUMB_SOURCE_DIR "/tests/goldens/") + name; }

inline LoadedTensor golden(const std::string& file, const std::string& tensor) {
  auto loaded = load_named_tensor(golden_path(file) + ":" + tensor);
  if (!loaded.ok()) {
    ADD_FAILURE() << loaded.error().message;
    return {};
  }
  return std::move(loaded).value();
}

// |got - want| <= atol + rtol |want| everywhere.
inline void expect_close(std::span<const float> got, std::span<const float> want, double atol, double rtol) {
  ASSERT_EQ(got.size(), want.size());
  double worst = -1;
  size_t at = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double excess = std::fabs(static_cast<double>(got[i]) - want[i]) - atol - rtol * std::fabs(want[i]);
    if (!(excess <= worst)) worst = excess, at = i;
  }
  EXPECT_LE(worst, 0) << "element " << at << ": " << got[at] << ", expected " << want[at];
}

}  // namespace plumb::test
