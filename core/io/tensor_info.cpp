#include "core/io/tensor_info.h"

#include <algorithm>
#include <limits>
#include <new>

#include "core/io/safetensors.h"

namespace plumb {
namespace {

constexpr size_t kLongestPrintedName = 160;
constexpr std::string_view kSuffix = ".safetensors";

std::string tensor_names(std::span<const TensorInfo> tensors) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < tensors.size() && i < kShown; ++i)
    text += (i == 0 ? "" : ", ") + quote_name(tensors[i].name);
  if (tensors.size() > kShown) text += fmt::format(" and {} more", tensors.size() - kShown);
  return text.empty() ? "no tensors" : text;
}

}  // namespace

size_t TensorInfo::element_count() const { return bytes / dtype_bytes(dtype); }

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

std::string quote_name(std::string_view name) {
  std::string text = "\"";
  for (const char c : name.substr(0, kLongestPrintedName)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F)
      text += fmt::format("\\x{:02x}", byte);
    else
      text += c;
  }
  if (name.size() > kLongestPrintedName) text += "...";
  return text + "\"";
}

std::string listed_names(const std::vector<std::string>& names) {
  constexpr size_t kShown = 20;
  std::string text;
  for (size_t i = 0; i < names.size() && i < kShown; ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

std::optional<size_t> checked_byte_count(std::span<const int64_t> shape, size_t item_bytes) {
  if (std::any_of(shape.begin(), shape.end(), [](int64_t n) { return n < 0; })) return std::nullopt;
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  size_t bytes = item_bytes;
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(extent), &bytes)) return std::nullopt;
  return bytes;
}

Result<std::vector<float>> read_f32(const TensorInfo& tensor) {
  if (!is_floating(tensor.dtype))
    return input_error("{}: tensor {} is {}, expected a floating-point type", tensor.file,
                       quote_name(tensor.name), dtype_name(tensor.dtype));
  try {
    std::vector<float> values(tensor.element_count());
    widen_to_f32(tensor.dtype, tensor.data, values);
    return values;
  } catch (const std::bad_alloc&) {
    return work_error("{}: tensor {} needs {} bytes as f32, more memory than there is", tensor.file,
                      quote_name(tensor.name), tensor.element_count() * sizeof(float));
  }
}

Result<LoadedTensor> load_named_tensor(std::string_view spec) {
  const size_t suffix = spec.find(std::string(kSuffix) + ":");
  if (suffix == std::string_view::npos || suffix == 0)
    return input_error("{}: expected FILE.safetensors:NAME", spec);
  const std::string_view file = spec.substr(0, suffix + kSuffix.size());
  const std::string_view name = spec.substr(file.size() + 1);
  PLUMB_ASSIGN(const SafetensorsFile opened, open_safetensors(std::filesystem::path(file)));
  const auto found = std::find_if(opened.tensors.begin(), opened.tensors.end(),
                                  [&](const TensorInfo& t) { return t.name == name; });
  if (found == opened.tensors.end())
    return input_error("{}: no tensor {}; it holds {}", file, quote_name(name),
                       tensor_names(opened.tensors));
  PLUMB_ASSIGN(std::vector<float> data, read_f32(*found));
  return LoadedTensor{found->name, found->shape, std::move(data), std::string(spec)};
}

}  // namespace plumb
