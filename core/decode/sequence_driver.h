// Whole sequences through a DepthBatch: each says what it wants to run next.
#pragma once

#include <optional>
#include <span>

#include "core/decode/context.h"

namespace plumb {

// A sequence that knows what it wants to run next.
class SequenceDriver {
 public:
  virtual ~SequenceDriver() = default;
  // The next call, or nullopt at the end. `answer` is that of the call before; null at the start.
  virtual Result<std::optional<TokenCall>> next(TokenAnswer* answer) = 0;
};

// Runs all drivers to their end, at most `max_in_flight` at a time (0: all).
Status run_drivers(const RecurrentModel& model, Team& team,
                   std::span<SequenceDriver* const> drivers, size_t max_in_flight = 0);

}  // namespace plumb
