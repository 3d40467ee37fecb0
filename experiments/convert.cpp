#include "experiments/convert.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/rng.h"
#include "core/model/act_config.h"
#include "core/model/crowfeather_config.h"
#include "core/model/families.h"
#include "core/model/llama.h"
#include "experiments/convert_store.h"

namespace plumb {
namespace fs = std::filesystem;
namespace {

constexpr int kMaxLayers = 4096;

constexpr std::array<std::pair<const char*, AdapterInit>, 3> kAdapterInits = {{
    {"identity", AdapterInit::kIdentity}, {"identity-on-state", AdapterInit::kIdentityOnState}, {"random", AdapterInit::kRandom}}};

const char* adapter_name(AdapterInit init) {
  for (const auto& [name, value] : kAdapterInits)
    if (value == init) return name;
  return "?";
}

std::optional<int> parse_layer(std::string_view text) {
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value < 0 || value >= kMaxLayers) return std::nullopt;
  return value;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

// "0,2-3"; empty text is an empty list.
Result<std::vector<int>> parse_layers(std::string_view text) {
  std::vector<int> layers;
  if (text.empty()) return layers;
  for (const std::string_view item : split(text, ',')) {
    const size_t dash = item.find('-');
    const auto first = parse_layer(item.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_layer(item.substr(dash + 1));
    if (!first || !last || *first > *last)
      return input_error("--layers: \"{}\" is neither a layer number nor a range like 4-7", item);
    for (int layer = *first; layer <= *last; ++layer) layers.push_back(layer);
  }
  return layers;
}

std::string join(const std::vector<int>& layers) {
  std::string text;
  for (const int layer : layers) text += fmt::format("{}{}", text.empty() ? "" : ",", layer);
  return text;
}

Status check_split(const LayerSplit& split, const LlamaConfig& config, const std::string& source) {
  if (split.prelude.empty() || split.core.empty())
    return input_error("the split has {} prelude and {} core layers, expected at least one of each", split.prelude.size(), split.core.size());
  std::set<int> seen;
  for (const auto* list : {&split.prelude, &split.core, &split.coda})
    for (const int layer : *list) {
      if (layer >= config.n_layers)
        return input_error("{}: layer {} is asked for, but it has {}, numbered from 0", source, layer, config.n_layers);
      if (!seen.insert(layer).second) return input_error("layer {} is listed twice", layer);
    }
  return ok_status();
}

// A tensor of the source, in the shape its config says.
Result<const TensorInfo*> source_tensor(const Checkpoint& checkpoint, const std::string& name, std::initializer_list<int64_t> shape) {
  const TensorInfo* tensor = checkpoint.find(name);
  if (tensor == nullptr)
    return input_error("{}: tensor \"{}\" is missing, expected shape {}", checkpoint.display_name(), name, shape_text({shape.begin(), shape.size()}));
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()) || !is_floating(tensor->dtype))
    return input_error("{}: tensor \"{}\" is {} {}, expected floating {}", tensor->file, name, dtype_name(tensor->dtype),
                       shape_text(tensor->shape), shape_text({shape.begin(), shape.size()}));
  return tensor;
}

class Retrofit {
 public:
  Retrofit(const Checkpoint& llama, const LlamaConfig& config, const RetrofitOptions& options)
      : llama_(&llama), c_(config), options_(&options), store_(options.store.dtype) {}

  Status gather();
  Json config() const;
  std::map<std::string, std::string> metadata() const;
  const TensorStore& store() const { return store_; }

 private:
  Status copy(const std::string& from, const std::string& to, std::initializer_list<int64_t> shape);
  Status stack(const std::string& to, std::initializer_list<std::pair<std::string, int64_t>> from);
  Status add_layer(int layer, const std::string& to);
  Status add_stage(const std::vector<int>& layers, const char* stage);
  Status add_adapter(DType dtype);

