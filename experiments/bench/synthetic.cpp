#include "experiments/bench/synthetic.h"

#include <cmath>
#include <cstring>
#include <list>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/io/atomic_file.h"
#include "core/io/safetensors.h"

namespace plumb {
namespace {

using Fill = SyntheticTensor::Fill;

class Tensors {
 public:
  void random(const std::string& name, std::vector<int64_t> shape) {
    list_.push_back({name, std::move(shape), Fill::kRandom, ""});
  }
  void copy(const std::string& name, std::vector<int64_t> shape, const std::string& of) {
    list_.push_back({name, std::move(shape), Fill::kRandom, of});
  }
  void ones(const std::string& name, int64_t n) { list_.push_back({name, {n}, Fill::kOnes, ""}); }
  void values(const std::string& name, std::vector<int64_t> shape, std::vector<float> numbers) {
    list_.push_back({name, std::move(shape), Fill::kValues, "", std::move(numbers)});
  }
  std::vector<SyntheticTensor> take() { return std::move(list_); }

 private:
  std::vector<SyntheticTensor> list_;
};

struct RavenShape {
  int64_t e, h, hk, ff, vocab, prelude, core, coda;
  bool huginn;  // the published Huginn: four norms a block, q and k biases, tied head
  size_t n_shards;
};

void add_raven_block(Tensors& tensors, const std::string& name, const RavenShape& s) {
  const int64_t d = s.e / s.h;
  for (int j = 1; j <= (s.huginn ? 4 : 2); ++j)
    tensors.ones(fmt::format("{}.norm_{}.weight", name, j), s.e);
  tensors.random(name + ".attn.Wqkv.weight", {(s.h + 2 * s.hk) * d, s.e});
  if (s.huginn) tensors.random(name + ".attn.qk_bias", {2, 1, s.h, d});
  tensors.random(name + ".attn.proj.weight", {s.e, s.e});
  tensors.random(name + ".mlp.fc.weight", {2 * s.ff, s.e});
  tensors.random(name + ".mlp.proj.weight", {s.e, s.ff});
}

SyntheticModel raven(const RavenShape& s) {
  const double std_value = std::sqrt(2.0 / (5.0 * static_cast<double>(s.e)));
  Json config = {{"architectures", {"RavenForCausalLM"}},
                 {"model_type", "huginn_raven"},
                 {"n_embd", s.e},
                 {"n_heads", s.h},
                 {"num_key_value_heads", s.hk},
                 {"intermediate_size", s.ff},
                 {"vocab_size", s.vocab},
                 {"n_layers", s.prelude + s.core + s.coda},
                 {"n_layers_in_prelude", s.prelude},
                 {"n_layers_in_recurrent_block", s.core},
                 {"n_layers_in_coda", s.coda},
                 {"norm_eps", s.huginn ? 1e-6 : 1e-5},
                 {"mean_recurrence", 32},
                 {"bias", false},
                 {"qk_bias", s.huginn},
                 {"tie_embeddings", s.huginn},
                 {"block_size", 4096},
                 {"rope_base", 50000},
                 {"init_values",
                  {{"std", std_value},
                   {"embed_scale", s.huginn ? std::sqrt(static_cast<double>(s.e)) : 1.0}}}};
  if (!s.huginn) config["rope_theta"] = 500000.0, config["max_position_embeddings"] = 16384;
  Tensors tensors;
  tensors.random("transformer.wte.weight", {s.vocab, s.e});
  const auto add_blocks = [&](const char* stage, int64_t n) {
    for (int64_t j = 0; j < n; ++j)
      add_raven_block(tensors, fmt::format("transformer.{}.{}", stage, j), s);
  };
  add_blocks("prelude", s.prelude);
  tensors.random("transformer.adapter.weight", {s.e, 2 * s.e});
  add_blocks("core_block", s.core);
  add_blocks("coda", s.coda);
  tensors.ones("transformer.ln_f.weight", s.e);
  if (s.huginn)
    tensors.copy("lm_head.weight", {s.vocab, s.e}, "transformer.wte.weight");
  else
    tensors.random("lm_head.weight", {s.vocab, s.e});
  return {config.dump(1), tensors.take(), s.n_shards};
}

SyntheticModel act_110m() {
  constexpr int64_t e = 1280, h = 20, d = 64, ff = 10240, vocab = 50257;
  const Json config = {{"model_type", "act_recurrent"},
                       {"vocab_size", vocab},
                       {"dim", e},
                       {"n_heads", h},
                       {"head_dim", d},
                       {"ffn_hidden", ff},
                       {"max_steps", 8},
                       {"position", "rope"},
                       {"rope_theta", 10000.0},
                       {"rope_layout", "half"},
                       {"norm_type", "rms"},
                       {"norm_place", "pre"},
                       {"norm_eps", 1e-6},
                       {"final_norm", true},
                       {"halting", "act"},
                       {"memory", "per_step"},
                       {"mem_len", 4096},
                       {"tie_embeddings", true}};
  Tensors tensors;
  tensors.random("tok_emb.weight", {vocab, e});
  tensors.ones("block.norm1.weight", e);
  tensors.ones("block.norm2.weight", e);
  for (const char* name : {"wq", "wk", "wv"})
    tensors.random(fmt::format("block.attn.{}.weight", name), {h * d, e});
  tensors.random("block.attn.wo.weight", {e, h * d});
  tensors.random("block.mlp.gate.weight", {ff, e});
  tensors.random("block.mlp.up.weight", {ff, e});
  tensors.random("block.mlp.down.weight", {e, ff});
  tensors.random("halt.weight", {1, e});
  tensors.random("halt.bias", {1});
  tensors.ones("norm_f.weight", e);
  return {config.dump(1), tensors.take(), 1};
}

SyntheticModel crowfeather_50m() {
  constexpr int64_t e = 512, n_layers = 12, h = 8, d = 64, ff = 2048, vocab = 8192;
  const Json config = {{"model_type", "crowfeather_toylm"},
                       {"vocab_size", vocab},
                       {"dim", e},
                       {"n_layers", n_layers},
                       {"n_heads", h},
                       {"head_dim", d},
                       {"mlp_hidden", ff},
                       {"max_seq_len", 8192},
                       {"sliding_window", 1024},
                       {"rms_eps", 1e-6},
                       {"rope_theta", 10000.0},
                       {"rope_layout", "interleaved"},
                       {"rope_table_dtype", "f32"},
                       {"window_convention", "keys"},
                       {"logit_softcap", 30.0},
                       {"embed_scale", 1.0},
                       {"norm_weight_offset", 0.0},
                       {"qk_norm", "none"},
                       {"overflow", "crop_recompute"},
                       {"tie_embeddings", true}};
  Tensors tensors;
  tensors.random("tok_emb.weight", {vocab, e});
  for (int64_t l = 0; l < n_layers; ++l) {
    const std::string layer = fmt::format("layers.{}.", l);
    tensors.ones(layer + "norm1.weight", e);
    tensors.ones(layer + "norm2.weight", e);
    for (const char* name : {"wq", "wk", "wv"})
      tensors.random(fmt::format("{}attn.{}.weight", layer, name), {h * d, e});
    tensors.random(layer + "attn.wo.weight", {e, h * d});
    tensors.random(layer + "mlp.gate.weight", {ff, e});
    tensors.random(layer + "mlp.up.weight", {ff, e});
    tensors.random(layer + "mlp.down.weight", {e, ff});
  }
  tensors.ones("norm_f.weight", e);
  return {config.dump(1), tensors.take(), 1};
}

Json byrne_config(int64_t e, int64_t vocab) {
  return {{"model_type", "spike_whale"},
          {"architectures", {"SpikeWhaleLM"}},
          {"vocab_size", vocab},
          {"hidden_size", e},
          {"num_hidden_layers", 16},
          {"max_position_embeddings", 4096},
          {"num_attention_heads", 10},
          {"num_key_value_heads", 1},
          {"head_dim", 64},
          {"nope_head_dim", 48},
          {"qk_rope_head_dim", 16},
          {"q_lora_rank", 128},
          {"o_lora_rank", 128},
          {"rope_theta", 10000.0},
          {"rms_norm_eps", 1e-6},
          {"use_qk_norm", true},
          {"use_xsa", true},
          {"use_derf", false},
          {"use_value_embed", false},
          {"moe_intermediate_size", 2000},
          {"use_moe", false},
          {"moe_layers", Json::array()},
          {"n_routed_experts", 6},
          {"n_shared_experts", 1},
          {"num_experts_per_tok", 2},
          {"num_hash_layers", 2},
          {"norm_topk_prob", true},
          {"routed_scaling_factor", 1.0},
          {"scoring_func", "sqrtsoftplus"},
          {"moe_aux_loss_coef", 0.01},
          {"use_engram", true},
          {"engram_compress_dim", 32},
          {"engram_num_heads", 2},
          {"engram_table_size", 4096},
          {"engram_max_ngram", 3},
          {"engram_gate_init_bias", -1.0},
          {"use_hyper_connections", true},
          {"hc_mult", 2},
          {"hc_sinkhorn_iters", 20},
          {"hc_eps", 1e-6},
          {"use_hrm_refine", true},
          {"hrm_refine_dim", 128},
          {"hrm_refine_steps", 1},
          {"num_nextn_predict_layers", 1},
          {"mtp_loss_weight", 0.3},
          {"use_jepa", false},
          {"zloss_coef", 1e-4},
          {"tie_word_embeddings", true},
          {"initializer_range", 0.02},
          {"hidden_dropout", 0.0},
          {"attention_dropout", 0.0},
          {"bos_token_id", 2},
          {"eos_token_id", 3},
          {"pad_token_id", 0},
          {"dtype", "float32"}};
}

// The rope tables that every published layer stores.
void add_byrne_rope(Tensors& tensors, const std::string& name) {
  constexpr int64_t kPositions = 4096, kHalf = 8;
  std::vector<float> inverse, cosines, sines;
  for (int64_t i = 0; i < kHalf; ++i)
    inverse.push_back(1 / std::pow(10000.0F, static_cast<float>(i) / static_cast<float>(kHalf)));
  for (int64_t p = 0; p < kPositions; ++p)
    for (const float frequency : inverse) {
      cosines.push_back(std::cos(static_cast<float>(p) * frequency));
      sines.push_back(std::sin(static_cast<float>(p) * frequency));
    }
  tensors.values(name + "inv_freq", {kHalf}, std::move(inverse));
  tensors.values(name + "cos_cache", {kPositions, kHalf}, std::move(cosines));
  tensors.values(name + "sin_cache", {kPositions, kHalf}, std::move(sines));
}

void add_byrne_layer(Tensors& tensors, int64_t layer, int64_t e) {
  constexpr int64_t kHeads = 10, kHeadDim = 64, kRank = 128, kFeedForward = 2000, kStreams = 2;
  const std::string name = fmt::format("model.layers.{}.", layer), attn = name + "attn.";
  tensors.ones(name + "attn_norm.weight", e);
  tensors.ones(name + "ffn_norm.weight", e);
  tensors.random(attn + "q_a_proj.weight", {kRank, e});
  tensors.ones(attn + "q_a_norm.weight", kRank);
  tensors.random(attn + "q_b_proj.weight", {kHeads * kHeadDim, kRank});
  tensors.random(attn + "k_proj.weight", {kHeadDim, e});
  tensors.random(attn + "v_proj.weight", {kHeadDim, e});
  tensors.random(attn + "o_a_proj.weight", {kRank, kHeads * kHeadDim});
  tensors.random(attn + "o_b_proj.weight", {e, kRank});
  tensors.ones(attn + "q_norm.weight", kHeadDim);
  tensors.ones(attn + "k_norm.weight", kHeadDim);
  add_byrne_rope(tensors, attn + "rope.");
  tensors.random(name + "ffn.gate_proj.weight", {kFeedForward, e});
  tensors.random(name + "ffn.up_proj.weight", {kFeedForward, e});
  tensors.random(name + "ffn.down_proj.weight", {e, kFeedForward});
  for (const char* site :
       {"hc_attn.pre_logits", "hc_attn.post_logits", "hc_ffn.pre_logits", "hc_ffn.post_logits"})
    tensors.random(name + site, {kStreams});
}

SyntheticModel byrne_86m() {
  constexpr int64_t e = 640, vocab = 16512, n_layers = 16, compress = 32, n_tables = 2,
                    table = 4096, max_ngram = 3, refine = 128;
  Tensors tensors;
  tensors.random("model.embed_tokens.weight", {vocab, e});
  tensors.copy("lm_head.weight", {vocab, e}, "model.embed_tokens.weight");
  tensors.ones("model.norm.weight", e);
  tensors.random("model.engram.compressor.proj.weight", {compress, e});
  for (int64_t a = 0; a < n_tables; ++a)
    tensors.random(fmt::format("model.engram.lookup.tables.{}.weight", a), {table, e});
  for (int64_t n = 1; n <= max_ngram; ++n)
    for (int64_t k = 0; k < n; ++k)
      tensors.random(fmt::format("model.engram.lookup.hash_proj_n{}_p{}", n, k),
                     {n_tables, compress});
  tensors.random("model.engram.gate.proj.weight", {e, 2 * e});
  for (const char* name : {"proj.bias", "alpha", "bias", "gamma"})
    tensors.random(fmt::format("model.engram.gate.{}", name), {e});
  for (int64_t l = 0; l < n_layers; ++l) add_byrne_layer(tensors, l, e);
  tensors.random("model.hc_out_mix.logits", {2});
  tensors.ones("model.hrm_refine.norm.weight", e);
  tensors.random("model.hrm_refine.down.weight", {refine, 2 * e});
  tensors.random("model.hrm_refine.up.weight", {e, refine});
  tensors.random("model.hrm_refine.gate", {1});
  tensors.random("mtp_heads.0.proj.weight", {e, e});
  return {byrne_config(e, vocab).dump(1), tensors.take(), 1};
}

struct Known {
  const char* name;
  SyntheticModel (*make)();
};
constexpr Known kKnown[] = {
    {"april-70m",
     [] {
       return raven({512, 8, 4, 1408, 32003, 4, 4, 4, false, 1});
     }},
    {"huginn-0125",
     [] {
       return raven({5280, 55, 55, 17920, 65536, 2, 4, 2, true, 4});
     }},
    {"act-110m", act_110m},
    {"byrne-86m", byrne_86m},
    {"crowfeather-50m", crowfeather_50m},
};

// Random numbers once; every tensor is a stretch of them, so memory stays far below the file.
class Numbers {
 public:
  Numbers(DType dtype, size_t n_random, size_t n_ones)
      : dtype_(dtype), random_(n_random * dtype_bytes(dtype)), ones_(n_ones * dtype_bytes(dtype)) {
    uint64_t state = 88172645463325252ULL;  // xorshift64: speed matters, quality does not
    for (size_t i = 0; i < n_random; ++i) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      put(random_, i, (static_cast<float>(state >> 40) / 8388608.0F - 1.0F) * 0.015F);
    }
    for (size_t i = 0; i < n_ones; ++i) put(ones_, i, 1.0F);
  }

