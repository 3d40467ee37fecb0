#include "core/base/initial_state.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/check.h"
#include "core/base/rng.h"

namespace plumb {
namespace {

struct KindRow {
  InitialStateKind kind;
  std::string_view name;
};

constexpr std::array<KindRow, 5> kKinds = {{
    {InitialStateKind::kLikeInit, "like-init"},
    {InitialStateKind::kZero, "zero"},
    {InitialStateKind::kNormal, "normal"},
    {InitialStateKind::kEmbed, "embed"},
    {InitialStateKind::kUnit, "unit"},
}};

constexpr double kTruncation = 3.0;  // in standard deviations

bool finite_and_not_negative(double value) { return std::isfinite(value) && value >= 0.0; }

// The moments are taken of the float draws and in index order, so the row is one fixed function.
void standardise(double target_std, std::span<float> row) {
  PLUMB_CHECK(row.size() >= 2);
  double sum = 0.0;
  for (const float value : row) sum += value;
  const double mean = sum / static_cast<double>(row.size());
  double squares = 0.0;
  for (const float value : row) squares += (value - mean) * (value - mean);
  const double factor = target_std / std::sqrt(squares / static_cast<double>(row.size() - 1));
  for (float& value : row) value = static_cast<float>((value - mean) * factor);
}

}  // namespace

std::string_view initial_state_name(InitialStateKind kind) {
  for (const KindRow& row : kKinds)
    if (row.kind == kind) return row.name;
  PLUMB_CHECK(false && "initial state kind without a table row");
  std::abort();
}

std::optional<InitialStateKind> parse_initial_state(std::string_view name) {
  for (const KindRow& row : kKinds)
    if (row.name == name) return row.kind;
  return std::nullopt;
}

std::string initial_state_names() {
  std::string names;
  for (const KindRow& row : kKinds) names.append(names.empty() ? "" : ", ").append(row.name);
  return names;
}

void fill_initial_row(InitialStateKind kind, uint64_t seed, uint32_t row, uint32_t position,
                      const InitialStateScale& scale, std::span<float> out) {
  PLUMB_CHECK(finite_and_not_negative(scale.std) && finite_and_not_negative(scale.emb_scale) &&
              finite_and_not_negative(scale.init_scale));
  const DrawKey key{
      .seed = seed, .stream = RngStream::kInitialState, .row = row, .position = position};
  if (scale.init_scale == 0.0) kind = InitialStateKind::kZero;
  switch (kind) {
    case InitialStateKind::kLikeInit:
      return fill_truncated_normal(key, scale.std * scale.init_scale * scale.emb_scale, kTruncation,
                                   out);
    case InitialStateKind::kZero:
      std::ranges::fill(out, 0.0F);
      return;
    case InitialStateKind::kNormal:
      return fill_normal(key, scale.init_scale, out);
    case InitialStateKind::kEmbed:
      return fill_normal(key, scale.init_scale / std::sqrt(static_cast<double>(out.size())), out);
    case InitialStateKind::kUnit:
      fill_normal(key, 1.0, out);
      return standardise(scale.init_scale, out);
  }
}

}  // namespace plumb
