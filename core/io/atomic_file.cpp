#include "core/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace plumb {
namespace fs = std::filesystem;

Result<AtomicFile> AtomicFile::create(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (fs::is_directory(status))
    return input_error("{}: is a directory, expected a file to write", path.string());
  const fs::path resolved = fs::exists(status) ? fs::canonical(path, code) : path;
  const std::string target = (code ? path : resolved).string();
  const bool direct = fs::exists(status) && !fs::is_regular_file(status);
  // The process id keeps two programs that write the same file apart.
  const std::string temporary = direct ? "" : fmt::format("{}.{}.partial", target, ::getpid());
  const int flags = direct ? O_WRONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  const int fd = ::open((direct ? target : temporary).c_str(), flags, 0666);
  if (fd < 0) {
    const ErrorKind kind =
        errno == ENOENT || errno == ENOTDIR ? ErrorKind::kInput : ErrorKind::kWork;
    return Error{kind, fmt::format("{}: cannot be created: {}", target, std::strerror(errno))};
  }
  return AtomicFile(fd, target, temporary);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(other.fd_), target_(std::move(other.target_)), temporary_(std::move(other.temporary_)) {
  other.fd_ = -1;
}

AtomicFile::~AtomicFile() { abandon(); }

void AtomicFile::abandon() {
  if (fd_ < 0) return;
  ::close(fd_);
  fd_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  PLUMB_CHECK(fd_ >= 0);
  constexpr size_t kChunk = size_t{1} << 30;  // one write() takes at most about 2 GiB
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), std::min(bytes.size(), kChunk));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const std::string reason = std::strerror(errno);
      abandon();
      return work_error("{}: writing failed: {}", target_, reason);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return ok_status();
}

Status AtomicFile::commit() {
  PLUMB_CHECK(fd_ >= 0);
  // A device or pipe need not support fsync; a file has to.
  bool failed = !temporary_.empty() && ::fsync(fd_) != 0;
  std::string reason = failed ? std::strerror(errno) : "";
  if (!failed && !temporary_.empty() && ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    failed = true;
    reason = std::strerror(errno);
  }
  if (failed) {
    abandon();
    return work_error("{}: cannot be completed: {}", target_, reason);
  }
  ::close(fd_);
  fd_ = -1;
  return ok_status();
}

}  // namespace plumb