  const Checkpoint* llama_;
  LlamaConfig c_;
  const RetrofitOptions* options_;
  TensorStore store_;
};

Status Retrofit::copy(const std::string& from, const std::string& to, std::initializer_list<int64_t> shape) {
  PLUMB_ASSIGN(const TensorInfo* tensor, source_tensor(*llama_, from, shape));
  return store_.add(to, *tensor);
}

Status Retrofit::stack(const std::string& to, std::initializer_list<std::pair<std::string, int64_t>> from) {
  std::vector<const TensorInfo*> parts;
  for (const auto& [name, rows] : from) {
    PLUMB_ASSIGN(const TensorInfo* part, source_tensor(*llama_, name, {rows, c_.model_dim}));
    parts.push_back(part);
  }
  return store_.add_stacked(to, parts);
}

Status Retrofit::add_layer(int layer, const std::string& to) {
  const std::string from = fmt::format("model.layers.{}.", layer);
  const int64_t e = c_.model_dim, q = int64_t{c_.n_heads} * c_.head_dim, kv = int64_t{c_.n_kv_heads} * c_.head_dim, f = c_.ff_dim;
  PLUMB_RETURN_IF_ERROR(copy(from + "input_layernorm.weight", to + "norm_1.weight", {e}));
  PLUMB_RETURN_IF_ERROR(copy(from + "post_attention_layernorm.weight", to + "norm_2.weight", {e}));
  PLUMB_RETURN_IF_ERROR(stack(to + "attn.Wqkv.weight", {{from + "self_attn.q_proj.weight", q},
                                                        {from + "self_attn.k_proj.weight", kv},
                                                        {from + "self_attn.v_proj.weight", kv}}));
  PLUMB_RETURN_IF_ERROR(copy(from + "self_attn.o_proj.weight", to + "attn.proj.weight", {e, q}));
  PLUMB_RETURN_IF_ERROR(stack(to + "mlp.fc.weight", {{from + "mlp.gate_proj.weight", f}, {from + "mlp.up_proj.weight", f}}));
  return copy(from + "mlp.down_proj.weight", to + "mlp.proj.weight", {e, f});
}

Status Retrofit::add_stage(const std::vector<int>& layers, const char* stage) {
  for (size_t j = 0; j < layers.size(); ++j)
    PLUMB_RETURN_IF_ERROR(add_layer(layers[j], fmt::format("transformer.{}.{}.", stage, j)));
  return ok_status();
}

// Columns [0, E) act on the state, [E, 2E) on the prelude output.
Status Retrofit::add_adapter(DType dtype) {
  const auto e = static_cast<size_t>(c_.model_dim);
  std::vector<float> weights(2 * e * e, 0.0F);
  for (size_t row = 0; row < e; ++row) {
    const std::span<float> values(weights.data() + row * 2 * e, 2 * e);
    if (options_->adapter == AdapterInit::kRandom) {
      const DrawKey key{.seed = options_->seed, .stream = RngStream::kWeights, .row = static_cast<uint32_t>(row)};
      fill_truncated_normal(key, std::sqrt(2.0 / (5.0 * static_cast<double>(e))), 3.0, values);
    } else {
      values[options_->adapter == AdapterInit::kIdentity ? e + row : row] = 1.0F;
    }
  }
  return store_.add_values("transformer.adapter.weight", {c_.model_dim, 2 * int64_t{c_.model_dim}}, weights, dtype);
}

Status Retrofit::gather() {
  const int64_t e = c_.model_dim, v = c_.vocab_size;
  PLUMB_ASSIGN(const TensorInfo* embedding, source_tensor(*llama_, "model.embed_tokens.weight", {v, e}));
  PLUMB_RETURN_IF_ERROR(store_.add("transformer.wte.weight", *embedding));
  PLUMB_RETURN_IF_ERROR(add_stage(options_->layers.prelude, "prelude"));
  PLUMB_RETURN_IF_ERROR(add_adapter(embedding->dtype));
  PLUMB_RETURN_IF_ERROR(add_stage(options_->layers.core, "core_block"));
  PLUMB_RETURN_IF_ERROR(add_stage(options_->layers.coda, "coda"));
  PLUMB_RETURN_IF_ERROR(copy("model.norm.weight", "transformer.ln_f.weight", {e}));
  return copy(c_.tied ? "model.embed_tokens.weight" : "lm_head.weight", "lm_head.weight", {v, e});
}

// Huginn's published config with the fields that the source decides (raven.md 1.1). The initial
// state's standard deviation stays Huginn's, as in every public retrofit.
Json Retrofit::config() const {
  const int prelude = static_cast<int>(options_->layers.prelude.size()), core = static_cast<int>(options_->layers.core.size()),
            coda = static_cast<int>(options_->layers.coda.size());
  const DType dtype = store_.tensors()[0].dtype;
  Json json = {{"model_type", "huginn_raven"},
               {"architectures", {"RavenForCausalLM"}},
               {"auto_map", {{"AutoConfig", "raven_config_minimal.RavenConfig"},
                             {"AutoModelForCausalLM", "raven_modeling_minimal.RavenForCausalLM"}}},
               {"architecture_class_name", "RecurrentGPT"},
               {"block_class_name", "SandwichBlock"},
               {"norm_class_name", "RMSNorm_llama"},
               {"mlp_class_name", "GatedMLP"},
               {"nonlin_name", "SiLU"},
               {"n_embd", c_.model_dim},
               {"n_heads", c_.n_heads},
               {"num_key_value_heads", c_.n_kv_heads},
               {"head_dim", c_.head_dim},
               {"n_layers", prelude + core + coda},
               {"n_layers_in_prelude", prelude},
               {"n_layers_in_recurrent_block", core},
               {"n_layers_in_coda", coda},
               {"intermediate_size", c_.ff_dim},
               {"vocab_size", c_.vocab_size},
               {"padded_vocab_size", c_.vocab_size},
               {"padding_multiple", 4096},
               {"block_size", 4096},
               {"rope_base", 500000.0},
               {"rope_theta", c_.rope_theta},
               {"norm_eps", c_.norm_eps},
               {"qk_bias", false},
               {"bias", false},
               {"tie_embeddings", false},
               {"injection_type", "linear"},
               {"state_init", "like-init"},
               {"mean_recurrence", options_->mean_recurrence},
               {"mean_backprop_depth", 8},
               {"sampling_scheme", "poisson-lognormal-filling"},
               {"init_values", {{"std", 0.008703882797784892}, {"out_proj", 0.0005356869554443541},
                                {"embedding", 0.008703882797784892}, {"embed_scale", 1.0}}},
               {"effective_expected_depth", 132},
               {"init_strategy", "takase"},
               {"init_orthogonal", false},
               {"activation_checkpoint_impl", "per-iteration"},
               {"test_time_noise", 0},
               {"test_time_noise_type", "fixed"},
               {"torch_dtype", dtype == DType::kBF16 ? "bfloat16" : dtype == DType::kF16 ? "float16" : "float32"},
               {"transformers_version", "4.47.1"}};
  if (c_.trained_positions > 0) json["max_position_embeddings"] = c_.trained_positions;
  if (c_.rope_scaling.factor != 1)
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", c_.rope_scaling.factor},
                            {"low_freq_factor", c_.rope_scaling.low_freq_factor},
                            {"high_freq_factor", c_.rope_scaling.high_freq_factor},
                            {"original_max_position_embeddings", static_cast<int64_t>(c_.rope_scaling.original_context)}};
  for (const char* field : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (const Json& source = llama_->config(); source.contains(field)) json[field] = source[field];
  return json;
}

std::map<std::string, std::string> Retrofit::metadata() const {
  std::string adapter = adapter_name(options_->adapter);
  if (options_->adapter == AdapterInit::kRandom) adapter += fmt::format(" seed {}", options_->seed);
  return {{"format", "pt"},
          {"source_layers.prelude", join(options_->layers.prelude)},
          {"source_layers.core", join(options_->layers.core)},
          {"source_layers.coda", join(options_->layers.coda)},
          {"adapter", adapter}};
}

Status check_dtype(const StoreOptions& options) {
  if (options.dtype && *options.dtype != DType::kF32 && *options.dtype != DType::kF16 && *options.dtype != DType::kBF16)
    return input_error("--dtype {} is not one to store weights in; expected f32, f16 or bf16", dtype_name(*options.dtype));
  return ok_status();
}

}  // namespace

