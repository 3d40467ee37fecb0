#include "core/model/spikewhale_config.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/model/spikewhale_names.h"
#include "core/model/spikewhale_switches.h"
#include "core/model/weights.h"

namespace plumb {
namespace {

// Fields of published files that decide nothing here: training, initialisation, mixtures of experts
// that are switched off, and what other libraries note down.
constexpr const char* kWithoutEffect[] = {"architectures",
                                          "attention_dropout",
                                          "auto_map",
                                          "bos_token_id",
                                          "pad_token_id",
                                          "unk_token_id",
                                          "dtype",
                                          "torch_dtype",
                                          "engram_gate_init_bias",
                                          "hidden_dropout",
                                          "initializer_range",
                                          "jepa_horizon",
                                          "jepa_loss_weight",
                                          "jepa_pred_dim",
                                          "moe_aux_loss_coef",
                                          "mtp_loss_weight",
                                          "n_routed_experts",
                                          "n_shared_experts",
                                          "norm_topk_prob",
                                          "num_experts_per_tok",
                                          "num_hash_layers",
                                          "num_nextn_predict_layers",
                                          "routed_scaling_factor",
                                          "scoring_func",
                                          "transformers_version",
                                          "use_cache",
                                          "use_jepa",
                                          "zloss_coef",
                                          "model_type",
                                          "moe_layers",
                                          "use_moe",
                                          "rope_scaling"};

class SpikeWhaleReader {
 public:
  SpikeWhaleReader(const Checkpoint& checkpoint, SpikeWhaleConfig& config)
      : checkpoint_(&checkpoint),
        json_(&checkpoint.config()),
        fields_(checkpoint.config(), checkpoint.config_where()),
        c_(&config) {}

  Status read();

 private:
  const std::string& where() const { return fields_.where(); }
  bool has_config() const { return json_->is_object(); }
  const TensorInfo* find(const std::string& tensor) const { return checkpoint_->find(tensor); }

  template <class Value>
  void assumed(const char* field, const Value& value) {
    assumed_ += fmt::format("{}{} {}", assumed_.empty() ? "" : ", ", field, value);
  }
  // The same with the values that a probe may try in its place.
  template <class Value>
  void assumed(const char* field, const Value& value, OpenSwitch open) {
    assumed(field, value);
    c_->open_switches.push_back(std::move(open));
  }
  template <class Value>
  void inferred(const char* field, const Value& value) {
    inferred_ += fmt::format("{}{} {}", inferred_.empty() ? "" : ", ", field, value);
  }
  Error missing(const char* field) const {
    return input_error(
        "{}: field \"{}\" is missing; the defaults of the published code describe another model",
        where(), field);
  }

  // From the config; without one, `extent` decides (0: the tensor that would is not there).
  Status size(const char* field, int64_t min, int64_t max, int64_t extent, int& target);
  Status number(const char* field, double& target, const std::vector<double>& to_try);
  // From the config; without one, whether `tensor` is there. With a default, it may be left out.
  Status flag(const char* field, const char* tensor, bool has_default, bool& target);
  template <class T, size_t N>
  Status choice(const char* field, const SwitchNames<T, N>& names, T& target);
  int64_t extent(const std::string& tensor, size_t axis) const;
  bool any_below(const char* prefix) const;

  Status refuse_other_models();
  Status read_sizes();
  Status read_attention();
  Status read_tie();
  Status read_engram();
  Status read_streams();
  Status read_refinement();
  Status read_stop_ids();
  Status check() const;
  void note_unused();

  const Checkpoint* checkpoint_;
  const Json* json_;
  JsonFields fields_;
  SpikeWhaleConfig* c_;
  std::set<std::string> known_;
  std::string assumed_, inferred_;
};

int64_t SpikeWhaleReader::extent(const std::string& tensor, size_t axis) const {
  const TensorInfo* info = find(tensor);
  return info == nullptr || info->shape.size() <= axis ? 0 : info->shape[axis];
}

bool SpikeWhaleReader::any_below(const char* prefix) const {
  const auto tensors = checkpoint_->tensors();
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const TensorInfo& t) { return t.name.starts_with(prefix); });
}

Status SpikeWhaleReader::size(const char* field, int64_t min, int64_t max, int64_t extent, int& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.integer(field, min, max));
  if (value) {
    target = static_cast<int>(*value);
    return ok_status();
  }
  if (has_config()) return missing(field);
  if (extent < min || extent > max)
    return input_error("{}: there is no config.json and no tensor decides \"{}\"",
                       checkpoint_->display_name(), field);
  target = static_cast<int>(extent);
  inferred(field, target);
  return ok_status();
}

