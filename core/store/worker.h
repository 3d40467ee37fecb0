// Who holds a point, and whether that process still lives. Inside core/store only.
#pragma once

#include <cstdint>
#include <string>

namespace plumb {

struct Worker {
  std::string uid;  // random, one a RunWriter
  std::string host;
  int64_t pid = 0;
  int64_t start_ticks = 0;  // 0: the system does not say
};

// Lower-case hex digits from the system's entropy.
std::string random_hex(int n_bytes);
Worker this_worker();
// True only when it is certain: same host, and no process of this number and start time.
bool is_certainly_dead(const Worker& worker, const Worker& self);

}  // namespace plumb
