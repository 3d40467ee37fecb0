// Running a sweep from the command line and the table it ends with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/store/run_reader.h"
#include "experiments/runner.h"

namespace plumb::cli {

Status run_and_report(const SweepSpec& spec, bool json, std::optional<int64_t> existing_run);

// One row a finished point of the sweep: depth, tokens, perplexity with its interval, nats, bits.
Status print_depth_table(RunReader& reader, const SweepOutcome& outcome, const std::string& db, bool json);

// The arguments this process was started with.
std::vector<std::string> command_line();

}  // namespace plumb::cli
