// A Llama retrofitted into the prelude / core / coda shape (raven.md sections 1.2 and 7).
#pragma once

#include "core/model/looped_transformer.h"

namespace plumb {

Result<std::unique_ptr<RecurrentModel>> load_llama_retrofit(const Checkpoint& checkpoint,
                                                            Precision precision, Team& team);

}  // namespace plumb
