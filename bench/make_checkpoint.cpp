// Writes a checkpoint of a published model's exact shapes with random weights, in its published
// layout, for loading and memory checks where the real weights cannot be had.
//
//   make_checkpoint huginn-0125|april-70m OUT_DIR [f32|bf16]
//
// huginn-0125: F32 in four shards with an index and both copies of the embedding, 15.6 GB.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/rng.h"
#include "core/io/safetensors.h"

namespace plumb {
namespace {

struct Shape {
  int64_t e, h, hk, ff, vocab, prelude, core, coda;
  bool sandwich;
  int n_shards;
};

const std::map<std::string, Shape> kShapes = {
    {"huginn-0125", {5280, 55, 55, 17920, 65536, 2, 4, 2, true, 4}},
    {"april-70m", {512, 8, 4, 1408, 32003, 4, 4, 4, false, 1}},
};

// Random numbers once; every tensor is a stretch of them, so memory stays far below the file.
class Weights {
 public:
  Weights(DType dtype, size_t n) : dtype_(dtype) {
    std::vector<float> values(n);
    uint64_t state = 88172645463325252ULL;  // xorshift64: speed matters, quality does not
    for (float& value : values) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      value = (static_cast<float>(state >> 40) / 8388608.0F - 1.0F) * 0.015F;
    }
    bytes_.resize(n * dtype_bytes(dtype));
    for (size_t i = 0; i < n; ++i) put(i, values[i]);
    ones_.resize(65536 * 4);
    for (size_t i = 0; i < 65536; ++i) std::memcpy(ones_.data() + i * dtype_bytes(dtype), one().data(), dtype_bytes(dtype));
  }

  NamedTensor random(const std::string& name, std::vector<int64_t> shape) {
    size_t count = 1;
    for (int64_t extent : shape) count *= static_cast<size_t>(extent);
    const size_t size = count * dtype_bytes(dtype_);
    offset_ = (offset_ + 4096) % (bytes_.size() - size + 1) / 64 * 64;
    return {name, dtype_, std::move(shape), {bytes_.data() + offset_, size}};
  }
  NamedTensor ones(const std::string& name, int64_t n) {
    return {name, dtype_, {n}, {ones_.data(), static_cast<size_t>(n) * dtype_bytes(dtype_)}};
  }

 private:
  void put(size_t i, float value) {
    if (dtype_ == DType::kF32) std::memcpy(bytes_.data() + i * 4, &value, 4);
    else {
      const BF16 half = bf16_from_f32(value);
      std::memcpy(bytes_.data() + i * 2, &half, 2);
    }
  }
  std::vector<std::byte> one() const {
    std::vector<std::byte> bytes(4);
    const float value = 1;
    const BF16 half = bf16_from_f32(value);
    if (dtype_ == DType::kF32) std::memcpy(bytes.data(), &value, 4);
    else std::memcpy(bytes.data(), &half, 2);
    return bytes;
  }

  DType dtype_;
  std::vector<std::byte> bytes_, ones_;
  size_t offset_ = 0;
};

void add_block(std::vector<NamedTensor>& tensors, Weights& weights, const std::string& name, const Shape& s) {
  const int64_t d = s.e / s.h;
  for (int j = 1; j <= (s.sandwich ? 4 : 2); ++j) tensors.push_back(weights.ones(fmt::format("{}.norm_{}.weight", name, j), s.e));
  tensors.push_back(weights.random(name + ".attn.Wqkv.weight", {(s.h + 2 * s.hk) * d, s.e}));
  if (s.sandwich) tensors.push_back(weights.random(name + ".attn.qk_bias", {2, 1, s.h, d}));
  tensors.push_back(weights.random(name + ".attn.proj.weight", {s.e, s.e}));
  tensors.push_back(weights.random(name + ".mlp.fc.weight", {2 * s.ff, s.e}));
  tensors.push_back(weights.random(name + ".mlp.proj.weight", {s.e, s.ff}));
}

nlohmann::json config_of(const Shape& s) {
  const double std_value = std::sqrt(2.0 / (5.0 * static_cast<double>(s.e)));
  nlohmann::json json = {{"architectures", {"RavenForCausalLM"}}, {"model_type", "huginn_raven"}, {"n_embd", s.e}, {"n_heads", s.h},
                         {"num_key_value_heads", s.hk}, {"intermediate_size", s.ff}, {"vocab_size", s.vocab}, {"n_layers", s.prelude + s.core + s.coda},
                         {"n_layers_in_prelude", s.prelude}, {"n_layers_in_recurrent_block", s.core}, {"n_layers_in_coda", s.coda},
                         {"norm_eps", s.sandwich ? 1e-6 : 1e-5}, {"mean_recurrence", 32}, {"bias", false}, {"qk_bias", s.sandwich},
                         {"tie_embeddings", s.sandwich}, {"block_size", 4096}, {"rope_base", 50000},
                         {"init_values", {{"std", std_value}, {"embed_scale", s.sandwich ? std::sqrt(static_cast<double>(s.e)) : 1.0}}}};
  if (!s.sandwich) json["rope_theta"] = 500000.0, json["max_position_embeddings"] = 16384;
  return json;
}

int run(const std::string& kind, const std::filesystem::path& out, DType dtype) {
  const Shape& s = kShapes.at(kind);
  std::filesystem::create_directories(out);
  Weights weights(dtype, static_cast<size_t>(std::max(s.vocab, 2 * s.ff) * s.e) + 65536);
  std::vector<NamedTensor> tensors;
  NamedTensor embedding = weights.random("transformer.wte.weight", {s.vocab, s.e});
  NamedTensor head = s.sandwich ? embedding : weights.random("lm_head.weight", {s.vocab, s.e});
  head.name = "lm_head.weight";
  tensors.push_back(embedding);
  for (int64_t j = 0; j < s.prelude; ++j) add_block(tensors, weights, fmt::format("transformer.prelude.{}", j), s);
  tensors.push_back(weights.random("transformer.adapter.weight", {s.e, 2 * s.e}));
  for (int64_t j = 0; j < s.core; ++j) add_block(tensors, weights, fmt::format("transformer.core_block.{}", j), s);
  for (int64_t j = 0; j < s.coda; ++j) add_block(tensors, weights, fmt::format("transformer.coda.{}", j), s);
  tensors.push_back(weights.ones("transformer.ln_f.weight", s.e));
  tensors.push_back(head);

  nlohmann::json map = nlohmann::json::object();
  size_t total = 0, written = 0, next = 0;
  for (const NamedTensor& tensor : tensors) total += tensor.bytes.size();
  for (int shard = 0; shard < s.n_shards; ++shard) {
    std::vector<NamedTensor> part;
    const size_t until = total * static_cast<size_t>(shard + 1) / static_cast<size_t>(s.n_shards);
    const std::string name = s.n_shards == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, s.n_shards);
    while (next < tensors.size() && (written < until || shard + 1 == s.n_shards)) {
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
  if (s.n_shards > 1)
    std::ofstream(out / "model.safetensors.index.json") << nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1);
  std::ofstream(out / "config.json") << config_of(s).dump(1) << "\n";
  std::printf("%zu bytes of tensors in %s\n", total, out.c_str());
  return 0;
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  if (argc < 3 || !plumb::kShapes.contains(argv[1])) {
    std::fprintf(stderr, "usage: make_checkpoint huginn-0125|april-70m OUT_DIR [f32|bf16]\n");
    return 2;
  }
  return plumb::run(argv[1], argv[2], argc > 3 && std::string(argv[3]) == "bf16" ? plumb::DType::kBF16 : plumb::DType::kF32);
}
