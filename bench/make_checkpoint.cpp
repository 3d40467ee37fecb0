// Writes a checkpoint of a published model's exact shapes with random weights, in its published
// layout, for loading and memory checks where the real weights cannot be had.
//
//   make_checkpoint NAME OUT_DIR [f32|bf16]
//
// huginn-0125: F32 in four shards with an index and both copies of the embedding, 15.6 GB.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "bench/published_shapes.h"
#include "core/base/dtype.h"
#include "core/io/safetensors.h"

namespace plumb {
namespace {

size_t element_count(const std::vector<int64_t>& shape) {
  size_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
  return count;
}

// Random numbers once; every tensor is a stretch of them, so memory stays far below the file.
class Weights {
 public:
  Weights(DType dtype, const PublishedShape& model) : dtype_(dtype) {
    size_t largest = 0;
    for (const TensorShape& tensor : model.tensors)
      largest = std::max(largest, element_count(tensor.shape));
    std::vector<float> values(largest + 65536);
    uint64_t state = 88172645463325252ULL;  // xorshift64: speed matters, quality does not
    for (float& value : values) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      value = (static_cast<float>(state >> 40) / 8388608.0F - 1.0F) * 0.015F;
    }
    random_ = encode(values);
  }

  NamedTensor make(const TensorShape& tensor) {
    const size_t count = element_count(tensor.shape), size = count * dtype_bytes(dtype_);
    if (!tensor.same_as.empty())
      return {tensor.name, dtype_, tensor.shape, made_.at(tensor.same_as)};
    std::span<const std::byte> bytes;
    if (tensor.fill == TensorShape::Fill::kRandom) {
      offset_ = (offset_ + 4096) % (random_.size() - size + 1) / 64 * 64;
      bytes = {random_.data() + offset_, size};
    } else {
      owned_.push_back(encode(tensor.fill == TensorShape::Fill::kOnes
                                  ? std::vector<float>(count, 1.0F)
                                  : tensor.values));
      bytes = owned_.back();
    }
    made_[tensor.name] = bytes;
    return {tensor.name, dtype_, tensor.shape, bytes};
  }

 private:
  std::vector<std::byte> encode(const std::vector<float>& values) const {
    std::vector<std::byte> bytes(values.size() * dtype_bytes(dtype_));
    for (size_t i = 0; i < values.size(); ++i) {
      const BF16 half = bf16_from_f32(values[i]);
      if (dtype_ == DType::kF32)
        std::memcpy(bytes.data() + i * 4, &values[i], 4);
      else
        std::memcpy(bytes.data() + i * 2, &half, 2);
    }
    return bytes;
  }

  DType dtype_;
  std::vector<std::byte> random_;
  std::list<std::vector<std::byte>> owned_;
  std::map<std::string, std::span<const std::byte>> made_;
  size_t offset_ = 0;
};

int run(const PublishedShape& model, const std::filesystem::path& out, DType dtype) {
  std::filesystem::create_directories(out);
  Weights weights(dtype, model);
  std::vector<NamedTensor> tensors;
  for (const TensorShape& tensor : model.tensors) tensors.push_back(weights.make(tensor));
  nlohmann::json map = nlohmann::json::object();
  size_t total = 0, written = 0, next = 0;
  for (const NamedTensor& tensor : tensors) total += tensor.bytes.size();
  for (int shard = 0; shard < model.n_shards; ++shard) {
    std::vector<NamedTensor> part;
    const size_t until =
        total * static_cast<size_t>(shard + 1) / static_cast<size_t>(model.n_shards);
    const std::string name = model.n_shards == 1 ? model.file
                                                 : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                               shard + 1, model.n_shards);
    while (next < tensors.size() && (written < until || shard + 1 == model.n_shards)) {
      written += tensors[next].bytes.size();
      map[tensors[next].name] = name;
      part.push_back(tensors[next++]);
    }
    if (const Status status = write_safetensors(out / name, part); !status.ok()) {
      std::fprintf(stderr, "make_checkpoint: %s\n", status.error().message.c_str());
      return 1;
    }
    std::printf("%s: %zu tensors\n", name.c_str(), part.size());
  }
  if (model.n_shards > 1)
    std::ofstream(out / "model.safetensors.index.json")
        << nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1);
  if (!model.config.is_null()) std::ofstream(out / "config.json") << model.config.dump(1) << "\n";
  std::printf("%zu bytes of tensors in %s\n", total, out.c_str());
  return 0;
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  const auto model = argc < 3 ? std::nullopt : plumb::published_shape(argv[1]);
  if (!model) {
    std::fprintf(stderr, "usage: make_checkpoint %s OUT_DIR [f32|bf16]\n",
                 fmt::format("{}", fmt::join(plumb::published_names(), "|")).c_str());
    return 2;
  }
  const bool half = argc > 3 && std::string(argv[3]) == "bf16";
  return plumb::run(*model, argv[2], half ? plumb::DType::kBF16 : plumb::DType::kF32);
}
