#include "core/model/rope_evidence.h"

#include <algorithm>
#include <cmath>

namespace plumb {
namespace {

enum class Kind { kCos, kSin, kFrequencies };

std::optional<Kind> kind_of(std::string_view name) {
  if (name.ends_with("cos") || name.ends_with("cos_cached")) return Kind::kCos;
  if (name.ends_with("sin") || name.ends_with("sin_cached")) return Kind::kSin;
  if (name.ends_with("inv_freq")) return Kind::kFrequencies;
  return std::nullopt;
}

float value_at(Kind kind, float frequency) {
  if (kind == Kind::kCos) return std::cos(frequency);
  return kind == Kind::kSin ? std::sin(frequency) : frequency;
}

// The angles of position 1 are the frequencies themselves: one number a pair.
struct TableRow {
  std::vector<float> values;  // [head_dim / 2]
  std::optional<RopeLayout> layout;
};

// Row 1 of [n, d/2] or [n, d] (extents of 1 aside), or the [d/2] frequencies.
Result<TableRow> read_row(const TensorInfo& tensor, Kind kind, size_t half) {
  std::vector<int64_t> shape;
  for (const int64_t extent : tensor.shape)
    if (extent != 1) shape.push_back(extent);
  const auto width = shape.empty() ? size_t{0} : static_cast<size_t>(shape.back());
  const bool fits = kind == Kind::kFrequencies ? shape.size() == 1 && width == half
                                               : shape.size() == 2 && shape[0] >= 2 && (width == half || width == 2 * half);
  if (!fits || !is_floating(tensor.dtype))
    return input_error("{}: buffer {} is {} {}, expected a rope table [positions, {} or {}]", tensor.file,
                       quote_name(tensor.name), dtype_name(tensor.dtype), shape_text(tensor.shape), half, 2 * half);
  std::vector<float> row(width);
  const size_t skipped = kind == Kind::kFrequencies ? 0 : width * dtype_bytes(tensor.dtype);
  widen_to_f32(tensor.dtype, tensor.data + skipped, row);
  TableRow result;
  if (width == half) {
    result.values = std::move(row);
    return result;
  }
  bool halves = true, pairs = true;
  for (size_t j = 0; j < half; ++j) {
    halves = halves && row[j] == row[j + half];
    pairs = pairs && row[2 * j] == row[2 * j + 1];
  }
  if (halves == pairs)
    return input_error("{}: the columns of buffer {} repeat in no known rope layout", tensor.file, quote_name(tensor.name));
  result.layout = halves ? RopeLayout::kHalfSplit : RopeLayout::kInterleaved;
  for (size_t j = 0; j < half; ++j) result.values.push_back(row[halves ? j : 2 * j]);
  return result;
}

double worst_difference(const TableRow& row, Kind kind, double theta) {
  const std::vector<float> frequencies = rope_frequencies(2 * row.values.size(), theta);
  double worst = 0;
  for (size_t j = 0; j < frequencies.size(); ++j)
    worst = std::max(worst, std::abs(static_cast<double>(row.values[j]) - value_at(kind, frequencies[j])));
  return worst;
}

// The theta of a list of usual ones whose row 1 this is; else solved from a sine or a frequency.
Result<double> theta_of(const TableRow& row, const TensorInfo& tensor, Kind kind, double expected) {
  // Half a unit in the last place of a value below 1, with room for a differently rounded power.
  const double tolerance = tensor.dtype == DType::kBF16 ? 4.0e-3 : tensor.dtype == DType::kF16 ? 5.0e-4 : 1.0e-6;
  double best = 0, best_difference = tolerance;
  for (const double theta : {expected, 1e4, 5e4, 1e5, 5e5, 1e6, 1e3, 2e4, 2e5, 2.5e5, 1e7}) {
    const double difference = worst_difference(row, kind, theta);
    if (difference < best_difference) {
      best = theta;
      best_difference = difference;
    }
  }
  if (best > 0) return best;
  const size_t last = row.values.size() - 1;
  if (kind != Kind::kCos && last > 0 && row.values[last] > 0 && row.values[last] < 1) {
    const double frequency = kind == Kind::kSin ? std::asin(row.values[last]) : row.values[last];
    const double theta = std::pow(frequency, -static_cast<double>(row.values.size()) / static_cast<double>(last));
    if (worst_difference(row, kind, theta) < tolerance) return theta;
  }
  return input_error("{}: buffer {} is no rope table of any theta that was tried; name a namemap that drops it",
                     tensor.file, quote_name(tensor.name));
}

}  // namespace

bool is_rope_or_mask_buffer(std::string_view name) {
  return kind_of(name).has_value() || name.ends_with("freqs_cis") || name.ends_with("mask");
}

Result<std::optional<RopeEvidence>> find_rope_evidence(const Checkpoint& checkpoint, int head_dim, double expected_theta) {
  std::optional<RopeEvidence> evidence;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const auto kind = kind_of(tensor.name);
    if (!kind) continue;
    PLUMB_ASSIGN(const TableRow row, read_row(tensor, *kind, static_cast<size_t>(head_dim) / 2));
    RopeEvidence found;
    found.source = tensor.name;
    PLUMB_ASSIGN(found.theta, theta_of(row, tensor, *kind, expected_theta));
    found.layout = row.layout;
    found.bf16 = *kind != Kind::kFrequencies && tensor.dtype == DType::kBF16;
    if (!evidence) {
      evidence = found;
      continue;
    }
    if (evidence->theta != found.theta || (evidence->layout && found.layout && evidence->layout != found.layout))
      return input_error("{}: buffers {} and {} disagree about theta or layout; drop them with a namemap and "
                         "say rope_theta, rope_theta_global and rope_layout in the config",
                         tensor.file, quote_name(evidence->source), quote_name(found.source));
    if (!evidence->layout) evidence->layout = found.layout;
    evidence->bf16 = evidence->bf16 || found.bf16;
  }
  return evidence;
}

}  // namespace plumb
