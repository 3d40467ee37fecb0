// JSON files in which a repeated key is an error: which of the two was meant cannot be known, and
// parsers silently keep one.
#pragma once

#include <filesystem>

#include "core/base/json.h"
#include "core/base/result.h"

namespace plumb {

Result<Json> read_unique_json_file(const std::filesystem::path& path, size_t max_bytes);

}  // namespace plumb
