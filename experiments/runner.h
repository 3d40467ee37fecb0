// Runs a sweep into a results file: one transaction a chunk, resumable at every chunk.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "experiments/plan.h"
#include "experiments/spec.h"

namespace plumb {

struct SweepHost {
  std::string binary_version;
  std::vector<std::string> argv;
  const std::atomic<bool>* stop = nullptr;   // set by a signal: finish the chunk, then stop
};

struct SweepProgress {
  const PassPlan* pass = nullptr;
  size_t pass_index = 0, n_passes = 0;
  size_t chunk = 0, n_chunks = 0;            // of this pass
  int64_t tokens_done = 0;                   // scored in this call so far
  double elapsed_s = 0;
};

struct SweepObserver {
  std::function<void(const std::string&)> note;            // what a user should know
  std::function<void(const SweepProgress&)> progress;
};

struct SweepOutcome {
  int64_t run_id = 0;
  std::vector<int64_t> point_ids;      // of all points asked for, in the order of the grid
  int64_t points_computed = 0, points_found = 0, points_elsewhere = 0;
  bool stopped = false;
};

// `existing_run`: continue under the run of this id (resume), else a new run is begun.
// REQUIRES spec.resolve() succeeded.
Result<SweepOutcome> run_sweep(const SweepSpec& spec, const SweepHost& host, const SweepObserver& observer,
                               std::optional<int64_t> existing_run = {});

}  // namespace plumb
