// Huginn-0125 and its kind: sandwich norms, interleaved rope, biased q and k (raven.md).
#pragma once

#include "core/model/looped_transformer.h"

namespace plumb {

Result<std::unique_ptr<RecurrentModel>> load_raven(const Checkpoint& checkpoint, Precision precision, Team& team);

}  // namespace plumb