  NamedTensor tensor(const SyntheticTensor& wanted) {
    const size_t size = wanted.count() * dtype_bytes(dtype_);
    if (wanted.fill == Fill::kValues) {
      std::vector<std::byte>& own = values_.emplace_back(size);
      for (size_t i = 0; i < wanted.values.size(); ++i) put(own, i, wanted.values[i]);
      return {wanted.name, dtype_, wanted.shape, own};
    }
    if (wanted.fill == Fill::kOnes)
      return {wanted.name, dtype_, wanted.shape, {ones_.data(), size}};
    const auto original = offsets_.find(wanted.copy_of);
    if (original == offsets_.end()) next_ = (next_ + 4096) % (random_.size() - size + 1) / 64 * 64;
    const size_t offset = original == offsets_.end() ? next_ : original->second;
    offsets_[wanted.name] = offset;
    return {wanted.name, dtype_, wanted.shape, {random_.data() + offset, size}};
  }

 private:
  void put(std::vector<std::byte>& bytes, size_t i, float value) const {
    if (dtype_ == DType::kF32) {
      std::memcpy(bytes.data() + i * 4, &value, 4);
    } else {
      const BF16 half = bf16_from_f32(value);
      std::memcpy(bytes.data() + i * 2, &half, 2);
    }
  }

