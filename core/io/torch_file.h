// A .pt file written by torch.save, read as data: the zip container, the pickle that describes the
// tensors, and the storages. Nothing in it is ever executed or looked up.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/io/byte_arena.h"
#include "core/io/tensor_info.h"

namespace plumb {

struct TorchReadOptions {
  // Off: for files whose writer left the checksums out (torch can be told to).
  bool check_crc = true;
};

// The tensors refer to the bytes that were read, or to `arena` where a view had to be gathered.
struct TorchFile {
  std::vector<TensorInfo> tensors;  // sorted by name
  std::shared_ptr<const Json> cfg;  // the dict or Config object under "cfg"; null when absent
  std::vector<std::string> notes;
  ByteArena arena{0};
};

// Top level: a dict with "model" (name -> tensor) and perhaps "cfg", whose other entries are parsed
// and never used; or a bare dict of tensors. `where` names the file in messages.
Result<TorchFile> read_torch_file(std::span<const std::byte> bytes, const std::string& where,
                                  const TorchReadOptions& options = {});

}  // namespace plumb
