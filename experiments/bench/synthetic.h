// Checkpoints of the published models' exact shapes with random weights, in their published
// layouts: for speed, loading and memory, where the real weights cannot be had.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/json.h"
#include "core/base/result.h"

namespace plumb {

struct SyntheticTensor {
  enum class Fill { kRandom, kOnes, kValues };
  std::string name;
  std::vector<int64_t> shape;
  Fill fill = Fill::kRandom;
  std::string copy_of = "";         // an earlier tensor with the same bytes; empty: none
  std::vector<float> values = {};  // kValues: rope tables, which a loader compares

  size_t count() const;
};

struct SyntheticModel {
  std::string config;  // JSON text of config.json
  std::vector<SyntheticTensor> tensors;
  size_t n_shards = 1;  // as published

  size_t count() const;  // numbers in all tensors
};

// "april-70m, huginn-0125, ...".
std::string synthetic_names();
// An unknown name is an error that lists the known.
Result<SyntheticModel> synthetic_model(const std::string& name);

// Writes config.json and the weights into `directory`, which is made. REQUIRES dtype f32 or bf16.
Status write_synthetic(const SyntheticModel& model, DType dtype,
                       const std::filesystem::path& directory);

}  // namespace plumb
