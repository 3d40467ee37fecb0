#include "analysis/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/check.h"

namespace plumb {
namespace {

std::string superscript(int exponent) {
  static const char* const kDigits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = exponent < 0 ? "⁻" : "";
  for (const char c : std::to_string(std::abs(exponent))) text += kDigits[c - '0'];
  return text;
}

std::string power_label(double mantissa, int exponent) {
  if (mantissa == 1) return "10" + superscript(exponent);
  return fmt::format("{:g}·10{}", mantissa, superscript(exponent));
}

// Large and small numbers as powers of ten; then all of the axis, so that labels look alike.
bool wants_powers(double low, double high) { return high >= 1e5 || low < 1e-3; }

std::vector<Tick> decade_ticks(double low, double high, const std::vector<double>& mantissas,
                               int every) {
  const bool powers = wants_powers(low, high);
  std::vector<Tick> ticks;
  const int last = static_cast<int>(std::floor(std::log10(high)));
  for (int exponent = static_cast<int>(std::floor(std::log10(low))); exponent <= last; ++exponent) {
    if (exponent % every != 0) continue;
    for (const double mantissa : mantissas) {
      const double at = mantissa * std::pow(10.0, exponent);
      if (at < low || at > high) continue;
      ticks.push_back({at, powers ? power_label(mantissa, exponent) : fmt::format("{:g}", at)});
    }
  }
  return ticks;
}

double round_step(double span, int n) {
  const double rough = span / n;
  const double unit = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double mantissa : {1.0, 2.0, 2.5, 5.0})
    if (mantissa * unit >= rough * 0.999) return mantissa * unit;
  return 10 * unit;
}

std::vector<Tick> linear_ticks(double low, double high) {
  const double step = round_step(high - low, 6);
  // As many decimals as the step has, so that no label says more than its tick.
  const int decimals =
      std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)) +
                      (std::fabs(step / std::pow(10, std::floor(std::log10(step))) - 2.5) < 1e-6));
  std::vector<Tick> ticks;
  for (double n = std::ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; ++n) {
    const double at = n * step + 0.0;  // no negative zero
    ticks.push_back({at, fmt::format("{:.{}f}", at, decimals)});
  }
  return ticks;
}

// The coarsest of ever finer sets that gives three ticks.
std::vector<Tick> log_ticks(double low, double high) {
  const double decades = std::log10(high / low);
  if (decades > 8) return decade_ticks(low, high, {1}, decades > 16 ? 4 : 2);
  for (const std::vector<double>& mantissas :
       {std::vector<double>{1}, {1, 3}, {1, 2, 5}, {1, 2, 3, 5, 7}, {1, 1.5, 2, 3, 4, 5, 6, 8}}) {
    std::vector<Tick> ticks = decade_ticks(low, high, mantissas, 1);
    if (ticks.size() >= 4) return ticks;
  }
  return linear_ticks(low, high);
}

}  // namespace

Axis log_axis(double low, double high) {
  PLUMB_CHECK(low > 0 && low <= high && std::isfinite(high));
  const double margin = low == high ? 1.25 : std::pow(high / low, 0.06);
  Axis axis{low / margin, high * margin, {}};
  axis.ticks = log_ticks(axis.low, axis.high);
  return axis;
}

Axis linear_axis(double low, double high) {
  PLUMB_CHECK(low <= high && std::isfinite(low) && std::isfinite(high));
  const double flat = std::max(std::fabs(low) * 0.1, 1e-6);
  const double margin = low == high ? flat : 0.06 * (high - low);
  Axis axis{low - margin, high + margin, {}};
  axis.ticks = linear_ticks(axis.low, axis.high);
  return axis;
}

double DepthAxis::place(double depth) const { return depth > 0 ? std::log2(depth) : zero_at; }

DepthAxis depth_axis(const std::vector<double>& depths) {
  PLUMB_CHECK(!depths.empty());
  std::set<double> positive;
  DepthAxis axis;
  for (const double depth : depths) {
    PLUMB_CHECK(std::isfinite(depth) && depth >= 0);
    if (depth > 0)
      positive.insert(depth);
    else
      axis.has_zero = true;
  }
  const double first = positive.empty() ? 0 : std::log2(*positive.begin());
  const double last = positive.empty() ? 0 : std::log2(*positive.rbegin());
  axis.zero_at = first - std::max(1.0, 0.15 * (last - first));
  if (axis.has_zero) axis.ticks.push_back({axis.zero_at, "0"});
  const double left = axis.has_zero ? axis.zero_at : first;
  const double margin = last > left ? 0.04 * (last - left) : 0.5;
  axis.low = left - margin, axis.high = last + margin;

  std::vector<Tick> powers;
  for (double power = std::ceil(axis.low); power <= axis.high; ++power)
    if (power >= first - margin)
      powers.push_back({power + 0.0, fmt::format("{:g}", std::exp2(power))});  // no negative zero
  if (powers.size() < 3 && positive.size() <= 8) {  // narrow: the depths themselves
    powers.clear();
    for (const double depth : positive)
      powers.push_back({std::log2(depth), fmt::format("{:.4g}", depth)});
  }
  axis.ticks.insert(axis.ticks.end(), powers.begin(), powers.end());
  return axis;
}

std::vector<Tick> step_ticks(int64_t max) {
  std::vector<Tick> ticks;
  const auto add = [&](int64_t step) {
    ticks.push_back({static_cast<double>(step), fmt::format("{}", step)});
  };
  int64_t every = 1;
  while (max > 8 * every) every *= 2;
  add(1);
  for (int64_t step = every; step <= max; step += every)
    if (step > 1) add(step);
  return ticks;
}

std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = digits.front() == '-' ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, "\u202f");
  return digits;
}

}  // namespace plumb
