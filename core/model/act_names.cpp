#include <algorithm>

#include "core/model/act_transformer.h"
#include "core/model/rope_evidence.h"

namespace plumb {
namespace {

// D model_dim, V vocab_size, Q heads * head_dim, F ff_dim, P positions, S steps.
constexpr CanonicalTensor kTensors[] = {
    {"tok_emb.weight", "VD"},
    {"pos_emb.weight", "PD", false},
    {"step_emb.weight", "SD", false},
    {"block.norm1.weight", "D"},
    {"block.norm1.bias", "D", false},
    {"block.norm2.weight", "D"},
    {"block.norm2.bias", "D", false},
    {"block.attn.wq.weight", "QD"},
    {"block.attn.wk.weight", "QD"},
    {"block.attn.wv.weight", "QD"},
    {"block.attn.wo.weight", "DQ"},
    {"block.attn.wr.weight", "QD", false},
    {"block.attn.u", "*", false},  // [heads, head_dim] or flat
    {"block.attn.v", "*", false},
    {"block.mlp.gate.weight", "FD"},
    {"block.mlp.up.weight", "FD"},
    {"block.mlp.down.weight", "DF"},
    {"halt.weight", "1D", false},
    {"halt.bias", "1", false},
    {"norm_f.weight", "D", false},
    {"norm_f.bias", "D", false},
};

#define PLUMB_ROOT "(|model.|transformer.|net.)"
#define PLUMB_BLOCK PLUMB_ROOT "(block|shared|shared_block|layer|layers.0|cell)."
#define PLUMB_ATTENTION PLUMB_BLOCK "(attn|self_attn|attention)."
#define PLUMB_MLP PLUMB_BLOCK "(mlp|ffn|feed_forward)."
#define PLUMB_NORM_1 PLUMB_BLOCK "(norm1|norm_1|attn_norm|ln1|ln_1|input_layernorm|attention_norm)."
#define PLUMB_NORM_2 PLUMB_BLOCK "(norm2|norm_2|mlp_norm|ffn_norm|ln2|ln_2|post_attention_layernorm)."
#define PLUMB_FINAL PLUMB_ROOT "(norm_f|final_norm|ln_f|norm)."
#define PLUMB_HALT PLUMB_ROOT "(halt|halt_head|halting|halting_head|ponder|act_head)."

// w1, w2, w3 name other matrices in other code bases, and up may be fused with gate: shapes decide.
constexpr AliasRow kRows[] = {
    {PLUMB_ROOT "(tok_emb|embed|wte|embed_tokens|token_embedding|tok_embeddings|embedding).weight", "tok_emb.weight"},
    {PLUMB_ROOT "(pos_emb|wpe|pos_embed|position_embedding).weight", "pos_emb.weight"},
    {PLUMB_ROOT "(step_emb|time_emb|depth_emb|timestep).weight", "step_emb.weight"},
    {PLUMB_NORM_1 "weight", "block.norm1.weight"},
    {PLUMB_NORM_1 "bias", "block.norm1.bias"},
    {PLUMB_NORM_2 "weight", "block.norm2.weight"},
    {PLUMB_NORM_2 "bias", "block.norm2.bias"},
    {PLUMB_ATTENTION "(q_proj|wq|q).weight", "block.attn.wq.weight"},
    {PLUMB_ATTENTION "(k_proj|wk|k).weight", "block.attn.wk.weight"},
    {PLUMB_ATTENTION "(v_proj|wv|v).weight", "block.attn.wv.weight"},
    {PLUMB_ATTENTION "(qkv|wqkv|c_attn|qkv_proj).weight", "block.attn.wq.weight,block.attn.wk.weight,block.attn.wv.weight"},
    {PLUMB_ATTENTION "(o_proj|wo|o|out|proj|out_proj|c_proj).weight", "block.attn.wo.weight"},
    {PLUMB_ATTENTION "(wr|r_net|pos_proj|W_kr).weight", "block.attn.wr.weight"},
    {PLUMB_ATTENTION "(u|r_w_bias|content_bias)", "block.attn.u"},
    {PLUMB_ATTENTION "(v|r_r_bias|position_bias)", "block.attn.v"},
    {PLUMB_MLP "(gate|w1|gate_proj).weight", "block.mlp.gate.weight"},
    {PLUMB_MLP "(up|w3|w2|up_proj).weight", "block.mlp.up.weight"},
    {PLUMB_MLP "(up|gate_up|w12|w1|gate_up_proj).weight", "block.mlp.gate.weight,block.mlp.up.weight"},
    {PLUMB_MLP "(down|w2|w3|down_proj|proj).weight", "block.mlp.down.weight"},
    {PLUMB_HALT "weight", "halt.weight"},
    {PLUMB_HALT "bias", "halt.bias"},
    {PLUMB_FINAL "weight", "norm_f.weight"},
    {PLUMB_FINAL "bias", "norm_f.bias"},
    {PLUMB_ROOT "(lm_head|head|output|unembed).weight", "tok_emb.weight", AliasRow::kTied},
};

// Rope tables and masks, and what FP8 training leaves behind.
bool is_buffer(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return is_rope_or_mask_buffer(name) || last.ends_with("_extra_state") || last.find("amax") != std::string_view::npos ||
         last.find("scale") != std::string_view::npos;
}

bool has_halting_head(const Checkpoint& checkpoint) {
  return std::any_of(checkpoint.tensors().begin(), checkpoint.tensors().end(), [](const TensorInfo& tensor) {
    const std::string_view name = tensor.name;
    const size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) return false;
    const std::string_view head = name.substr(0, dot), last = head.substr(head.rfind('.') + 1);
    return last == "halt" || last == "halt_head" || last == "halting" || last == "halting_head" || last == "ponder" || last == "act_head";
  });
}

}  // namespace

const AliasFamily kActAliases = {"act", kTensors, kRows, is_buffer};

bool is_act(const Checkpoint& checkpoint) {
  const auto type = JsonFields(checkpoint.config(), checkpoint.config_where()).text("model_type");
  if (type.ok() && type.value() == "act_recurrent") return true;
  if (checkpoint.find("block.attn.wq.weight") != nullptr) return true;
  return has_halting_head(checkpoint) && resembles(kActAliases, checkpoint);
}

}  // namespace plumb
