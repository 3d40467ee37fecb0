#include <cstring>
#include <nlohmann/json.hpp>

#include "core/model/llama.h"
#include "core/model/switch_names.h"
#include "core/model/weights.h"

namespace plumb {
namespace {

int64_t extent(const Checkpoint& checkpoint, const std::string& name, size_t axis) {
  const TensorInfo* tensor = checkpoint.find(name);
  return tensor != nullptr && axis < tensor->shape.size() ? std::min(tensor->shape[axis], kMaxDim * 16) : 0;
}

class LlamaReader {
 public:
  LlamaReader(const Checkpoint& checkpoint, LlamaConfig& config)
      : checkpoint_(&checkpoint), json_(&checkpoint.config()), fields_(checkpoint.config(), checkpoint.config_where()), c_(&config) {}

  Status read();

 private:
  const std::string& where() const { return fields_.where(); }
  // From the config, else from a tensor's shape.
  Status size(const char* field, int64_t from_shape, int& target);
  Status read_heads();
  Status read_rope();
  Status read_scaling(const JsonFields& fields);
  Status read_switches();
  Status read_stop_ids();
  Status read_tying();

  const Checkpoint* checkpoint_;
  const Json* json_;
  JsonFields fields_;
  LlamaConfig* c_;
};

Status LlamaReader::size(const char* field, int64_t from_shape, int& target) {
  PLUMB_ASSIGN(const auto value, fields_.integer(field, 1, kMaxDim * 16));
  target = static_cast<int>(value.value_or(from_shape));
  if (target < 1) return input_error("{}: field \"{}\" is missing and no tensor decides it", where(), field);
  if (!value) c_->notes.push_back(fmt::format("{} {} is taken from tensor shapes", field, target));
  return ok_status();
}

Status LlamaReader::read_heads() {
  PLUMB_ASSIGN(const auto heads, fields_.integer("num_attention_heads", 1, kMaxDim));
  if (!heads)
    return input_error("{}: field \"num_attention_heads\" is missing and no tensor decides it; give --config FILE", where());
  c_->n_heads = static_cast<int>(*heads);
  PLUMB_ASSIGN(const auto kv_heads, fields_.integer("num_key_value_heads", 1, kMaxDim));
  c_->n_kv_heads = static_cast<int>(kv_heads.value_or(*heads));
  PLUMB_ASSIGN(const auto width, fields_.integer("head_dim", 2, kMaxDim));
  if (!width && c_->model_dim % c_->n_heads != 0)
    return input_error("{}: hidden_size {} is no multiple of num_attention_heads {}", where(), c_->model_dim, c_->n_heads);
  c_->head_dim = static_cast<int>(width.value_or(c_->model_dim / c_->n_heads));
  if (c_->n_heads % c_->n_kv_heads != 0)
    return input_error("{}: num_key_value_heads {} does not divide num_attention_heads {}", where(), c_->n_kv_heads, c_->n_heads);
  if (c_->head_dim % 2 != 0 || c_->head_dim < 2)
    return input_error("{}: head_dim is {}, expected an even number", where(), c_->head_dim);
  return ok_status();
}

Status LlamaReader::read_scaling(const JsonFields& fields) {
  PLUMB_ASSIGN(auto type, fields.text("rope_type"));
  if (!type) {
    PLUMB_ASSIGN(type, fields.text("type"));
  }
  if (!type || *type == "default") return ok_status();
  if (*type != "llama3")
    return input_error("{}: rope type is \"{}\", expected \"llama3\" or \"default\"", fields.where(), *type);
  RopeScaling& scaling = c_->rope_scaling;
  for (const auto& [name, target] : {std::pair{"factor", &scaling.factor}, std::pair{"low_freq_factor", &scaling.low_freq_factor},
                                     std::pair{"high_freq_factor", &scaling.high_freq_factor},
                                     std::pair{"original_max_position_embeddings", &scaling.original_context}}) {
    PLUMB_ASSIGN(const auto value, fields.number(name));
    if (!value || *value <= 0)
      return input_error("{}: field \"{}\" must be a positive number for rope type \"llama3\"", fields.where(), name);
    *target = *value;
  }
  if (scaling.factor < 1 || scaling.high_freq_factor <= scaling.low_freq_factor)
    return input_error("{}: expected a factor of at least 1 and high_freq_factor above low_freq_factor", fields.where());
  return ok_status();
}

// rope_theta and rope_scaling, or both together in the newer rope_parameters.
Status LlamaReader::read_rope() {
  PLUMB_ASSIGN(auto theta, fields_.number("rope_theta"));
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    if (!fields_.has(name)) continue;
    const JsonFields inner((*json_)[name], where() + ": " + name);
    if (!(*json_)[name].is_object()) return input_error("{}: field \"{}\" is not an object", where(), name);
    PLUMB_ASSIGN(const auto inner_theta, inner.number("rope_theta"));
    if (inner_theta && theta && *inner_theta != *theta)
      return input_error("{}: rope_theta is {}, but {} outside", inner.where(), *inner_theta, *theta);
    if (inner_theta) theta = inner_theta;
    PLUMB_RETURN_IF_ERROR(read_scaling(inner));
  }
  c_->rope_theta = theta.value_or(10000);
  if (!theta) {
    c_->notes.push_back("rope_theta is not in the config: 10000 assumed");
    c_->open_switches.push_back(open_switch("rope_theta", c_->rope_theta, kThetasToTry));
  }
  if (!(c_->rope_theta > 1)) return input_error("{}: rope_theta is {}, expected more than 1", where(), c_->rope_theta);
  return ok_status();
}

Status LlamaReader::read_switches() {
  for (const char* name : {"attention_bias", "mlp_bias"}) {
    PLUMB_ASSIGN(const auto bias, fields_.boolean(name));
    if (bias == true) return input_error("{}: field \"{}\" is true, expected false: biases are not supported", where(), name);
  }
  PLUMB_ASSIGN(const auto activation, fields_.text("hidden_act"));
  if (activation && *activation != "silu")
    return input_error("{}: hidden_act is \"{}\", expected \"silu\"", where(), *activation);
  PLUMB_ASSIGN(const auto type, fields_.text("model_type"));
  if (type && *type != "llama")
    return input_error("{}: model_type is \"{}\", expected \"llama\": the tensor names alone do not make it one", where(), *type);
  PLUMB_ASSIGN(const auto eps, fields_.number("rms_norm_eps"));
  c_->norm_eps = eps.value_or(1e-6);
  if (!eps) {
    c_->notes.push_back("rms_norm_eps is not in the config: 1e-6 assumed");
    c_->open_switches.push_back(open_switch("rms_norm_eps", c_->norm_eps, kNormEpsToTry));
  }
  if (!(c_->norm_eps >= 0)) return input_error("{}: rms_norm_eps is {}, expected at least 0", where(), c_->norm_eps);
  PLUMB_ASSIGN(const auto positions, fields_.integer("max_position_embeddings", 1, 1 << 30));
  c_->trained_positions = static_cast<int>(positions.value_or(0));
  return ok_status();
}

Status LlamaReader::read_stop_ids() {
  if (!fields_.has("eos_token_id")) return ok_status();
  const Json& ids = (*json_)["eos_token_id"];
  const auto take = [&](const Json& id) -> Status {
    if (!id.is_number_integer() || id.get<int64_t>() < -1 || id.get<int64_t>() > INT32_MAX)
      return input_error("{}: field \"eos_token_id\" is {}, expected a token id or a list of them", where(), ids.dump());
    if (id.get<int64_t>() >= 0) c_->stop_ids.push_back(static_cast<int32_t>(id.get<int64_t>()));
    return ok_status();
  };
  if (!ids.is_array()) return take(ids);
  for (const Json& id : ids) PLUMB_RETURN_IF_ERROR(take(id));
  return ok_status();
}

// A tied head is not stored, or stored as a second copy.
Status LlamaReader::read_tying() {
  const TensorInfo* head = checkpoint_->find("lm_head.weight");
  const TensorInfo* embedding = checkpoint_->find("model.embed_tokens.weight");
  PLUMB_ASSIGN(const auto tied, fields_.boolean("tie_word_embeddings"));
  c_->tied = tied.value_or(head == nullptr);
  if (!c_->tied || head == nullptr || embedding == nullptr) return ok_status();
  if (head->dtype != embedding->dtype || head->shape != embedding->shape || std::memcmp(head->data, embedding->data, head->bytes) != 0)
    return input_error("{}: tie_word_embeddings is true, but \"lm_head.weight\" differs from \"model.embed_tokens.weight\"", where());
  return ok_status();
}

Status LlamaReader::read() {
  if (!json_->is_object())
    return input_error("{}: a Llama needs its config.json; give --config FILE", where());
  PLUMB_RETURN_IF_ERROR(size("hidden_size", extent(*checkpoint_, "model.embed_tokens.weight", 1), c_->model_dim));
  PLUMB_RETURN_IF_ERROR(size("vocab_size", extent(*checkpoint_, "model.embed_tokens.weight", 0), c_->vocab_size));
  PLUMB_RETURN_IF_ERROR(size("intermediate_size", extent(*checkpoint_, "model.layers.0.mlp.gate_proj.weight", 0), c_->ff_dim));
  int stored = 0;
  while (stored < 4096 && checkpoint_->find(fmt::format("model.layers.{}.input_layernorm.weight", stored)) != nullptr) ++stored;
  PLUMB_RETURN_IF_ERROR(size("num_hidden_layers", stored, c_->n_layers));
  if (c_->n_layers > 4096) return input_error("{}: num_hidden_layers is {}, expected at most 4096", where(), c_->n_layers);
  PLUMB_RETURN_IF_ERROR(read_heads());
  PLUMB_RETURN_IF_ERROR(read_rope());
  PLUMB_RETURN_IF_ERROR(read_switches());
  PLUMB_RETURN_IF_ERROR(read_stop_ids());
  return read_tying();
}

}  // namespace

Result<LlamaConfig> read_llama_config(const Checkpoint& checkpoint) {
  LlamaConfig config;
  PLUMB_RETURN_IF_ERROR(LlamaReader(checkpoint, config).read());
  return config;
}

}  // namespace plumb
