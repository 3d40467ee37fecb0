#include "core/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace plumb {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  const std::string name = path.string();
  // O_NONBLOCK: opening a pipe that nobody writes to would otherwise wait for ever.
  const Descriptor file(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT) return input_error("{}: no such file", name);
    return input_error("{}: cannot be opened for reading: {}", name, std::strerror(errno));
  }
  struct stat info = {};
  if (::fstat(file.get(), &info) != 0)
    return input_error("{}: cannot be examined: {}", name, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) return input_error("{}: is a directory, expected a file", name);
  if (!S_ISREG(info.st_mode)) return input_error("{}: is not a regular file", name);
  if (info.st_size == 0) return input_error("{}: is empty (0 bytes)", name);
  const size_t size = static_cast<size_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (data == MAP_FAILED)
    return work_error("{}: {} bytes cannot be mapped: {}", name, size, std::strerror(errno));
  return std::shared_ptr<const MappedFile>(
      new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(data_), size_); }

}  // namespace plumb
