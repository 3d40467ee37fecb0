// safetensors files: read in place, written whole or not at all.
//
//   8 bytes        n bytes             rest
//   [ u64 n, LE ][ JSON header      ][ data                    ]
//                  name -> dtype, shape, data_offsets [begin, end) into data
//
// As strict as the format's reference reader: no duplicate name, no overlap, no hole, no byte left
// over, shape * item size == byte length.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/result.h"
#include "core/io/mapped_file.h"
#include "core/io/tensor_info.h"

namespace plumb {

struct SafetensorsFile {
  std::vector<TensorInfo> tensors;              // sorted by name; they point into `file`
  std::map<std::string, std::string> metadata;  // "__metadata__"
  std::shared_ptr<const MappedFile> file;

  const TensorInfo* find(std::string_view name) const;  // null when absent
};

Result<SafetensorsFile> open_safetensors(const std::filesystem::path& path);

// The same for bytes in memory (`file` stays null). The tensors refer to `bytes`; `where` names
// the source in messages.
Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& where);

// What the header says, before any of it is held against the data.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in file order
  std::map<std::string, std::string> metadata;
};
Result<SafetensorsHeader> parse_safetensors_header(std::string_view json, const std::string& where);

// A tensor to be written. REQUIRES bytes.size() == product of shape * item size.
struct NamedTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // refers to the caller's memory
};

template <class T>
NamedTensor named_tensor(std::string name, DType dtype, std::vector<int64_t> shape,
                         std::span<const T> values) {
  return {std::move(name), dtype, std::move(shape), std::as_bytes(values)};
}
inline NamedTensor f32_tensor(std::string name, std::vector<int64_t> shape,
                              std::span<const float> values) {
  return named_tensor(std::move(name), DType::kF32, std::move(shape), values);
}

// Writes beside `path` first and renames at the end, so that a failure (full disk, ...) leaves
// what was there before. Tensors are stored widest type first, then by name, so every one of them
// is aligned. A repeated name is an error.
Status write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace plumb
