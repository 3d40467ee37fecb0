// What a generation prints: its numbers as JSON, and the settings that decided them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "experiments/cli/generate_options.h"
#include "experiments/cli/generate_text.h"

namespace plumb::cli {

// Settings with every default resolved.
Json describe(const GenerateOptions& options, const GenerateRequest& request, const ModelInfo& info,
              const TextOutput& text);
// Fields of one sequence, or of several nested one level.
Json describe_all(const std::vector<Generated>& all, bool batch, const TextOutput& text);
// --emit logits: "logits" [N, vocab_size], or "logits.{i}" of several sequences.
Status write_logits(const std::string& path, const std::vector<Generated>& all);
void print_generated(const Json& json);

}  // namespace plumb::cli