Result<AdapterInit> parse_adapter_init(std::string_view name) {
  for (const auto& [text, value] : kAdapterInits)
    if (name == text) return value;
  return input_error("--adapter \"{}\" is unknown; expected identity, identity-on-state or random", name);
}

Result<LayerSplit> parse_layer_split(std::string_view text) {
  const std::vector<std::string_view> stages = split(text, text.find(';') != std::string_view::npos ? ';' : ',');
  if (stages.size() != 3)
    return input_error("--layers \"{}\" has {} stages, expected three: prelude, core and coda, as in 0-3,4-7,8-11", text, stages.size());
  LayerSplit result;
  PLUMB_ASSIGN(result.prelude, parse_layers(stages[0]));
  PLUMB_ASSIGN(result.core, parse_layers(stages[1]));
  PLUMB_ASSIGN(result.coda, parse_layers(stages[2]));
  return result;
}

Result<LayerSplit> split_by_counts(int prelude, int core, int coda, int n_layers, const std::string& source) {
  if (prelude < 1 || core < 1 || coda < 0)
    return input_error("{} prelude, {} core and {} coda layers; expected at least 1, 1 and 0", prelude, core, coda);
  if (int64_t{prelude} + core + coda != n_layers)
    return input_error("{}: {} + {} + {} layers are asked for, but it has {}; --layers names them one by one and may leave some out",
                       source, prelude, core, coda, n_layers);
  LayerSplit result;
  for (int layer = 0; layer < n_layers; ++layer)
    (layer < prelude ? result.prelude : layer < prelude + core ? result.core : result.coda).push_back(layer);
  return result;
}

