#include "core/record/provenance.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "core/base/check.h"

namespace plumb {
namespace {

// Streaming SHA-256. The library fails only when it has no memory or no SHA-256.
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    PLUMB_CHECK(context_ != nullptr);
    PLUMB_CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void add(std::string_view bytes) {
    PLUMB_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    PLUMB_CHECK(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
    std::string text;
    for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha256_of_text(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.hex();
}

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    return input_error("{}: cannot be hashed: found no regular file", path.string());
  std::ifstream file(path, std::ios::binary);
  if (!file) return input_error("{}: cannot be hashed: not readable", path.string());
  Sha256 hash;
  std::string buffer(size_t{1} << 20, '\0');
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), file.gcount() > 0)
    hash.add(std::string_view(buffer).substr(0, static_cast<size_t>(file.gcount())));
  if (file.bad()) return work_error("{}: cannot be hashed: reading failed", path.string());
  return hash.hex();
}

Result<std::string> sha256_of_files(std::vector<std::filesystem::path> paths) {
  if (paths.empty()) return input_error("no files to hash: expected at least one");
  const auto by_name = [](const auto& a, const auto& b) { return a.filename() < b.filename(); };
  std::sort(paths.begin(), paths.end(), by_name);
  std::string lines;
  for (size_t i = 0; i < paths.size(); ++i) {
    if (i > 0 && paths[i].filename() == paths[i - 1].filename())
      return input_error("{}: found a second file of this name to hash, expected distinct names",
                         paths[i].string());
    PLUMB_ASSIGN(const std::string hash, sha256_of_file(paths[i]));
    lines += fmt::format("{}  {}\n", hash, paths[i].filename().string());
  }
  return sha256_of_text(lines);
}

std::string host_name() {
  char name[256] = "";
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "unknown";
  return name;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    if (line.find(':') != std::string::npos && value != std::string::npos)
      return line.substr(value);
  }
  return "unknown";
}

std::string point_key_hash(const PointRecord& point) {
  return sha256_of_text(point_key_json(point));
}
std::string trajectory_key_hash(const TrajectoryRecord& trajectory) {
  return sha256_of_text(trajectory_key_json(trajectory));
}

RunRecord describe_run(std::string verb, std::string binary_version, std::vector<std::string> argv,
                       int64_t n_threads, std::string spec_json) {
  RunRecord run;
  run.verb = std::move(verb);
  run.binary_version = std::move(binary_version);
  run.argv = std::move(argv);
  run.host_name = host_name();
  run.cpu_model = cpu_model();
  run.n_threads = n_threads;
  run.spec_json = std::move(spec_json);
  return run;
}

}  // namespace plumb
