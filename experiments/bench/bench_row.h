// One figure of `plumb bench`, and how often it was measured.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace plumb {

struct BenchRow {
  std::string name;
  double value = 0;
  std::string unit;
  // What the value could be at best and which measurement says so; for a stage, the whole it is
  // part of; for a count, nothing.
  std::optional<double> ceiling;
  std::string of;
  int runs = 1;  // the value is their median

  std::optional<double> ratio() const {
    return ceiling && *ceiling > 0 ? std::optional(value / *ceiling) : std::nullopt;
  }
};

// How long a figure may take.
struct Repeat {
  int runs = 5;
  double budget_s = 15;  // no further run is begun after this many seconds
};

struct Measured {
  double value = 0;  // median
  int runs = 0;
};

inline Measured median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  if (n == 0) return {};
  return {n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]),
          static_cast<int>(n)};
}

// What was noted beside median_of(): the same runs, without the one that warmed up.
inline Measured median_beside(const Measured& main, std::vector<double> values) {
  if (values.size() > static_cast<size_t>(main.runs)) values.erase(values.begin());
  return median(std::move(values));
}

inline double ms_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

// Median of measure(), a Result<double>. The first call only warms up, unless it took the budget.
template <class Fn>
Result<Measured> median_of(const Repeat& repeat, Fn&& measure) {
  const auto began = std::chrono::steady_clock::now();
  const auto spent = [&] { return ms_since(began) > repeat.budget_s * 1e3; };
  PLUMB_ASSIGN(const double first, measure());
  if (spent()) return Measured{first, 1};
  std::vector<double> values;
  while (static_cast<int>(values.size()) < repeat.runs && (values.empty() || !spent())) {
    PLUMB_ASSIGN(const double value, measure());
    values.push_back(value);
  }
  return median(std::move(values));
}

}  // namespace plumb
