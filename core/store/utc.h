// The one spelling of time in results: UTC, ISO 8601, milliseconds, "2026-01-31T12:00:00.123Z".
// Text of this form sorts as time does.
#pragma once

#include <string>

namespace plumb {

// The present moment, shifted by `offset_s` seconds.
std::string utc_now(double offset_s = 0);

}  // namespace plumb
