// Place: where in a looped model something happens. Numbers, never a packed index or a string.
#pragma once

#include <compare>
#include <cstdint>

namespace plumb {

enum class Stage : uint8_t { kPrelude, kCore, kCoda };

constexpr const char* stage_name(Stage stage) {
  return stage == Stage::kPrelude ? "prelude" : stage == Stage::kCore ? "core" : "coda";
}

struct Place {
  Stage stage = Stage::kPrelude;
  int block = 0;  // index inside the stage
  // Core: recurrence iteration from 0. Coda: where a cache is written, the depth that is read. Else 0.
  int step = 0;

  auto operator<=>(const Place&) const = default;
};

}  // namespace plumb
