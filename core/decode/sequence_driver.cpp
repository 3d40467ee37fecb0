#include "core/decode/sequence_driver.h"

#include <utility>

namespace plumb {

Status run_drivers(const RecurrentModel& model, Team& team,
                   std::span<SequenceDriver* const> drivers, size_t max_in_flight) {
  DepthBatch batch(model, team);
  size_t started = 0, running = 0;
  std::vector<TokenCall> calls;
  std::vector<size_t> tags;
  const auto ask = [&](size_t d, TokenAnswer* answer) -> Status {
    PLUMB_ASSIGN(std::optional<TokenCall> call, drivers[d]->next(answer));
    if (!call) {
      --running;
      return ok_status();
    }
    calls.push_back(std::move(*call));
    tags.push_back(d);
    return ok_status();
  };
  while (true) {
    while (started < drivers.size() && (max_in_flight == 0 || running < max_in_flight)) {
      ++running;
      PLUMB_RETURN_IF_ERROR(ask(started++, nullptr));
    }
    PLUMB_RETURN_IF_ERROR(batch.enter(calls, tags));
    calls.clear();
    tags.clear();
    if (batch.empty()) {
      if (started == drivers.size()) return ok_status();
      continue;
    }
    PLUMB_ASSIGN(const std::span<const DepthBatch::Finished> finished, batch.advance());
    for (const DepthBatch::Finished& one : finished)
      PLUMB_RETURN_IF_ERROR(ask(one.tag, one.answer));
  }
}

}  // namespace plumb
