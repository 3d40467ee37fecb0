#include "core/store/utc.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

namespace plumb {

std::string utc_now(double offset_s) {
  using namespace std::chrono;
  const auto now = system_clock::now().time_since_epoch() + duration<double>(offset_s);
  const int64_t ms = duration_cast<milliseconds>(now).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms % 1000);
}

}  // namespace plumb
