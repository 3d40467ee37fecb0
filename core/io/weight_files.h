// Which files hold the weights of MODEL. Never a guess: several candidates are an error that lists
// them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace plumb {

enum class WeightFormat {
  kSafetensors,  // one .safetensors file
  kIndex,        // model.safetensors.index.json, which names the shards
  kTorch,        // one .pt file
};

struct WeightFiles {
  WeightFormat format = WeightFormat::kSafetensors;
  std::filesystem::path file;       // the weights, or the index
  std::filesystem::path directory;  // where config.json and the tokenizer are looked for
  std::vector<std::string> notes;
};

//   directory   model.safetensors, or model.safetensors.index.json, or else its only .safetensors
//               or .pt file
//   file        .safetensors, .pt/.pth/.bin (a zip written by torch.save), or an index. One shard
//               of several is refused: it is not a model.
Result<WeightFiles> find_weight_files(const std::filesystem::path& model);

}  // namespace plumb
