// TensorStore: tensors gathered for one safetensors file, and the folder they go to.
#pragma once

#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/io/safetensors.h"
#include "experiments/convert.h"

namespace plumb {

class TensorStore {
 public:
  explicit TensorStore(std::optional<DType> dtype) : dtype_(dtype) {}

  // A stored tensor under a new name; floating ones in the wanted dtype. REQUIRES the checkpoint
  // outlives this. A number too large for F16 is an error naming the tensor.
  Status add(const std::string& name, const TensorInfo& tensor);
  // Rows of several matrices of equal width under each other.
  Status add_stacked(const std::string& name, const std::vector<const TensorInfo*>& parts);
  // Numbers of our own, stored as `dtype` unless another was asked for.
  Status add_values(const std::string& name, std::vector<int64_t> shape, std::span<const float> values, DType dtype);

  size_t size() const { return tensors_.size(); }
  int64_t parameters() const;
  std::span<const NamedTensor> tensors() const { return tensors_; }

 private:
  std::span<const std::byte> keep(std::vector<std::byte> bytes);

  std::optional<DType> dtype_;
  std::vector<NamedTensor> tensors_;
  std::deque<std::vector<std::byte>> owned_;
};

// Makes `out` and refuses one that is the source's own folder, or that holds a model already.
Status prepare_folder(const std::filesystem::path& out, const std::filesystem::path& source, bool overwrite);
// Tokenizer and generation files beside the source's weights; the names of those copied.
Result<std::vector<std::string>> copy_tokenizer(const std::filesystem::path& source, const std::filesystem::path& out);
// config.json (unless null) and model.safetensors, each complete or not at all.
Result<ConvertReport> write_model(const TensorStore& store, const Json& config, const std::map<std::string, std::string>& metadata,
                                  const std::filesystem::path& source, const std::filesystem::path& out);

}  // namespace plumb
