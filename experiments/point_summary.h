// What a finished point is summed up to, from its chunks in the file.
#pragma once

#include <filesystem>

#include "core/base/result.h"
#include "core/store/run_writer.h"

namespace plumb {

// Interval and fingerprint come from the file, so a resumed point gets what an uninterrupted one
// would have got.
Result<PointSummary> summarise_point(const std::filesystem::path& db, int64_t point_id);

}  // namespace plumb
