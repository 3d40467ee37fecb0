// The flags that every verb with a MODEL shares, and the model they open.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/model/families.h"
#include "core/parallel/team.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb::cli {

struct ModelOptions {
  std::string model;
  std::string namemap, config, tokenizer;  // overrides; empty: beside the weights
  std::string dtype = "f32";
  int threads = 0;                         // 0: all cores

  // Adds MODEL and the overrides; with `numeric` also --dtype and --threads.
  void add_to(CLI::App& verb, bool numeric = true);
};

// A model with all it needs to run; prints the loader's notes to stderr.
struct OpenModel {
  std::unique_ptr<Team> team;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<RecurrentModel> model;
};

Result<Checkpoint> open_checkpoint(const ModelOptions& options);
Result<OpenModel> open_model(const ModelOptions& options);
Result<std::unique_ptr<Tokenizer>> open_tokenizer(const ModelOptions& options);

// A warning on stderr where `positions` go past what a model with extrapolated rope was made for.
void warn_of_length(const ModelInfo& info, size_t positions);

// "5,6,7;8,9,10": rows of equal length, at least one token each.
Result<std::vector<std::vector<int32_t>>> parse_id_rows(const std::string& text);

}  // namespace plumb::cli
