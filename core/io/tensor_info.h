// TensorInfo: one stored tensor, seen as bytes in place; and reading it as f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/result.h"

namespace plumb {

// `data` points into a mapped file (or a gathered copy) that the owner of this record, usually a
// Checkpoint, keeps alive; it may be unaligned.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // every extent >= 0; product * dtype_bytes == bytes
  const std::byte* data = nullptr;
  size_t bytes = 0;
  std::string file;  // for messages

  size_t element_count() const;
};

// "[2, 3]"
std::string shape_text(std::span<const int64_t> shape);

// A name from outside, safe to print: in double quotes, control characters escaped, shortened
// when very long.
std::string quote_name(std::string_view name);

// "a, b, c", or "a, b, c and 9 more" when there are many.
std::string listed_names(const std::vector<std::string>& names);

// The bytes of a dense tensor; nothing when an extent is negative or the product overflows.
std::optional<size_t> checked_byte_count(std::span<const int64_t> shape, size_t item_bytes);

// All elements widened (F64: rounded) to f32, in storage order. An integer tensor is an error.
Result<std::vector<float>> read_f32(const TensorInfo& tensor);

// A tensor read out of a file by name, as `--state FILE.safetensors:NAME` asks for it.
struct LoadedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> data;  // product of shape, row-major
  std::string where;        // "FILE.safetensors:NAME", for messages
};

// `spec` is FILE.safetensors:NAME; the file ends at the first ".safetensors:", so both parts may
// hold colons. Any floating type is widened.
Result<LoadedTensor> load_named_tensor(std::string_view spec);

}  // namespace plumb
