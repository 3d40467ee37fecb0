#include "core/model/weights.h"

#include <algorithm>
#include <array>

#include "core/kernels/matmul_bf16.h"

namespace plumb {
namespace {

constexpr std::array<std::pair<Precision, const char*>, 3> kPrecisions = {{
    {Precision::kF32, "f32"}, {Precision::kBF16, "bf16"}, {Precision::kI8, "int8"}}};

}  // namespace

const char* precision_name(Precision precision) {
  for (const auto& [value, name] : kPrecisions)
    if (value == precision) return name;
  return "?";
}

std::optional<Precision> parse_precision(std::string_view name) {
  for (const auto& [value, text] : kPrecisions)
    if (name == text) return value;
  return std::nullopt;
}

void Linear::apply(Team& team, MatView<const float> x, MatView<float> y, MatmulMode mode) const {
  if (!round_inputs) return matmul(team, x, w, y, mode);
  matmul_bf16(team, x, w, y, mode);
}

Result<const TensorInfo*> WeightLoader::tensor(const std::string& name,
                                               std::initializer_list<int64_t> shape) {
  const TensorInfo* found = checkpoint_->find(name);
  if (found == nullptr)
    return input_error("{}: tensor \"{}\" is missing, expected shape {}", checkpoint_->display_name(),
                       name, shape_text({shape.begin(), shape.size()}));
  if (!std::equal(found->shape.begin(), found->shape.end(), shape.begin(), shape.end()))
    return input_error("{}: tensor \"{}\" has shape {}, expected {}", found->file, name,
                       shape_text(found->shape), shape_text({shape.begin(), shape.size()}));
  if (!is_floating(found->dtype))
    return input_error("{}: tensor \"{}\" is {}, expected a floating type", found->file, name,
                       dtype_name(found->dtype));
  used_.insert(name);
  return found;
}

Result<std::vector<float>> WeightLoader::vector(const std::string& name,
                                                std::initializer_list<int64_t> shape) {
  PLUMB_ASSIGN(const TensorInfo* info, tensor(name, shape));
  return read_f32(*info);
}

WeightType WeightLoader::packed_type(const TensorInfo& info) const {
  if (precision_ == Precision::kI8) return WeightType::kI8;
  if (precision_ == Precision::kBF16) return WeightType::kBF16;
  return info.dtype == DType::kBF16 ? WeightType::kBF16 : WeightType::kF32;
}

Result<Linear> WeightLoader::linear(const std::string& name, int64_t n_out, int64_t n_in) {
  return stacked({{name, n_out}}, n_in);
}

Result<Linear> WeightLoader::stacked(const std::vector<std::pair<std::string, int64_t>>& names,
                                     int64_t n_in) {
  std::vector<const TensorInfo*> parts;
  int64_t n_out = 0;
  WeightType type = WeightType::kBF16;
  for (const auto& [name, rows] : names) {
    PLUMB_ASSIGN(const TensorInfo* info, tensor(name, {rows, n_in}));
    parts.push_back(info);
    n_out += rows;
    if (packed_type(*info) != WeightType::kBF16) type = packed_type(*info);
  }
  Linear linear{PackedMatrix(type, static_cast<size_t>(n_out), static_cast<size_t>(n_in)),
                precision_ == Precision::kBF16};
  const size_t panels = linear.w.panel_count();
  const size_t row_bytes_in = static_cast<size_t>(n_in);
  team_->run(panels, [&](size_t panel) {
    std::vector<float> row(row_bytes_in);
    for (size_t lane = 0; lane < PackedMatrix::kPanel; ++lane) {
      size_t out = panel * PackedMatrix::kPanel + lane, local = out, part = 0;
      if (out >= linear.w.n_out()) break;
      while (local >= static_cast<size_t>(parts[part]->shape[0]))
        local -= static_cast<size_t>(parts[part++]->shape[0]);
      const TensorInfo& info = *parts[part];
      widen_to_f32(info.dtype, info.data + local * row_bytes_in * dtype_bytes(info.dtype), row);
      linear.w.set_row(out, row);
    }
  });
  return linear;
}

Status WeightLoader::finish() const {
  std::vector<std::string> extra;
  for (const TensorInfo& info : checkpoint_->tensors())
    if (!used_.contains(info.name)) extra.push_back(info.name);
  if (extra.empty()) return ok_status();
  std::string list;
  for (size_t i = 0; i < extra.size() && i < 5; ++i) list += (i > 0 ? ", " : "") + extra[i];
  if (extra.size() > 5) list += fmt::format(" and {} more", extra.size() - 5);
  return input_error("{}: {} tensor(s) that this family does not have: {}",
                     checkpoint_->display_name(), extra.size(), list);
}

void embed_rows(const PackedMatrix& table, std::span<const int32_t> ids, float scale,
                MatView<float> out) {
  for (size_t i = 0; i < ids.size(); ++i) {
    PLUMB_CHECK(ids[i] >= 0 && static_cast<size_t>(ids[i]) < table.n_out());
    table.get_row(static_cast<size_t>(ids[i]), out.row_span(i));
    if (scale != 1.0F)
      for (float& value : out.row_span(i)) value *= scale;
  }
}

}  // namespace plumb
