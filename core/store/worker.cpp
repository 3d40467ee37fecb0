#include "core/store/worker.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <sstream>

namespace plumb {
namespace {

// Field 22 of /proc/PID/stat; 0 when there is no such process, or no /proc.
int64_t start_ticks_of(int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return 0;
  // The name, field 2, is in brackets and may hold anything; the state follows the last one.
  const size_t close = line.rfind(')');
  if (close == std::string::npos) return 0;
  std::istringstream rest(line.substr(close + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i)
    if (!(rest >> field) || (i == 3 && (field == "Z" || field == "X"))) return 0;
  return std::strtoll(field.c_str(), nullptr, 10);
}

}  // namespace

std::string random_hex(int n_bytes) {
  std::random_device entropy;
  std::string hex;
  for (int i = 0; i < n_bytes; ++i) hex += fmt::format("{:02x}", entropy() & 0xffu);
  return hex;
}

Worker this_worker() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return {random_hex(8), host, ::getpid(), start_ticks_of(::getpid())};
}

bool is_certainly_dead(const Worker& worker, const Worker& self) {
  if (self.host.empty() || worker.host != self.host) return false;
  if (self.start_ticks == 0 || worker.start_ticks == 0) return false;
  return start_ticks_of(worker.pid) != worker.start_ticks;
}

}  // namespace plumb
