// The plain values of a pickle as JSON.
#pragma once

#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/io/torch_pickle.h"

namespace plumb {

// The fields of a kMap or kObject; tuples become arrays, number keys their decimal texts. Fields
// that hold tensors are left out and named (quoted) in `left_out`. Values that are shared in the
// pickle are copied, so more than 16 MiB of them are refused. `where` names the file in messages.
Result<Json> pickle_fields_as_json(const Pickle& pickle, PickleId map, const std::string& where,
                                   std::vector<std::string>& left_out);

}  // namespace plumb
