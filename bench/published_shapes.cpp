#include "bench/published_shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace plumb {
namespace {

using Json = nlohmann::json;
using Fill = TensorShape::Fill;
using Tensors = std::vector<TensorShape>;

void ones(Tensors& tensors, const std::string& name, int64_t n) {
  tensors.push_back({name, {n}, Fill::kOnes});
}
void random(Tensors& tensors, const std::string& name, std::vector<int64_t> shape) {
  tensors.push_back({name, std::move(shape)});
}

struct RavenShape {
  int64_t e, h, hk, ff, vocab, prelude, core, coda;
  bool sandwich;
};

void raven_block(Tensors& tensors, const std::string& name, const RavenShape& s) {
  const int64_t d = s.e / s.h;
  for (int j = 1; j <= (s.sandwich ? 4 : 2); ++j)
    ones(tensors, fmt::format("{}.norm_{}.weight", name, j), s.e);
  random(tensors, name + ".attn.Wqkv.weight", {(s.h + 2 * s.hk) * d, s.e});
  if (s.sandwich) random(tensors, name + ".attn.qk_bias", {2, 1, s.h, d});
  random(tensors, name + ".attn.proj.weight", {s.e, s.e});
  random(tensors, name + ".mlp.fc.weight", {2 * s.ff, s.e});
  random(tensors, name + ".mlp.proj.weight", {s.e, s.ff});
}

Json raven_config(const RavenShape& s) {
  const double std_value = std::sqrt(2.0 / (5.0 * static_cast<double>(s.e)));
  Json json = {{"architectures", {"RavenForCausalLM"}},
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
               {"norm_eps", s.sandwich ? 1e-6 : 1e-5},
               {"mean_recurrence", 32},
               {"bias", false},
               {"qk_bias", s.sandwich},
               {"tie_embeddings", s.sandwich},
               {"block_size", 4096},
               {"rope_base", 50000},
               {"init_values",
                {{"std", std_value},
                 {"embed_scale", s.sandwich ? std::sqrt(static_cast<double>(s.e)) : 1.0}}}};
  if (!s.sandwich) json["rope_theta"] = 500000.0, json["max_position_embeddings"] = 16384;
  return json;
}

PublishedShape raven(const RavenShape& s, int n_shards) {
  PublishedShape model;
  Tensors& tensors = model.tensors;
  random(tensors, "transformer.wte.weight", {s.vocab, s.e});
  for (int64_t j = 0; j < s.prelude; ++j)
    raven_block(tensors, fmt::format("transformer.prelude.{}", j), s);
  random(tensors, "transformer.adapter.weight", {s.e, 2 * s.e});
  for (int64_t j = 0; j < s.core; ++j)
    raven_block(tensors, fmt::format("transformer.core_block.{}", j), s);
  for (int64_t j = 0; j < s.coda; ++j)
    raven_block(tensors, fmt::format("transformer.coda.{}", j), s);
  ones(tensors, "transformer.ln_f.weight", s.e);
  tensors.push_back({"lm_head.weight",
                     {s.vocab, s.e},
                     Fill::kRandom,
                     {},
                     s.sandwich ? "transformer.wte.weight" : ""});
  model.config = raven_config(s);
  model.n_shards = n_shards;
  return model;
}

// Its directory has no config.json: shapes and printed defaults decide.
PublishedShape act() {
  constexpr int64_t kDim = 1280, kFf = 10240, kVocab = 50257;
  PublishedShape model;
  model.file = "base.safetensors";
  random(model.tensors, "tok_emb.weight", {kVocab, kDim});
  for (const char* norm : {"block.norm1.weight", "block.norm2.weight", "norm_f.weight"})
    ones(model.tensors, norm, kDim);
  for (const char* part : {"q", "k", "v", "o"})
    random(model.tensors, fmt::format("block.attn.w{}.weight", part), {kDim, kDim});
  for (const char* part : {"gate", "up"})
    random(model.tensors, fmt::format("block.mlp.{}.weight", part), {kFf, kDim});
  random(model.tensors, "block.mlp.down.weight", {kDim, kFf});
  random(model.tensors, "halt.weight", {1, kDim});
  random(model.tensors, "halt.bias", {1});
  return model;
}

PublishedShape crowfeather() {
  constexpr int64_t kDim = 512, kFf = 2048, kVocab = 8192, kLayers = 12;
  PublishedShape model;
  random(model.tensors, "tok_emb.weight", {kVocab, kDim});
  for (int64_t l = 0; l < kLayers; ++l) {
    const std::string name = fmt::format("layers.{}.", l);
    ones(model.tensors, name + "norm1.weight", kDim);
    ones(model.tensors, name + "norm2.weight", kDim);
    for (const char* part : {"q", "k", "v", "o"})
      random(model.tensors, fmt::format("{}attn.w{}.weight", name, part), {kDim, kDim});
    for (const char* part : {"gate", "up"})
      random(model.tensors, fmt::format("{}mlp.{}.weight", name, part), {kFf, kDim});
    random(model.tensors, name + "mlp.down.weight", {kDim, kFf});
  }
  ones(model.tensors, "norm_f.weight", kDim);
  model.config = {{"model_type", "crowfeather_toylm"},
                  {"vocab_size", kVocab},
                  {"dim", kDim},
                  {"n_layers", kLayers},
                  {"n_heads", 8},
                  {"head_dim", 64},
                  {"mlp_hidden", kFf},
                  {"max_seq_len", 8192},
                  {"sliding_window", 1024},
                  {"logit_softcap", 30.0}};
  return model;
}

constexpr int64_t kByrneDim = 640, kByrneHead = 64, kByrneRope = 16, kByrnePositions = 4096,
                  kByrneRank = 128, kByrneFf = 2000;

void byrne_layer(Tensors& tensors, const std::string& name) {
  constexpr int64_t kHeads = 10, kHalf = kByrneRope / 2;
  const std::string attn = name + "attn.";
  ones(tensors, name + "attn_norm.weight", kByrneDim);
  ones(tensors, name + "ffn_norm.weight", kByrneDim);
  random(tensors, attn + "q_a_proj.weight", {kByrneRank, kByrneDim});
  ones(tensors, attn + "q_a_norm.weight", kByrneRank);
  random(tensors, attn + "q_b_proj.weight", {kHeads * kByrneHead, kByrneRank});
  for (const char* part : {"k", "v"})
    random(tensors, fmt::format("{}{}_proj.weight", attn, part), {kByrneHead, kByrneDim});
  random(tensors, attn + "o_a_proj.weight", {kByrneRank, kHeads * kByrneHead});
  random(tensors, attn + "o_b_proj.weight", {kByrneDim, kByrneRank});
  for (const char* part : {"q", "k"})
    ones(tensors, fmt::format("{}{}_norm.weight", attn, part), kByrneHead);
  std::vector<float> inverse, cosines, sines;
  for (int64_t i = 0; i < kHalf; ++i)
    inverse.push_back(
        1 / std::pow(10000.0F, static_cast<float>(2 * i) / static_cast<float>(kByrneRope)));
  for (int64_t p = 0; p < kByrnePositions; ++p)
    for (const float frequency : inverse) {
      cosines.push_back(std::cos(static_cast<float>(p) * frequency));
      sines.push_back(std::sin(static_cast<float>(p) * frequency));
    }
  tensors.push_back({attn + "rope.inv_freq", {kHalf}, Fill::kValues, inverse});
  tensors.push_back({attn + "rope.cos_cache", {kByrnePositions, kHalf}, Fill::kValues, cosines});
  tensors.push_back({attn + "rope.sin_cache", {kByrnePositions, kHalf}, Fill::kValues, sines});
  for (const char* part : {"gate", "up"})
    random(tensors, fmt::format("{}ffn.{}_proj.weight", name, part), {kByrneFf, kByrneDim});
  random(tensors, name + "ffn.down_proj.weight", {kByrneDim, kByrneFf});
  for (const char* site : {"hc_attn", "hc_ffn"})
    for (const char* part : {"pre_logits", "post_logits"})
      random(tensors, fmt::format("{}{}.{}", name, site, part), {2});
}

void byrne_engram(Tensors& tensors) {
  constexpr int64_t kCompressed = 32, kHeads = 2, kRows = 4096;
  const std::string name = "model.engram.";
  random(tensors, name + "compressor.proj.weight", {kCompressed, kByrneDim});
  for (int64_t a = 0; a < kHeads; ++a)
    random(tensors, fmt::format("{}lookup.tables.{}.weight", name, a), {kRows, kByrneDim});
  for (int n = 1; n <= 3; ++n)
    for (int k = 0; k < n; ++k)
      random(tensors, fmt::format("{}lookup.hash_proj_n{}_p{}", name, n, k), {kHeads, kCompressed});
  random(tensors, name + "gate.proj.weight", {kByrneDim, 2 * kByrneDim});
  random(tensors, name + "gate.proj.bias", {kByrneDim});
  for (const char* part : {"alpha", "bias", "gamma"})
    random(tensors, fmt::format("{}gate.{}", name, part), {kByrneDim});
}

PublishedShape byrne() {
  constexpr int64_t kVocab = 16512, kLayers = 16, kRefine = 128;
  PublishedShape model;
  Tensors& tensors = model.tensors;
  random(tensors, "model.embed_tokens.weight", {kVocab, kByrneDim});
  byrne_engram(tensors);
  for (int64_t l = 0; l < kLayers; ++l) byrne_layer(tensors, fmt::format("model.layers.{}.", l));
  random(tensors, "model.hc_out_mix.logits", {2});
  ones(tensors, "model.hrm_refine.norm.weight", kByrneDim);
  random(tensors, "model.hrm_refine.down.weight", {kRefine, 2 * kByrneDim});
  random(tensors, "model.hrm_refine.up.weight", {kByrneDim, kRefine});
  random(tensors, "model.hrm_refine.gate", {1});
  ones(tensors, "model.norm.weight", kByrneDim);
  tensors.push_back(
      {"lm_head.weight", {kVocab, kByrneDim}, Fill::kRandom, {}, "model.embed_tokens.weight"});
  random(tensors, "mtp_heads.0.proj.weight", {kByrneDim, kByrneDim});
  model.config = {{"architectures", {"SpikeWhaleLM"}},
                  {"model_type", "spike_whale"},
                  {"vocab_size", kVocab},
                  {"hidden_size", kByrneDim},
                  {"num_hidden_layers", kLayers},
                  {"max_position_embeddings", kByrnePositions},
                  {"num_attention_heads", 10},
                  {"num_key_value_heads", 1},
                  {"head_dim", kByrneHead},
                  {"nope_head_dim", 48},
                  {"qk_rope_head_dim", kByrneRope},
                  {"q_lora_rank", kByrneRank},
                  {"o_lora_rank", kByrneRank},
                  {"rope_theta", 10000.0},
                  {"rms_norm_eps", 1e-6},
                  {"use_qk_norm", true},
                  {"use_xsa", true},
                  {"use_derf", false},
                  {"use_value_embed", false},
                  {"moe_intermediate_size", kByrneFf},
                  {"use_moe", false},
                  {"moe_layers", Json::array()},
                  {"use_engram", true},
                  {"engram_compress_dim", 32},
                  {"engram_num_heads", 2},
                  {"engram_table_size", 4096},
                  {"engram_max_ngram", 3},
                  {"use_hyper_connections", true},
                  {"hc_mult", 2},
                  {"hc_sinkhorn_iters", 20},
                  {"hc_eps", 1e-6},
                  {"use_hrm_refine", true},
                  {"hrm_refine_dim", kRefine},
                  {"hrm_refine_steps", 1},
                  {"num_nextn_predict_layers", 1},
                  {"tie_word_embeddings", true},
                  {"bos_token_id", 2},
                  {"eos_token_id", 3},
                  {"dtype", "float32"}};
  return model;
}

}  // namespace

const std::vector<std::string>& published_names() {
  static const std::vector<std::string> names = {"huginn-0125", "april-70m", "act-110m",
                                                 "byrne-86m", "crowfeather-50m"};
  return names;
}

std::optional<PublishedShape> published_shape(const std::string& name) {
  if (name == "huginn-0125") return raven({5280, 55, 55, 17920, 65536, 2, 4, 2, true}, 4);
  if (name == "april-70m") return raven({512, 8, 4, 1408, 32003, 4, 4, 4, false}, 1);
  if (name == "act-110m") return act();
  if (name == "byrne-86m") return byrne();
  if (name == "crowfeather-50m") return crowfeather();
  return std::nullopt;
}

}  // namespace plumb
