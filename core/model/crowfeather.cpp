#include "core/model/crowfeather.h"

#include <cstring>

#include "core/model/layered_transformer.h"
#include "core/model/rope_evidence.h"

namespace plumb {
namespace {

constexpr size_t kMaxTableElements = size_t{1} << 27;

// D model_dim, V vocab_size, Q heads * head_dim, F ff_dim.
constexpr CanonicalTensor kTensors[] = {
    {"tok_emb.weight", "VD"},
    {"layers.{i}.norm1.weight", "D"},
    {"layers.{i}.norm2.weight", "D"},
    {"layers.{i}.attn.wq.weight", "QD"},
    {"layers.{i}.attn.wk.weight", "QD"},
    {"layers.{i}.attn.wv.weight", "QD"},
    {"layers.{i}.attn.wo.weight", "DQ"},
    {"layers.{i}.mlp.gate.weight", "FD"},
    {"layers.{i}.mlp.up.weight", "FD"},
    {"layers.{i}.mlp.down.weight", "DF"},
    {"norm_f.weight", "D"},
};

#define PLUMB_ROOT "(|model.|transformer.|net.)"
#define PLUMB_STACK PLUMB_ROOT "(blocks|layers|h).{i}."
#define PLUMB_ATTENTION PLUMB_STACK "(attn|self_attn|attention)."
#define PLUMB_MLP PLUMB_STACK "(mlp|ffn|feed_forward)."

// w1, w2, w3 name other matrices in other code bases, and up may be fused with gate: shapes decide.
constexpr AliasRow kRows[] = {
    {PLUMB_ROOT "(tok_emb|embed|wte|embed_tokens|token_embedding|tok_embeddings).weight", "tok_emb.weight"},
    {PLUMB_STACK "(norm1|attn_norm|ln1|ln_1|input_layernorm|attention_norm).weight", "layers.{i}.norm1.weight"},
    {PLUMB_STACK "(norm2|mlp_norm|ffn_norm|ln2|ln_2|post_attention_layernorm).weight", "layers.{i}.norm2.weight"},
    {PLUMB_ATTENTION "(q_proj|wq|q).weight", "layers.{i}.attn.wq.weight"},
    {PLUMB_ATTENTION "(k_proj|wk|k).weight", "layers.{i}.attn.wk.weight"},
    {PLUMB_ATTENTION "(v_proj|wv|v).weight", "layers.{i}.attn.wv.weight"},
    {PLUMB_ATTENTION "(qkv|wqkv|c_attn|qkv_proj).weight",
     "layers.{i}.attn.wq.weight,layers.{i}.attn.wk.weight,layers.{i}.attn.wv.weight"},
    {PLUMB_ATTENTION "(o_proj|wo|o|out|proj|out_proj|c_proj).weight", "layers.{i}.attn.wo.weight"},
    {PLUMB_MLP "(gate|w1|gate_proj).weight", "layers.{i}.mlp.gate.weight"},
    {PLUMB_MLP "(up|w3|w2|up_proj).weight", "layers.{i}.mlp.up.weight"},
    {PLUMB_MLP "(up|gate_up|w12|w1|gate_up_proj).weight", "layers.{i}.mlp.gate.weight,layers.{i}.mlp.up.weight"},
    {PLUMB_MLP "(down|w2|w3|down_proj|proj).weight", "layers.{i}.mlp.down.weight"},
    {PLUMB_ROOT "(final_norm|norm_f|ln_f|norm).weight", "norm_f.weight"},
    {PLUMB_ROOT "(lm_head|head|output|unembed).weight", "tok_emb.weight", AliasRow::kTied},
};

RopeTable rope_table(const CrowfeatherConfig& c, double theta) {
  const auto positions = static_cast<size_t>(c.max_positions), d = static_cast<size_t>(c.head_dim);
  RopeTable exact(rope_frequencies(d, theta), std::min(positions, RopeTable::kMostTabulated));
  if (!c.bf16_rope_table) return exact;
  Mat<float> cos(positions, d / 2), sin(positions, d / 2);
  std::vector<float> scratch(d);
  for (size_t pos = 0; pos < positions; ++pos) {
    const float* cos_row = nullptr;
    const float* sin_row = nullptr;
    exact.at(pos, scratch, &cos_row, &sin_row);
    for (size_t j = 0; j < d / 2; ++j) {
      cos(pos, j) = f32_from_bf16(bf16_from_f32(cos_row[j]));
      sin(pos, j) = f32_from_bf16(bf16_from_f32(sin_row[j]));
    }
  }
  return RopeTable(std::move(cos), std::move(sin));
}

Result<std::vector<float>> norm_weight(WeightLoader& loader, const CrowfeatherConfig& c, const std::string& name) {
  PLUMB_ASSIGN(std::vector<float> weights, loader.vector(name, {c.model_dim}));
  for (float& weight : weights) weight += static_cast<float>(c.norm_weight_offset);
  return weights;
}

// Tensors that a checkpoint may hold besides: recomputable buffers, and a second copy of the head.
Status skip_extras(WeightLoader& loader) {
  const Checkpoint& checkpoint = loader.checkpoint();
  for (const TensorInfo& tensor : checkpoint.tensors())
    if (is_rope_or_mask_buffer(tensor.name)) loader.ignore(tensor.name);
  const TensorInfo* head = checkpoint.find("lm_head.weight");
  if (head == nullptr) return ok_status();
  const TensorInfo* embedding = checkpoint.find("tok_emb.weight");
  if (embedding == nullptr || head->dtype != embedding->dtype || head->shape != embedding->shape ||
      std::memcmp(head->data, embedding->data, head->bytes) != 0)
    return input_error("{}: tensor \"lm_head.weight\" is not the same as \"tok_emb.weight\", expected a tied head", head->file);
  loader.ignore("lm_head.weight");
  return ok_status();
}

}  // namespace

const AliasFamily kCrowfeatherAliases = {"crowfeather", kTensors, kRows, is_rope_or_mask_buffer};

Result<std::unique_ptr<RecurrentModel>> load_crowfeather_as(const CrowfeatherConfig& c, const Checkpoint& checkpoint,
                                                            Precision precision, Team& team) {
  WeightLoader loader(checkpoint, precision, team);
  LayeredParts parts;
  ModelInfo& info = parts.info;
  info.family = "crowfeather";
  info.model_dim = c.model_dim;
  info.vocab_size = c.vocab_size;
  info.n_heads = info.n_kv_heads = c.n_heads;
  info.head_dim = c.head_dim;
  info.max_positions = c.max_positions;
  info.crop_overflow = c.crop_overflow;
  info.notes = c.notes;
  info.open_switches = c.open_switches;
  parts.ff_dim = c.ff_dim;
  parts.norm_eps = c.norm_eps;
  parts.embed_scale = c.embed_scale;
  parts.logit_softcap = c.logit_softcap;
  parts.norm_heads = c.norm_heads;
  parts.rope_layout = c.rope_layout;
  PLUMB_ASSIGN(parts.embedding, loader.linear("tok_emb.weight", c.vocab_size, c.model_dim));
  for (int l = 0; l < c.n_layers; ++l) {
    const std::string name = fmt::format("layers.{}.", l), attn = name + "attn.", mlp = name + "mlp.";
    PLUMB_ASSIGN(LayeredBlock block,
                 load_layered_block(loader, {name + "norm1.weight", name + "norm2.weight", attn + "wq.weight",
                                             attn + "wk.weight", attn + "wv.weight", attn + "wo.weight",
                                             mlp + "gate.weight", mlp + "up.weight", mlp + "down.weight"}, info, c.ff_dim));
    PLUMB_ASSIGN(block.norm_1, norm_weight(loader, c, name + "norm1.weight"));
    PLUMB_ASSIGN(block.norm_2, norm_weight(loader, c, name + "norm2.weight"));
    block.window = c.visible_keys(l);
    block.rope = c.sliding[static_cast<size_t>(l)] ? 0 : 1;
    parts.blocks.push_back(std::move(block));
  }
  PLUMB_ASSIGN(parts.final_norm, norm_weight(loader, c, "norm_f.weight"));
  PLUMB_RETURN_IF_ERROR(skip_extras(loader));
  PLUMB_RETURN_IF_ERROR(loader.finish());
  // Only now are the sizes known to be those of real tensors.
  if (c.bf16_rope_table && static_cast<size_t>(c.max_positions) > kMaxTableElements / static_cast<size_t>(c.head_dim))
    return input_error("{}: max_seq_len {} is too long for a bf16 rope table", checkpoint.config_where(), c.max_positions);
  parts.ropes.push_back(rope_table(c, c.rope_theta));
  parts.ropes.push_back(rope_table(c, c.rope_theta_global));
  return std::unique_ptr<RecurrentModel>(std::make_unique<LayeredTransformer>(std::move(parts)));
}

Result<std::unique_ptr<RecurrentModel>> load_crowfeather(const Checkpoint& given, Precision precision, Team& team) {
  PLUMB_ASSIGN(const CanonicalNames names, guess_names(kCrowfeatherAliases, given));
  const Checkpoint& checkpoint = names.renamed ? *names.renamed : given;
  PLUMB_ASSIGN(CrowfeatherConfig config, read_crowfeather_config(checkpoint));
  config.notes.insert(config.notes.begin(), names.notes.begin(), names.notes.end());
  return load_crowfeather_as(config, checkpoint, precision, team);
}

}  // namespace plumb
