// Where the ticks of an axis go and what stands beside them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace plumb {

struct Tick {
  double at = 0;
  std::string label;
};

// A range to draw, and its labelled ticks (inside the range).
struct Axis {
  double low = 0, high = 1;
  std::vector<Tick> ticks;
};

// A logarithmic axis over [low, high], with a margin, and three to eight ticks at round numbers
// however narrow or wide it is. REQUIRES 0 < low <= high, finite.
Axis log_axis(double low, double high);
// The same with a linear scale; always a margin, never forced to zero. REQUIRES low <= high,
// finite.
Axis linear_axis(double low, double high);

// Depths on a log2 scale: a depth d > 0 lies at log2(d). Depth 0 has no logarithm and gets a place
// of its own, left of the smallest other depth.
struct DepthAxis {
  double low = 0, high = 1;  // in units of log2
  std::vector<Tick> ticks;   // likewise
  double zero_at = 0;        // where depth 0 is
  bool has_zero = false;
  double place(double depth) const;
};

// REQUIRES depths finite, >= 0, at least one.
DepthAxis depth_axis(const std::vector<double>& depths);

// Steps 1..max on a linear scale: 1 and the multiples of a power of two, at most nine.
std::vector<Tick> step_ticks(int64_t max);

// 12345 as "12 345" (thin spaces).
std::string grouped(int64_t value);

}  // namespace plumb
