#include "core/model/raven_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/model/switch_names.h"
#include "core/model/weights.h"

namespace plumb {
namespace {

// The first of several spellings that is there.
Result<std::optional<int64_t>> first_integer(const JsonFields& fields,
                                             std::initializer_list<const char*> names, int64_t min,
                                             int64_t max) {
  for (const char* name : names) {
    PLUMB_ASSIGN(const auto value, fields.integer(name, min, max));
    if (value) return value;
  }
  return std::optional<int64_t>{};
}

int count_blocks(const Checkpoint& checkpoint, const char* stage) {
  int n = 0;
  while (checkpoint.find(fmt::format("transformer.{}.{}.norm_1.weight", stage, n)) != nullptr) ++n;
  return n;
}

// What shapes and names decide; the config, where present, must agree (the weight loader says so
// tensor by tensor).
void infer_from_shapes(const Checkpoint& checkpoint, RavenConfig& config) {
  for (const char* name : {"transformer.wte.weight", "lm_head.weight"}) {
    const TensorInfo* table = checkpoint.find(name);
    if (table == nullptr || table->shape.size() != 2) continue;
    config.vocab_size = static_cast<int>(std::min(table->shape[0], kMaxDim * 16));
    config.model_dim = static_cast<int>(std::min(table->shape[1], kMaxDim));
    break;
  }
  config.n_prelude = count_blocks(checkpoint, "prelude");
  config.n_core = count_blocks(checkpoint, "core_block");
  config.n_coda = count_blocks(checkpoint, "coda");
  if (const TensorInfo* down = checkpoint.find("transformer.core_block.0.mlp.proj.weight");
      down != nullptr && down->shape.size() == 2)
    config.ff_dim = static_cast<int>(std::min(down->shape[1], kMaxDim));
  const TensorInfo* bias = checkpoint.find("transformer.core_block.0.attn.qk_bias");
  config.qk_bias = bias != nullptr;
  if (bias != nullptr && bias->shape.size() == 4) config.n_heads = static_cast<int>(bias->shape[2]);
  config.adapter_bias = checkpoint.find("transformer.adapter.bias") != nullptr;
  config.tied = checkpoint.find("lm_head.weight") == nullptr;
}

Status read_rope(const JsonFields& fields, const Json& json, RavenConfig& config) {
  const bool huginn = config.variant == RavenVariant::kHuginn;
  PLUMB_ASSIGN(const auto base, fields.number(huginn ? "rope_base" : "rope_theta"));
  if (base) config.rope_theta = *base;
  else if (huginn) config.open_switches.push_back(open_switch("rope_base", config.rope_theta, kThetasToTry));
  else if (!huginn) return input_error("{}: field \"rope_theta\" is missing", fields.where());
  if (config.rope_theta <= 1)
    return input_error("{}: rope base is {}, expected more than 1", fields.where(), config.rope_theta);
  if (huginn || !fields.has("rope_scaling")) return ok_status();
  const Json& scaling = json["rope_scaling"];
  const JsonFields inner(scaling, fields.where() + ": rope_scaling");
  PLUMB_ASSIGN(auto type, inner.text("rope_type"));
  if (!type) {
    PLUMB_ASSIGN(type, inner.text("type"));
  }
  if (type == "default") return ok_status();
  if (type != "llama3")
    return input_error("{}: type is \"{}\", expected \"llama3\" or \"default\"", inner.where(),
                       type.value_or("(none)"));
  PLUMB_ASSIGN(const auto factor, inner.number("factor"));
  PLUMB_ASSIGN(const auto low, inner.number("low_freq_factor"));
  PLUMB_ASSIGN(const auto high, inner.number("high_freq_factor"));
  PLUMB_ASSIGN(const auto context, inner.number("original_max_position_embeddings"));
  if (!factor || *factor < 1)
    return input_error("{}: field \"factor\" must be a number of at least 1", inner.where());
  config.rope_scaling.factor = *factor;
  config.rope_scaling.low_freq_factor = low.value_or(1);
  config.rope_scaling.high_freq_factor = high.value_or(4);
  config.rope_scaling.original_context = context.value_or(8192);
  if (config.rope_scaling.high_freq_factor <= config.rope_scaling.low_freq_factor)
    return input_error("{}: high_freq_factor must exceed low_freq_factor", inner.where());
  return ok_status();
}

Status read_init_values(const Json& json, const JsonFields& fields, RavenConfig& config) {
  const bool huginn = config.variant == RavenVariant::kHuginn;
  config.state_std = std::sqrt(2.0 / (5.0 * config.model_dim));
  config.embed_scale = huginn ? std::sqrt(static_cast<double>(config.model_dim)) : 1.0;
  if (!fields.has("init_values")) {
    const double sqrt_dim = std::sqrt(static_cast<double>(config.model_dim));
    config.open_switches.push_back(open_switch("init_values.embed_scale", config.embed_scale, {sqrt_dim, 1}));
    return ok_status();
  }
  const JsonFields inner(json["init_values"], fields.where() + ": init_values");
  PLUMB_ASSIGN(const auto std_value, inner.number("std"));
  PLUMB_ASSIGN(const auto scale, inner.number("embed_scale"));
  if (std_value) config.state_std = *std_value;
  if (scale) config.embed_scale = *scale;
  if (config.state_std < 0)
    return input_error("{}: field \"std\" is {}, expected at least 0", inner.where(), config.state_std);
  return ok_status();
}

Status check_consistency(const std::string& where, const RavenConfig& config) {
  if (config.model_dim <= 0 || config.vocab_size <= 0)
    return input_error("{}: neither the config nor an embedding tensor gives the model width", where);
  if (config.n_heads <= 0)
    return input_error("{}: field \"n_heads\" is missing and no tensor shape decides it; give --config FILE", where);
  if (config.model_dim % config.n_heads != 0 || config.head_dim() % 2 != 0)
    return input_error("{}: n_embd {} is not n_heads {} times an even head width", where,
                       config.model_dim, config.n_heads);
  if (config.n_kv_heads <= 0 || config.n_heads % config.n_kv_heads != 0)
    return input_error("{}: num_key_value_heads {} does not divide n_heads {}", where,
                       config.n_kv_heads, config.n_heads);
  if (config.variant == RavenVariant::kHuginn && config.n_kv_heads != config.n_heads)
    return input_error("{}: num_key_value_heads {} differs from n_heads {}, which the Huginn block cannot run",
                       where, config.n_kv_heads, config.n_heads);
  if (config.n_prelude < 1 || config.n_core < 1 || config.n_coda < 0)
    return input_error("{}: {} prelude, {} core and {} coda blocks; expected at least 1, 1 and 0",
                       where, config.n_prelude, config.n_core, config.n_coda);
  return ok_status();
}

}  // namespace

Result<RavenConfig> read_raven_config(const Checkpoint& checkpoint, RavenVariant variant) {
  RavenConfig config;
  config.variant = variant;
  infer_from_shapes(checkpoint, config);
  const Json& json = checkpoint.config();
  const JsonFields fields(json, checkpoint.config_where());
  const bool huginn = variant == RavenVariant::kHuginn;

  const auto read = [&](std::initializer_list<const char*> names, int64_t min, int64_t max,
                        int& target) -> Status {
    PLUMB_ASSIGN(const auto value, first_integer(fields, names, min, max));
    if (value) target = static_cast<int>(*value);
    return ok_status();
  };
  PLUMB_RETURN_IF_ERROR(read({"n_embd", "hidden_size"}, 1, kMaxDim, config.model_dim));
  PLUMB_RETURN_IF_ERROR(read({"n_heads", "num_attention_heads"}, 1, kMaxDim, config.n_heads));
  config.n_kv_heads = config.n_heads;
  PLUMB_RETURN_IF_ERROR(read({"num_key_value_heads"}, 1, kMaxDim, config.n_kv_heads));
  PLUMB_RETURN_IF_ERROR(read({"intermediate_size"}, 1, kMaxDim, config.ff_dim));
  PLUMB_RETURN_IF_ERROR(read({"padded_vocab_size", "vocab_size"}, 1, kMaxDim * 16, config.vocab_size));
  PLUMB_ASSIGN(const auto unpadded, fields.integer("vocab_size", 1, kMaxDim * 16));
  if (unpadded && *unpadded > config.vocab_size)
    return input_error("{}: vocab_size {} exceeds padded_vocab_size {}", fields.where(), *unpadded, config.vocab_size);
  PLUMB_RETURN_IF_ERROR(read({"n_layers_in_prelude"}, 0, 4096, config.n_prelude));
  PLUMB_RETURN_IF_ERROR(read({"n_layers_in_recurrent_block"}, 0, 4096, config.n_core));
  PLUMB_RETURN_IF_ERROR(read({"n_layers_in_coda"}, 0, 4096, config.n_coda));
  if (fields.has("mean_recurrence")) {
    PLUMB_RETURN_IF_ERROR(read({"mean_recurrence"}, 0, 100000, config.mean_recurrence));
  } else {
    config.notes.push_back(fmt::format("mean_recurrence is not in the config: {} assumed", config.mean_recurrence));
  }
  PLUMB_ASSIGN(const auto eps, fields.number("norm_eps"));
  config.norm_eps = eps.value_or(huginn ? 1e-6 : 1e-5);
  if (!eps) {
    config.notes.push_back(fmt::format("norm_eps is not in the config: {} assumed", config.norm_eps));
    config.open_switches.push_back(open_switch("norm_eps", config.norm_eps, kNormEpsToTry));
  }
  PLUMB_ASSIGN(const auto tied, fields.boolean("tie_embeddings"));
  if (tied) config.tied = *tied;
  else {
    PLUMB_ASSIGN(const auto other, fields.boolean("tie_word_embeddings"));
    if (other) config.tied = *other;
  }
  PLUMB_ASSIGN(const auto qk_bias, fields.boolean("qk_bias"));
  if (qk_bias && *qk_bias != config.qk_bias)
    return input_error("{}: qk_bias is {} but the tensors {} it", fields.where(), *qk_bias,
                       config.qk_bias ? "have" : "lack");
  PLUMB_ASSIGN(const auto bias, fields.boolean("bias"));
  if (bias && *bias != config.adapter_bias)
    return input_error("{}: bias is {} but tensor \"transformer.adapter.bias\" is {}", fields.where(),
                       *bias, config.adapter_bias ? "present" : "missing");
  if (huginn) {
    config.max_positions = 4096;
    PLUMB_RETURN_IF_ERROR(read({"block_size"}, 1, 1 << 24, config.max_positions));
    config.trained_positions = config.max_positions;
  } else {
    PLUMB_RETURN_IF_ERROR(read({"max_position_embeddings"}, 1, 1 << 30, config.trained_positions));
  }
  if (json.is_null() && huginn) config.notes.push_back("no config.json: rope base 50000 assumed");
  PLUMB_RETURN_IF_ERROR(read_rope(fields, json, config));
  PLUMB_RETURN_IF_ERROR(read_init_values(json, fields, config));
  PLUMB_RETURN_IF_ERROR(check_consistency(fields.where(), config));
  if (!huginn && config.mean_recurrence >= 32)
    config.notes.push_back(fmt::format(
        "mean_recurrence {} is what the converter inherits from Huginn's config: a retrofit trained at "
        "another depth says so in its card, not here; choose --num-steps",
        config.mean_recurrence));
  return config;
}

}  // namespace plumb
