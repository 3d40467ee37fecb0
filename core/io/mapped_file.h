// MappedFile: the bytes of one regular file, read-only, without copying them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "core/base/result.h"

namespace plumb {

// The mapping lives as long as the object. A file that another program shortens meanwhile is the
// one thing this cannot guard against.
class MappedFile {
 public:
  // Refuses missing, unreadable and empty files, directories, pipes and devices.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_;
  size_t size_;
};

}  // namespace plumb
