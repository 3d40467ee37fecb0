// Small files for the tests of core/io: a folder that removes itself, and safetensors files written
// byte by byte so that they can be wrong in one place.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace plumb::testing {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "plumb_io_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

template <class T>
std::string raw(std::vector<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  return raw<uint64_t>({header.size()}) + header + data;
}

// {"NAME": {"dtype": ..., "shape": ..., "data_offsets": [begin, end]}} without the outer braces.
inline std::string entry(const std::string& name, const std::string& dtype,
                         const std::string& shape, const std::string& begin,
                         const std::string& end) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":[)" + begin + "," + end + "]}";
}

// One F32 tensor of `values` called `name`.
inline std::string one_tensor(const std::string& name, const std::vector<float>& values) {
  const std::string n = std::to_string(values.size()), end = std::to_string(4 * values.size());
  return safetensors_bytes("{" + entry(name, "F32", "[" + n + "]", "0", end) + "}", raw(values));
}

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "(no error)" : result.error().message;
}

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(PLUMB_SOURCE_DIR) / "tests/goldens/pt" / name;
}

}  // namespace plumb::testing