Status SpikeWhaleReader::number(const char* field, double& target, const std::vector<double>& to_try) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.number(field));
  if (!value && has_config()) return missing(field);
  if (value)
    target = *value;
  else
    assumed(field, target, open_switch(field, target, to_try));
  return ok_status();
}

Status SpikeWhaleReader::flag(const char* field, const char* tensor, bool has_default, bool& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.boolean(field));
  if (value) {
    target = *value;
  } else if (has_config() && !has_default) {
    return missing(field);
  } else if (!has_config() && tensor != nullptr) {
    target = any_below(tensor);
    inferred(field, target);
  } else {
    assumed(field, target, open_switch(field, target));
  }
  return ok_status();
}

template <class T, size_t N>
Status SpikeWhaleReader::choice(const char* field, const SwitchNames<T, N>& names, T& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto text, fields_.text(field));
  if (!text) {
    assumed(field, name_of(names, target), open_switch(field, names, target));
    return ok_status();
  }
  for (const auto& [name, value] : names) {
    if (*text != name) continue;
    target = value;
    return ok_status();
  }
  return input_error("{}: field \"{}\" is \"{}\", expected {}", where(), field, *text,
                     expected_names(names));
}

Status SpikeWhaleReader::refuse_other_models() {
  PLUMB_ASSIGN(const auto type, fields_.text("model_type"));
  if (type && *type != "spike_whale")
    return input_error("{}: field \"model_type\" is \"{}\", expected \"spike_whale\"", where(),
                       *type);
  PLUMB_ASSIGN(const auto experts, fields_.boolean("use_moe"));
  if (experts.value_or(false))
    return input_error(
        "{}: field \"use_moe\" is true, expected false: no published model of this family has "
        "experts",
        where());
  if (fields_.has("moe_layers") && (*json_)["moe_layers"] != Json::array())
    return input_error("{}: field \"moe_layers\" is {}, expected an empty list", where(),
                       (*json_)["moe_layers"].dump());
  if (fields_.has("rope_scaling"))
    return input_error(
        "{}: field \"rope_scaling\" is {}, expected none: this family does not scale positions",
        where(), (*json_)["rope_scaling"].dump());
  return ok_status();
}

Status SpikeWhaleReader::read_sizes() {
  const std::string layer = "model.layers.0.";
  PLUMB_RETURN_IF_ERROR(
      size("vocab_size", 1, kMaxDim * 16, extent("model.embed_tokens.weight", 0), c_->vocab_size));
  PLUMB_RETURN_IF_ERROR(
      size("hidden_size", 1, kMaxDim, extent("model.embed_tokens.weight", 1), c_->model_dim));
  int layers = 0;
  while (layers < 4096 && find(fmt::format("model.layers.{}.attn_norm.weight", layers)) != nullptr)
    ++layers;
  PLUMB_RETURN_IF_ERROR(size("num_hidden_layers", 1, 4096, layers, c_->n_layers));
  PLUMB_RETURN_IF_ERROR(size("max_position_embeddings", 1, kMaxDim * 16,
                             extent(layer + "attn.rope.cos_cache", 0), c_->max_positions));
  PLUMB_RETURN_IF_ERROR(size("moe_intermediate_size", 1, kMaxDim,
                             extent(layer + "ffn.gate_proj.weight", 0), c_->ff_dim));
  PLUMB_RETURN_IF_ERROR(number("rms_norm_eps", c_->norm_eps, kNormEpsToTry));
  return ok_status();
}

Status SpikeWhaleReader::read_attention() {
  const std::string attn = "model.layers.0.attn.";
  PLUMB_RETURN_IF_ERROR(flag("use_qk_norm", "model.layers.0.attn.q_norm.", true, c_->norm_heads));
  PLUMB_RETURN_IF_ERROR(flag("use_xsa", nullptr, false, c_->exclusive));
  PLUMB_RETURN_IF_ERROR(flag("use_derf", "model.layers.0.attn.derf_", false, c_->erf_attention));
  PLUMB_RETURN_IF_ERROR(flag("use_value_embed", "model.layers.0.ve_gate", true, c_->value_embed));
  if (c_->erf_attention) PLUMB_RETURN_IF_ERROR(choice("derf_mask", kErfMasks, c_->erf_mask_always));
  PLUMB_RETURN_IF_ERROR(
      size("head_dim", 2, kMaxDim, extent(attn + "q_norm.weight", 0), c_->head_dim));
  PLUMB_RETURN_IF_ERROR(
      size("qk_rope_head_dim", 2, kMaxDim, 2 * extent(attn + "rope.cos_cache", 1), c_->rope_dim));
  int plain_dim = 0;
  PLUMB_RETURN_IF_ERROR(size("nope_head_dim", 0, kMaxDim, c_->head_dim - c_->rope_dim, plain_dim));
  if (plain_dim != c_->head_dim - c_->rope_dim)
    return input_error("{}: nope_head_dim {} and qk_rope_head_dim {} do not add up to head_dim {}",
                       where(), plain_dim, c_->rope_dim, c_->head_dim);
  PLUMB_RETURN_IF_ERROR(size("num_attention_heads", 1, kMaxDim,
                             extent(attn + "q_b_proj.weight", 0) / c_->head_dim, c_->n_heads));
  PLUMB_RETURN_IF_ERROR(size("num_key_value_heads", 1, kMaxDim,
                             extent(attn + "k_proj.weight", 0) / c_->head_dim, c_->n_kv_heads));
  PLUMB_RETURN_IF_ERROR(
      size("q_lora_rank", 1, kMaxDim, extent(attn + "q_a_proj.weight", 0), c_->q_rank));
  PLUMB_RETURN_IF_ERROR(
      size("o_lora_rank", 1, kMaxDim, extent(attn + "o_a_proj.weight", 0), c_->o_rank));
  PLUMB_RETURN_IF_ERROR(number("rope_theta", c_->rope_theta, kThetasToTry));
  return ok_status();
}