Result<ConvertReport> convert_retrofit(const Checkpoint& llama, const RetrofitOptions& options, const fs::path& out) {
  try {
    PLUMB_RETURN_IF_ERROR(check_dtype(options.store));
    if (const std::string family = family_name(llama); family != "llama")
      return input_error("{}: is {}, expected a Llama in Hugging Face layout", llama.display_name(),
                         family.empty() ? "of no known family" : "of family " + family);
    PLUMB_ASSIGN(const LlamaConfig config, read_llama_config(llama));
    if (config.n_heads * config.head_dim != config.model_dim)
      return input_error("{}: head_dim {} times num_attention_heads {} is not hidden_size {}, which the looped block needs",
                         llama.config_where(), config.head_dim, config.n_heads, config.model_dim);
    if (options.mean_recurrence < 0 || options.mean_recurrence > 100000)
      return input_error("--mean-recurrence is {}, expected 0 to 100000", options.mean_recurrence);
    PLUMB_RETURN_IF_ERROR(check_split(options.layers, config, llama.display_name()));
    PLUMB_RETURN_IF_ERROR(prepare_folder(out, llama.directory(), options.store.overwrite));
    Retrofit retrofit(llama, config, options);
    PLUMB_RETURN_IF_ERROR(retrofit.gather());
    PLUMB_ASSIGN(ConvertReport report, write_model(retrofit.store(), retrofit.config(), retrofit.metadata(), llama.directory(), out));
    report.notes = config.notes;
    const size_t kept = options.layers.prelude.size() + options.layers.core.size() + options.layers.coda.size();
    if (const size_t dropped = static_cast<size_t>(config.n_layers) - kept; dropped > 0)
      report.notes.push_back(fmt::format("{} of {} source layers were left out", dropped, config.n_layers));
    if (options.adapter == AdapterInit::kIdentity)
      report.notes.push_back("the adapter is [0 | I]: until trained, every depth from 1 on gives the same logits");
    return report;
  } catch (const std::exception& e) {
    return work_error("{}: cannot be converted: {}", llama.display_name(), e.what());
  }
}

Result<ConvertReport> convert_to_safetensors(const Checkpoint& given, const StoreOptions& options, const fs::path& out) {
  try {
    PLUMB_RETURN_IF_ERROR(check_dtype(options));
    PLUMB_ASSIGN(const CanonicalNames names, canonical_names(given));
    const Checkpoint& checkpoint = names.renamed ? *names.renamed : given;
    std::vector<std::string> notes = names.notes;
    Json config = checkpoint.config();
    if (family_name(checkpoint) == "crowfeather") {
      PLUMB_ASSIGN(const CrowfeatherConfig read, read_crowfeather_config(checkpoint));
      notes.insert(notes.end(), read.notes.begin(), read.notes.end());
      config = crowfeather_config_json(read);
    } else if (family_name(checkpoint) == "act") {
      PLUMB_ASSIGN(const ActConfig read, read_act_config(checkpoint));
      notes.insert(notes.end(), read.notes.begin(), read.notes.end());
      config = act_config_json(read);
    } else if (config.is_null() || family_name(checkpoint) == "spikewhale") {
      // What was published stays beside what was assumed.
      PLUMB_ASSIGN(Json complete, complete_config(checkpoint));
      if (config.is_object()) config.update(complete);
      else config = std::move(complete);
    }
    if (config.is_null()) {
      notes.push_back(fmt::format("{}: there is no config, so none was written", checkpoint.config_where()));
    }
    PLUMB_RETURN_IF_ERROR(prepare_folder(out, given.directory(), options.overwrite));
    TensorStore store(options.dtype);
    const AliasFamily* aliases = alias_table(checkpoint);
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      const bool is_buffer = aliases != nullptr && aliases->is_buffer != nullptr && aliases->is_buffer(tensor.name);
      if (!is_buffer) PLUMB_RETURN_IF_ERROR(store.add(tensor.name, tensor));
    }
    PLUMB_ASSIGN(ConvertReport report, write_model(store, config, {{"format", "pt"}}, given.directory(), out));
    report.notes = std::move(notes);
    return report;
  } catch (const std::exception& e) {
    return work_error("{}: cannot be converted: {}", given.display_name(), e.what());
  }
}

}  // namespace plumb
