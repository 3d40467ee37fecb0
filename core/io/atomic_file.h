// AtomicFile: a file that appears complete or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace plumb {

// Bytes go to a temporary file in the same folder; commit() flushes it to disk and renames it.
// Destroyed without commit, it leaves nothing behind. A symbolic link is followed; a target that is
// a device or a pipe is written directly.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& path);

  // Failures (a full disk, ...) name the file, are of kind kWork, and remove the temporary.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  Status commit();

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

 private:
  AtomicFile(int fd, std::string target, std::string temporary)
      : fd_(fd), target_(std::move(target)), temporary_(std::move(temporary)) {}
  void abandon();

  int fd_;
  std::string target_;
  std::string temporary_;  // empty: the target itself is being written
};

}  // namespace plumb
