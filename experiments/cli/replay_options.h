// What `replay` and `calibrate` share: which recordings, and output as text, JSON or a file.
#pragma once

#include <string>

#include "analysis/queries.h"
#include "analysis/recording.h"
#include "core/base/json.h"
#include "experiments/cli/verb.h"

namespace plumb::cli {

// DB, --run, --model, --text.
struct RecordingOptions {
  std::string db;
  Selection selection;
};
void add_recording_options(CLI::App& verb, RecordingOptions& options);

// {"model", "text", "steps", "tokens", ...} of each recording.
Json describe_recordings(const std::vector<Recording>& recordings);
// The same in a line: "pocket-raven on prose.txt, code.txt: 5 998 tokens x 16 recurrences".
std::string recordings_line(const std::vector<Recording>& recordings);

}  // namespace plumb::cli