// A tied head may be in the file as a copy, which nobody reads.
Status SpikeWhaleReader::read_tie() {
  known_.insert("tie_word_embeddings");
  PLUMB_ASSIGN(const auto tied, fields_.boolean("tie_word_embeddings"));
  if (!tied && has_config()) return missing("tie_word_embeddings");
  const TensorInfo* head = find("lm_head.weight");
  const TensorInfo* table = find("model.embed_tokens.weight");
  const bool copy = head != nullptr && table != nullptr && head->dtype == table->dtype &&
                    head->shape == table->shape &&
                    std::memcmp(head->data, table->data, head->bytes) == 0;
  c_->tied = tied.value_or(head == nullptr || copy);
  if (!tied) inferred("tie_word_embeddings", c_->tied);
  if (c_->tied && head != nullptr && !copy)
    c_->notes.push_back(fmt::format(
        "{}: tensor \"lm_head.weight\" differs from the embedding that it should be a copy of; "
        "the embedding is used",
        head->file));
  return ok_status();
}

Status SpikeWhaleReader::read_engram() {
  PLUMB_RETURN_IF_ERROR(flag("use_engram", "model.engram.", false, c_->has_engram));
  for (const char* field :
       {"engram_compress_dim", "engram_num_heads", "engram_table_size", "engram_max_ngram",
        "engram_gate_input", "engram_gate_form", "engram_context"})
    known_.insert(field);
  if (!c_->has_engram) return ok_status();
  EngramConfig& e = c_->engram;
  int heads = 0, orders = 0;
  while (heads < 1024 &&
         find(fmt::format("model.engram.lookup.tables.{}.weight", heads)) != nullptr)
    ++heads;
  while (orders < 64 &&
         find(fmt::format("model.engram.lookup.hash_proj_n{}_p0", orders + 1)) != nullptr)
    ++orders;
  PLUMB_RETURN_IF_ERROR(size("engram_compress_dim", 1, kMaxDim,
                             extent("model.engram.compressor.proj.weight", 0), e.compress_dim));
  PLUMB_RETURN_IF_ERROR(size("engram_num_heads", 1, 1024, heads, e.n_heads));
  PLUMB_RETURN_IF_ERROR(size("engram_table_size", 1, int64_t{1} << 30,
                             extent("model.engram.lookup.tables.0.weight", 0), e.table_size));
  PLUMB_RETURN_IF_ERROR(size("engram_max_ngram", 1, 64, orders, e.max_ngram));
  PLUMB_RETURN_IF_ERROR(choice("engram_gate_input", kGateInputs, e.gate_input));
  PLUMB_RETURN_IF_ERROR(choice("engram_gate_form", kGateForms, e.gate_form));
  PLUMB_RETURN_IF_ERROR(choice("engram_context", kEngramContexts, e.use_context));
  return ok_status();
}

Status SpikeWhaleReader::read_streams() {
  PLUMB_RETURN_IF_ERROR(flag("use_hyper_connections", "model.hc_out_mix.", false, c_->has_streams));
  for (const char* field :
       {"hc_mult", "hc_sinkhorn_iters", "hc_eps", "hc_read_map", "hc_write_map"})
    known_.insert(field);
  if (!c_->has_streams) return ok_status();
  HyperConnectionConfig& h = c_->streams;
  int64_t streams = 0;
  for (const TensorInfo& tensor : checkpoint_->tensors())
    if (tensor.name.starts_with("model.hc_out_mix."))
      streams = static_cast<int64_t>(tensor.element_count());
  PLUMB_RETURN_IF_ERROR(size("hc_mult", 1, 1024, streams, h.n_streams));
  PLUMB_RETURN_IF_ERROR(size("hc_sinkhorn_iters", 0, 1 << 16, h.sinkhorn_iters, h.sinkhorn_iters));
  PLUMB_RETURN_IF_ERROR(number("hc_eps", h.eps, {}));
  PLUMB_RETURN_IF_ERROR(choice("hc_read_map", kReadMaps, h.read_map));
  PLUMB_RETURN_IF_ERROR(choice("hc_write_map", kWriteMaps, h.write_map));
  return ok_status();
}

