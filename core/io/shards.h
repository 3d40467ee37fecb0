// A checkpoint in several safetensors files, as its index describes it.
#pragma once

#include <filesystem>
#include <vector>

#include "core/base/result.h"
#include "core/io/safetensors.h"

namespace plumb {

// Opens every shard named by `index` ({"weight_map": {tensor: shard file}}), sorted by file name.
// The index and the shards must agree on every tensor, in both directions; a shard is a plain
// relative path below the folder of the index.
Result<std::vector<SafetensorsFile>> open_shards(const std::filesystem::path& index);

}  // namespace plumb
