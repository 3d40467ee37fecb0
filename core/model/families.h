// The table of families: which tensors betray one, and who loads it.
#pragma once

#include <memory>

#include "core/model/alias_guess.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

// Detects the family from the tensors and loads it. A checkpoint of no known family is an error
// that says what was looked for.
Result<std::unique_ptr<RecurrentModel>> load_model(const Checkpoint& checkpoint, Precision precision, Team& team);

// The name of the family that load_model would choose; empty when there is none.
std::string family_name(const Checkpoint& checkpoint);

// The foreign names of that family; null when it has no table of them.
const AliasFamily* alias_table(const Checkpoint& checkpoint);

// Guesses canonical tensor names where the family has a table of foreign ones; else nothing.
Result<CanonicalNames> canonical_names(const Checkpoint& checkpoint);

// config.json with every field that decides something: of families that can be read without one, or
// whose switches may be open. Else the checkpoint's own.
Result<Json> complete_config(const Checkpoint& checkpoint);
// The least config that fields can be added to without others becoming missing: the checkpoint's
// own; without one, {} or, of families that take a config whole, the complete one.
Result<Json> minimal_config(const Checkpoint& checkpoint);

}  // namespace plumb