Status SpikeWhaleReader::read_refinement() {
  PLUMB_RETURN_IF_ERROR(flag("use_hrm_refine", "model.hrm_refine.", true, c_->has_refinement));
  for (const char* field : {"hrm_refine_dim", "hrm_refine_steps", "hrm_gate_scale"})
    known_.insert(field);
  if (!c_->has_refinement) return ok_status();
  PLUMB_RETURN_IF_ERROR(size("hrm_refine_dim", 1, kMaxDim,
                             extent("model.hrm_refine.down.weight", 0), c_->refine_dim));
  PLUMB_RETURN_IF_ERROR(
      size("hrm_refine_steps", 1, 1 << 16, extent("model.hrm_refine.gate", 0), c_->refine_steps));
  PLUMB_ASSIGN(const auto scale, fields_.number("hrm_gate_scale"));
  c_->refine_gate_scale = scale.value_or(1);
  return ok_status();
}

// One id or a list of them.
Status SpikeWhaleReader::read_stop_ids() {
  known_.insert("eos_token_id");
  if (!fields_.has("eos_token_id")) return ok_status();
  const Json& value = (*json_)["eos_token_id"];
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer() || id < 0 || id >= c_->vocab_size)
      return input_error("{}: field \"eos_token_id\" is {}, expected token ids below {}", where(),
                         value.dump(), c_->vocab_size);
    c_->stop_ids.push_back(id.get<int32_t>());
  }
  return ok_status();
}

Status SpikeWhaleReader::check() const {
  const SpikeWhaleConfig& c = *c_;
  if (c.n_heads % c.n_kv_heads != 0)
    return input_error("{}: num_attention_heads {} is not a multiple of num_key_value_heads {}",
                       where(), c.n_heads, c.n_kv_heads);
  if (c.rope_dim % 2 != 0)
    return input_error(
        "{}: field \"qk_rope_head_dim\" is {}, expected an even number, whose halves are rotated",
        where(), c.rope_dim);
  if (!(c.norm_eps >= 0))
    return input_error("{}: field \"rms_norm_eps\" is {}, expected at least 0", where(),
                       c.norm_eps);
  if (!(c.rope_theta > 0))
    return input_error("{}: field \"rope_theta\" is {}, expected a positive number", where(),
                       c.rope_theta);
  if (!(c.streams.eps >= 0))
    return input_error("{}: field \"hc_eps\" is {}, expected at least 0", where(), c.streams.eps);
  return ok_status();
}

void SpikeWhaleReader::note_unused() {
  known_.insert(std::begin(kWithoutEffect), std::end(kWithoutEffect));
  std::string unused;
  if (has_config())
    for (const auto& [field, value] : json_->items())
      if (!known_.contains(field))
        unused += fmt::format("{}{}", unused.empty() ? "" : ", ", quote_name(field));
  if (!unused.empty())
    c_->notes.push_back(fmt::format("{}: fields without a meaning here: {}", where(), unused));
}

Status SpikeWhaleReader::read() {
  PLUMB_RETURN_IF_ERROR(refuse_other_models());
  PLUMB_RETURN_IF_ERROR(read_sizes());
  PLUMB_RETURN_IF_ERROR(read_attention());
  PLUMB_RETURN_IF_ERROR(read_tie());
  PLUMB_RETURN_IF_ERROR(read_engram());
  PLUMB_RETURN_IF_ERROR(read_streams());
  PLUMB_RETURN_IF_ERROR(read_refinement());
  PLUMB_RETURN_IF_ERROR(read_stop_ids());
  PLUMB_RETURN_IF_ERROR(check());
  if (!inferred_.empty())
    c_->notes.push_back(
        fmt::format("{}: taken from the tensors: {}", checkpoint_->display_name(), inferred_));
  if (!assumed_.empty())
    c_->notes.push_back(
        fmt::format("{}: not given, so assumed: {}", checkpoint_->display_name(), assumed_));
  note_unused();
  return ok_status();
}

}  // namespace

Result<SpikeWhaleConfig> read_spikewhale_config(const Checkpoint& checkpoint) {
  SpikeWhaleConfig config;
  PLUMB_RETURN_IF_ERROR(SpikeWhaleReader(checkpoint, config).read());
  return config;
}

}  // namespace plumb