  DType dtype_;
  std::vector<std::byte> random_, ones_;
  std::list<std::vector<std::byte>> values_;
  size_t next_ = 0;
  std::map<std::string, size_t> offsets_;  // of random tensors, by name
};

Status write_text(const std::filesystem::path& path, const std::string& text) {
  PLUMB_ASSIGN(AtomicFile file, AtomicFile::create(path));
  PLUMB_RETURN_IF_ERROR(file.write(std::string_view(text)));
  return file.commit();
}

}  // namespace

size_t SyntheticTensor::count() const {
  return std::accumulate(shape.begin(), shape.end(), size_t{1},
                         [](size_t n, int64_t extent) { return n * static_cast<size_t>(extent); });
}

size_t SyntheticModel::count() const {
  return std::accumulate(tensors.begin(), tensors.end(), size_t{0},
                         [](size_t n, const SyntheticTensor& t) { return n + t.count(); });
}

std::string synthetic_names() {
  std::string names;
  for (const Known& known : kKnown)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  return names;
}

Result<SyntheticModel> synthetic_model(const std::string& name) {
  for (const Known& known : kKnown)
    if (name == known.name) return known.make();
  return input_error("--synthetic \"{}\" is unknown; known: {}", name, synthetic_names());
}

Status write_synthetic(const SyntheticModel& model, DType dtype,
                       const std::filesystem::path& directory) {
  PLUMB_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return work_error("{}: cannot be made: {}", directory.string(), error.message());
  size_t largest_random = 0, largest_ones = 0;
  for (const SyntheticTensor& tensor : model.tensors) {
    if (tensor.fill == Fill::kValues) continue;
    size_t& largest = tensor.fill == Fill::kOnes ? largest_ones : largest_random;
    largest = std::max(largest, tensor.count());
  }
  Numbers numbers(dtype, largest_random + 65536, largest_ones);
  const size_t shards = model.n_shards, total = model.count();
  Json map = Json::object();
  size_t next = 0, counted = 0;
  for (size_t shard = 0; shard < shards; ++shard) {
    std::vector<NamedTensor> tensors;
    const std::string file =
        shards == 1 ? "model.safetensors"
                    : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
    while (next < model.tensors.size() &&
           (shard + 1 == shards || counted < total * (shard + 1) / shards)) {
      const SyntheticTensor& tensor = model.tensors[next++];
      tensors.push_back(numbers.tensor(tensor));
      map[tensor.name] = file;
      counted += tensor.count();
    }
    PLUMB_RETURN_IF_ERROR(write_safetensors(directory / file, tensors, {{"format", "pt"}}));
  }
  if (shards > 1) {
    const Json index = {{"metadata", {{"total_size", model.count() * dtype_bytes(dtype)}}},
                        {"weight_map", map}};
    PLUMB_RETURN_IF_ERROR(write_text(directory / "model.safetensors.index.json", index.dump(1)));
  }
  return write_text(directory / "config.json", model.config + "\n");
}

}  // namespace plumb
