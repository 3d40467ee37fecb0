// The model in use: loaded when a pass asks for another one.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/model/families.h"
#include "core/store/records.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

struct ModelFiles {
  std::string namemap, config, tokenizer;  // overrides; empty: the model's own
};

struct LoadedModel {
  std::string path, dtype;
  std::string name;            // directory or file name, for people
  std::string sha256;          // over weights, config and tokenizer files
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<RecurrentModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
};

// Where a model's tokenizer files are looked for.
std::filesystem::path tokenizer_directory(const std::string& model, const ModelFiles& files);

Result<LoadedModel> open_loaded_model(const std::string& path, const std::string& dtype, const ModelFiles& files,
                                      Team& team, const std::function<void(const std::string&)>& note);

// What a token costs it, for the results file.
ModelRecord cost_record(const LoadedModel& loaded);

}  // namespace plumb
