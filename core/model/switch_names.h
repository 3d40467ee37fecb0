// Switches of a config with named values: parsing, messages, writing and the values that a probe
// tries read one table each.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "core/model/recurrent_model.h"

namespace plumb {

// The first name is the default.
template <class T, size_t N>
using SwitchNames = std::array<std::pair<const char*, T>, N>;

template <class T, size_t N>
const char* name_of(const SwitchNames<T, N>& names, T value) {
  for (const auto& [name, v] : names)
    if (v == value) return name;
  return "?";
}

// "\"a\" or \"b\""
template <class T, size_t N>
std::string expected_names(const SwitchNames<T, N>& names) {
  std::string text;
  for (const auto& [name, value] : names)
    text += fmt::format("{}\"{}\"", text.empty() ? "" : " or ", name);
  return text;
}

// `assumed` first, then the other names.
template <class T, size_t N>
OpenSwitch open_switch(const char* field, const SwitchNames<T, N>& names, T assumed) {
  OpenSwitch result{field, {fmt::format("\"{}\"", name_of(names, assumed))}};
  for (const auto& [name, value] : names)
    if (value != assumed) result.values.push_back(fmt::format("\"{}\"", name));
  return result;
}

inline OpenSwitch open_switch(const char* field, bool assumed) {
  return {field, {assumed ? "true" : "false", assumed ? "false" : "true"}};
}

// `assumed` first, then those of `others` that differ from it.
template <class Number>
OpenSwitch open_switch(const char* field, Number assumed, const std::vector<Number>& others) {
  OpenSwitch result{field, {fmt::format("{}", assumed)}};
  for (const Number other : others)
    if (other != assumed) result.values.push_back(fmt::format("{}", other));
  return result;
}

// What published models of these kinds use.
inline const std::vector<double> kThetasToTry = {10000, 50000, 100000, 500000, 1000000};
inline const std::vector<double> kNormEpsToTry = {1e-6, 1e-5};
// Widths of a head whose product with a number of heads is `rows`.
inline std::vector<int> head_dims_to_try(int64_t rows) {
  std::vector<int> result;
  for (const int width : {128, 96, 80, 64, 48, 32, 16, 8})
    if (rows > 0 && rows % width == 0) result.push_back(width);
  return result;
}

}  // namespace plumb
