// Everything that a pickle may mention by name. A row is a token for PickleMachine; no row names
// code that is run, and a name that is not here refuses the whole file.
#pragma once

#include <optional>
#include <string_view>

#include "core/base/dtype.h"

namespace plumb {

enum class PickleRole {
  kOrderedDict,
  kRebuildTensor,
  kRebuildParameter,
  kSize,
  kConfig,
  kStorage,
  kConstant,  // an inert value: its name stands for itself
};

struct PickleName {
  std::string_view module, name;
  PickleRole role;
  DType dtype = DType::kU8;  // kStorage
};

// The row of the list of allowed names; nothing for every other name.
std::optional<uint32_t> find_pickle_name(std::string_view module, std::string_view name);
// REQUIRES a row returned by find_pickle_name.
const PickleName& pickle_name(uint32_t row);

}  // namespace plumb
