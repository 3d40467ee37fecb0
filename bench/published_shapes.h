// The exact tensors of the published models, without their weights.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace plumb {

struct TensorShape {
  enum class Fill { kRandom, kOnes, kValues };
  std::string name;
  std::vector<int64_t> shape;
  Fill fill = Fill::kRandom;
  std::vector<float> values = {};  // kValues: rope tables
  std::string same_as = "";        // a copy of that tensor
};

struct PublishedShape {
  std::vector<TensorShape> tensors;
  nlohmann::json config;
  std::string file = "model.safetensors";
  int n_shards = 1;
};

// huginn-0125, april-70m, act-110m, byrne-86m, crowfeather-50m; nothing for another name.
std::optional<PublishedShape> published_shape(const std::string& name);
const std::vector<std::string>& published_names();

}  // namespace plumb
