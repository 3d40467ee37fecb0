// Provenance: what a number came from. Content hashes, this machine, the time.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/store/records.h"
#include "core/store/utc.h"  // utc_now()

namespace plumb {

// SHA-256 as 64 lower-case hex digits. Files are streamed: memory does not grow with their size.
std::string sha256_of_text(std::string_view bytes);
Result<std::string> sha256_of_file(const std::filesystem::path& path);
// One hash for several files (weight shards, config): the hash of the lines "<sha256>  <name>\n" in
// the order of their file names, as `sha256sum` prints them. Names without their directories, so a
// copied model keeps its hash. An error when `paths` is empty or two share a name.
Result<std::string> sha256_of_files(std::vector<std::filesystem::path> paths);

std::string host_name();  // "unknown" when the system does not say
std::string cpu_model();  // "Intel(R) Xeon(R) ..."; "unknown" likewise

// The content keys of the results file: sha256 of the canonical JSON (core/store/records.h).
std::string point_key_hash(const PointRecord& point);
std::string trajectory_key_hash(const TrajectoryRecord& trajectory);

// A run record with everything that this process knows: host, CPU, time comes from the writer.
RunRecord describe_run(std::string verb, std::string binary_version, std::vector<std::string> argv,
                       int64_t n_threads, std::string spec_json);

}  // namespace plumb
