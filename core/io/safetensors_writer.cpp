#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/io/atomic_file.h"
#include "core/io/safetensors.h"

namespace plumb {
namespace {

constexpr size_t kAlignment = 8;

std::vector<const NamedTensor*> storage_order(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    const size_t a_bytes = dtype_bytes(a->dtype), b_bytes = dtype_bytes(b->dtype);
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
  });
  return order;
}

Status check_names(std::span<const NamedTensor> tensors, const std::string& where) {
  std::vector<std::string_view> names;
  for (const NamedTensor& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    return input_error("{}: tensor {} would be written twice", where, quote_name(*twice));
  if (std::binary_search(names.begin(), names.end(), "__metadata__"))
    return input_error("{}: \"__metadata__\" cannot be the name of a tensor", where);
  return ok_status();
}

// Written by hand, not as a tree, so that the header keeps the order of the data.
std::string header_text(const std::vector<const NamedTensor*>& order,
                        const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  if (!metadata.empty()) text += "\"__metadata__\":" + Json(metadata).dump();
  size_t begin = 0;
  for (const NamedTensor* tensor : order) {
    const size_t end = begin + tensor->bytes.size();
    text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                        text.size() > 1 ? "," : "", Json(tensor->name).dump(),
                        dtype_name(tensor->dtype), Json(tensor->shape).dump(), begin, end);
    begin = end;
  }
  text += "}";
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

}  // namespace

Status write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                         const std::map<std::string, std::string>& metadata) {
  for (const NamedTensor& tensor : tensors)
    PLUMB_CHECK(checked_byte_count(tensor.shape, dtype_bytes(tensor.dtype)) == tensor.bytes.size());
  PLUMB_RETURN_IF_ERROR(check_names(tensors, path.string()));
  const std::vector<const NamedTensor*> order = storage_order(tensors);
  std::string header;
  try {
    header = header_text(order, metadata);
  } catch (const Json::exception& e) {
    return input_error("{}: a tensor name cannot be written as JSON: {}", path.string(), e.what());
  }
  PLUMB_ASSIGN(AtomicFile file, AtomicFile::create(path));
  const uint64_t header_bytes = header.size();
  PLUMB_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(&header_bytes, 1))));
  PLUMB_RETURN_IF_ERROR(file.write(header));
  for (const NamedTensor* tensor : order) PLUMB_RETURN_IF_ERROR(file.write(tensor->bytes));
  return file.commit();
}

}  // namespace plumb
