// ZipReader: the stored (uncompressed) records of a zip file, in place.
//
// Only what torch.save writes is read; everything else is refused. The central directory is
// believed, a local header is held against it: local headers of streamed files carry no sizes.
//
//   [local header, name, padding][data][descriptor] ... [central directory][end record]
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace plumb {

struct ZipEntry {
  std::string name;
  size_t begin = 0;  // of the data, from the start of the file
  size_t size = 0;
  uint32_t crc = 0;
};

class ZipReader {
 public:
  // Refuses compression, encryption, several disks, repeated names, ranges outside the file or
  // over each other. REQUIRES `bytes` outlives the reader. `where` names the file in messages.
  static Result<ZipReader> open(std::span<const std::byte> bytes, const std::string& where);

  std::span<const ZipEntry> entries() const { return entries_; }  // sorted by name
  const ZipEntry* find(std::string_view name) const;              // null when absent

  // The record's data, after its CRC-32 was verified.
  Result<std::span<const std::byte>> read(const ZipEntry& entry, bool check_crc = true) const;

 private:
  ZipReader(std::span<const std::byte> bytes, std::string where)
      : bytes_(bytes), where_(std::move(where)) {}

  std::span<const std::byte> bytes_;
  std::string where_;
  std::vector<ZipEntry> entries_;
};

// The CRC-32 of zip files (polynomial 0xEDB88320).
uint32_t crc32(std::span<const std::byte> bytes);

}  // namespace plumb
