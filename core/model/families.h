// The table of families: which tensors betray one, and who loads it.
#pragma once

#include <memory>

#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

// Detects the family from the tensors and loads it. A checkpoint of no known family is an error
// that says what was looked for.
Result<std::unique_ptr<RecurrentModel>> load_model(const Checkpoint& checkpoint, Precision precision, Team& team);

}  // namespace plumb
