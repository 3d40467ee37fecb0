#include "core/model/crowfeather_config.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/model/rope_evidence.h"
#include "core/model/switch_names.h"
#include "core/model/weights.h"

namespace plumb {
namespace {

constexpr SwitchNames<WindowConvention, 2> kWindowConventions = {{{"keys", WindowConvention::kKeys}, {"distance", WindowConvention::kDistance}}};
constexpr SwitchNames<RopeLayout, 2> kRopeLayouts = {{{"interleaved", RopeLayout::kInterleaved}, {"half", RopeLayout::kHalfSplit}}};
constexpr SwitchNames<bool, 2> kTableTypes = {{{"f32", false}, {"bf16", true}}};
constexpr SwitchNames<bool, 2> kQkNorms = {{{"none", false}, {"rms_noparam", true}}};
constexpr SwitchNames<bool, 2> kOverflows = {{{"crop_recompute", true}, {"error", false}}};
constexpr SwitchNames<bool, 2> kLayerTypes = {{{"sliding", true}, {"global", false}}};

template <class T, size_t N>
Result<T> parse_name(const SwitchNames<T, N>& names, const std::string& text, const std::string& where, const char* field) {
  for (const auto& [name, value] : names)
    if (text == name) return value;
  return input_error("{}: field \"{}\" is \"{}\", expected {}", where, field, text, expected_names(names));
}

// Sliding on even layers, or on odd ones; a last layer is global either way.
OpenSwitch layer_parities(int n_layers) {
  OpenSwitch result{"layer_types", {}};
  for (const int parity : {0, 1}) {
    Json types = Json::array();
    for (int l = 0; l < n_layers; ++l)
      types.push_back(name_of(kLayerTypes, l % 2 == parity && l + 1 < n_layers));
    result.values.push_back(types.dump());
  }
  return result;
}

class CrowfeatherReader {
 public:
  CrowfeatherReader(const Checkpoint& checkpoint, CrowfeatherConfig& config)
      : checkpoint_(&checkpoint), json_(&checkpoint.config()), fields_(checkpoint.config(), checkpoint.config_where()), c_(&config) {}

  Status read();

 private:
  using Aliases = std::initializer_list<const char*>;

  // The first alias that the config holds, even as null.
  const char* first_present(Aliases names) const {
    for (const char* name : names)
      if (json_->is_object() && json_->contains(name)) return name;
    return nullptr;
  }
  const std::string& where() const { return fields_.where(); }

  Status integer(Aliases names, int64_t max, int& target);
  Status number(Aliases names, double& target, const std::vector<double>& to_try);
  template <class T, size_t N>
  Status choice(const char* field, const SwitchNames<T, N>& names, T& target, bool& given);
  template <class Value>
  void defaulted(const char* field, const Value& value) {
    defaults_ += fmt::format("{}{} {}", defaults_.empty() ? "" : ", ", field, value);
  }
  // The same with the values that a probe may try in its place.
  template <class Value>
  void defaulted(const char* field, const Value& value, OpenSwitch open) {
    defaulted(field, value);
    c_->open_switches.push_back(std::move(open));
  }
  void inferred(const char* field, int value) {
    inferred_ += fmt::format("{}{} {}", inferred_.empty() ? "" : ", ", field, value);
  }

  Status read_sizes();
  Status read_heads();
  Status read_softcap();
  Status read_layer_types();
  Status read_norm_offset();
  Status read_rope();
  Status apply_evidence(const RopeEvidence& found, bool theta_given, bool layout_given, bool table_given);
  Status check() const;

  const Checkpoint* checkpoint_;
  const Json* json_;
  JsonFields fields_;
  CrowfeatherConfig* c_;
  std::string defaults_, inferred_;
};

Status CrowfeatherReader::integer(Aliases names, int64_t max, int& target) {
  const char* name = first_present(names);
  if (name != nullptr) {
    PLUMB_ASSIGN(const auto value, fields_.integer(name, 1, max));
    if (value) {
      target = static_cast<int>(*value);
      return ok_status();
    }
  }
  defaulted(*names.begin(), target, {*names.begin(), {std::to_string(target)}});
  return ok_status();
}

Status CrowfeatherReader::number(Aliases names, double& target, const std::vector<double>& to_try) {
  const char* name = first_present(names);
  if (name != nullptr) {
    PLUMB_ASSIGN(const auto value, fields_.number(name));
    if (value) {
      target = *value;
      return ok_status();
    }
  }
  defaulted(*names.begin(), target, open_switch(*names.begin(), target, to_try));
  return ok_status();
}

template <class T, size_t N>
Status CrowfeatherReader::choice(const char* field, const SwitchNames<T, N>& names, T& target, bool& given) {
  PLUMB_ASSIGN(const auto text, fields_.text(field));
  given = text.has_value();
  if (!given) return ok_status();
  PLUMB_ASSIGN(target, parse_name(names, *text, where(), field));
  return ok_status();
}

// Extents come from the config; where it is silent, from the tensors. Where both speak and differ,
// the weight loader names the tensor.
Status CrowfeatherReader::read_sizes() {
  const auto size = [&](Aliases names, const char* tensor, size_t axis, int& target) -> Status {
    if (const char* name = first_present(names)) {
      PLUMB_ASSIGN(const auto value, fields_.integer(name, 1, kMaxDim * 16));
      if (value) {
        target = static_cast<int>(*value);
        return ok_status();
      }
    }
    const TensorInfo* info = checkpoint_->find(tensor);
    if (info == nullptr || info->shape.size() <= axis || info->shape[axis] < 1 || info->shape[axis] > kMaxDim * 16)
      return input_error("{}: field \"{}\" is missing and tensor \"{}\" does not decide it", where(), *names.begin(), tensor);
    target = static_cast<int>(info->shape[axis]);
    inferred(*names.begin(), target);
    return ok_status();
  };
  PLUMB_RETURN_IF_ERROR(size({"vocab_size"}, "tok_emb.weight", 0, c_->vocab_size));
  PLUMB_RETURN_IF_ERROR(size({"dim"}, "tok_emb.weight", 1, c_->model_dim));
  PLUMB_RETURN_IF_ERROR(size({"mlp_hidden", "ffn_hidden", "d_ff", "hidden_dim"}, "layers.0.mlp.gate.weight", 0, c_->ff_dim));
  PLUMB_ASSIGN(const auto layers, fields_.integer("n_layers", 1, 4096));
  if (layers) {
    c_->n_layers = static_cast<int>(*layers);
    return ok_status();
  }
  c_->n_layers = 0;
  while (checkpoint_->find(fmt::format("layers.{}.norm1.weight", c_->n_layers)) != nullptr) ++c_->n_layers;
  inferred("n_layers", c_->n_layers);
  return ok_status();
}

// A shape gives n_heads * head_dim only.
Status CrowfeatherReader::read_heads() {
  PLUMB_ASSIGN(const auto heads, fields_.integer("n_heads", 1, kMaxDim));
  PLUMB_ASSIGN(const auto width, fields_.integer("head_dim", 2, kMaxDim));
  const TensorInfo* query = checkpoint_->find("layers.0.attn.wq.weight");
  const int64_t rows = query != nullptr && query->shape.size() == 2 ? query->shape[0] : 0;
  if (width) c_->head_dim = static_cast<int>(*width);
  if (heads) c_->n_heads = static_cast<int>(*heads);
  if (heads && !width && rows % *heads == 0 && rows / *heads <= kMaxDim) {
    c_->head_dim = static_cast<int>(rows / *heads);
    inferred("head_dim", c_->head_dim);
  } else if (!heads) {
    if (!width) defaulted("head_dim", c_->head_dim, open_switch("head_dim", c_->head_dim, head_dims_to_try(rows)));
    if (rows % c_->head_dim != 0 || rows / c_->head_dim > kMaxDim)
      return input_error("{}: field \"n_heads\" is missing and {} rows of \"layers.0.attn.wq.weight\" are no "
                         "multiple of head_dim {}", where(), rows, c_->head_dim);
    c_->n_heads = static_cast<int>(rows / c_->head_dim);
    inferred("n_heads", c_->n_heads);
  }
  return ok_status();
}

// Null switches the cap off; a missing field means the default.
Status CrowfeatherReader::read_softcap() {
  const char* name = first_present({"logit_softcap", "logit_cap", "lm_head_logit_cap", "final_logit_softcap", "softcap"});
  if (name == nullptr) {
    defaulted("logit_softcap", c_->logit_softcap, open_switch("logit_softcap", c_->logit_softcap, {30, 15, 50, 0}));
    return ok_status();
  }
  PLUMB_ASSIGN(const auto value, fields_.number(name));
  c_->logit_softcap = value.value_or(0);
  if (c_->logit_softcap < 0)
    return input_error("{}: field \"{}\" is {}, expected a positive number, or 0 or null for none", where(), name, c_->logit_softcap);
  return ok_status();
}

// Default: even layers slide, except a last one (section 5.3).
Status CrowfeatherReader::read_layer_types() {
  c_->sliding.assign(static_cast<size_t>(c_->n_layers), false);
  if (!fields_.has("layer_types")) {
    for (int l = 0; l + 1 < c_->n_layers; l += 2) c_->sliding[static_cast<size_t>(l)] = true;
    defaulted("layer_types", "sliding on even layers but the last", layer_parities(c_->n_layers));
    return ok_status();
  }
  const Json& list = (*json_)["layer_types"];
  if (!list.is_array() || list.size() != c_->sliding.size())
    return input_error("{}: field \"layer_types\" is {}, expected a list of {} strings, one a layer", where(),
                       list.is_array() ? fmt::format("a list of {}", list.size()) : list.dump(), c_->n_layers);
  for (size_t l = 0; l < list.size(); ++l) {
    if (!list[l].is_string())
      return input_error("{}: field \"layer_types\" entry {} is {}, expected a string", where(), l, list[l].dump());
    PLUMB_ASSIGN(const bool slides, parse_name(kLayerTypes, list[l].get<std::string>(), where(), "layer_types"));
    c_->sliding[l] = slides;
  }
  return ok_status();
}

// Trained norm weights lie near 1; near 0 they were stored less one.
Status CrowfeatherReader::read_norm_offset() {
  PLUMB_ASSIGN(const auto given, fields_.number("norm_weight_offset"));
  if (given) {
    if (*given != 0 && *given != 1)
      return input_error("{}: field \"norm_weight_offset\" is {}, expected 0 or 1", where(), *given);
    c_->norm_weight_offset = static_cast<int>(*given);
    return ok_status();
  }
  double sum = 0;
  size_t count = 0;
  for (const TensorInfo& tensor : checkpoint_->tensors()) {
    if (tensor.shape.size() != 1 || !is_floating(tensor.dtype) ||
        !(tensor.name.ends_with("norm1.weight") || tensor.name.ends_with("norm2.weight") || tensor.name == "norm_f.weight"))
      continue;
    PLUMB_ASSIGN(const std::vector<float> weights, read_f32(tensor));
    for (const float weight : weights) sum += weight;
    count += weights.size();
  }
  const double mean = count > 0 ? sum / static_cast<double>(count) : 1;
  c_->norm_weight_offset = std::abs(mean) < 0.5 ? 1 : 0;
  defaulted("norm_weight_offset", fmt::format("{} (the norm weights' mean is {:.3g})", c_->norm_weight_offset, mean));
  return ok_status();
}

Status CrowfeatherReader::apply_evidence(const RopeEvidence& found, bool theta_given, bool layout_given, bool table_given) {
  if (found.theta) {
    if (theta_given && *found.theta != c_->rope_theta)
      return input_error("{}: rope_theta is {}, but the stored table {} was made with {}", where(), c_->rope_theta,
                         found.source, *found.theta);
    c_->rope_theta = *found.theta;
  }
  if (found.layout) {
    if (layout_given && *found.layout != c_->rope_layout)
      return input_error("{}: rope_layout is \"{}\", but the columns of {} repeat as in \"{}\"", where(),
                         name_of(kRopeLayouts, c_->rope_layout), found.source, name_of(kRopeLayouts, *found.layout));
    c_->rope_layout = *found.layout;
  }
  if (!table_given) c_->bf16_rope_table = found.bf16;
  c_->notes.push_back(fmt::format("the rope table {} decided: theta {}, layout {}, table {}", found.source,
                                  found.theta ? fmt::format("{}", *found.theta) : "open",
                                  found.layout ? name_of(kRopeLayouts, *found.layout) : "open",
                                  name_of(kTableTypes, c_->bf16_rope_table)));
  return ok_status();
}

Status CrowfeatherReader::read_rope() {
  const bool theta_given = first_present({"rope_theta", "rope_base", "theta"}) != nullptr;
  bool layout_given = false, table_given = false;
  const std::string before = defaults_;
  const size_t open_before = c_->open_switches.size();
  PLUMB_RETURN_IF_ERROR(number({"rope_theta", "rope_base", "theta"}, c_->rope_theta, kThetasToTry));
  if (!(c_->rope_theta > 1))
    return input_error("{}: rope_theta is {}, expected more than 1", where(), c_->rope_theta);
  PLUMB_RETURN_IF_ERROR(choice("rope_layout", kRopeLayouts, c_->rope_layout, layout_given));
  PLUMB_RETURN_IF_ERROR(choice("rope_table_dtype", kTableTypes, c_->bf16_rope_table, table_given));
  PLUMB_ASSIGN(const auto evidence, find_rope_evidence(*checkpoint_, c_->head_dim, c_->rope_theta));
  if (evidence) {
    defaults_ = before;
    if (evidence->theta) c_->open_switches.resize(open_before);
    PLUMB_RETURN_IF_ERROR(apply_evidence(*evidence, theta_given, layout_given, table_given));
  }
  if (!layout_given && !(evidence && evidence->layout)) 
    defaulted("rope_layout", name_of(kRopeLayouts, c_->rope_layout), open_switch("rope_layout", kRopeLayouts, c_->rope_layout));
  if (!table_given && !evidence) 
    defaulted("rope_table_dtype", name_of(kTableTypes, c_->bf16_rope_table), open_switch("rope_table_dtype", kTableTypes, c_->bf16_rope_table));
  PLUMB_ASSIGN(const auto global, fields_.number("rope_theta_global"));
  c_->rope_theta_global = global.value_or(c_->rope_theta);
  if (!global) defaulted("rope_theta_global", "that of all layers", {"rope_theta_global", {"null", "1000000"}});
  if (!(c_->rope_theta_global > 1))
    return input_error("{}: rope_theta_global is {}, expected more than 1", where(), c_->rope_theta_global);
  return ok_status();
}

Status CrowfeatherReader::check() const {
  if (c_->head_dim % 2 != 0)
    return input_error("{}: head_dim is {}, expected an even number, whose halves are rotated", where(), c_->head_dim);
  if (!(c_->norm_eps >= 0))
    return input_error("{}: rms_eps is {}, expected at least 0", where(), c_->norm_eps);
  PLUMB_ASSIGN(const auto tied, fields_.boolean("tie_embeddings"));
  if (tied == false)
    return input_error("{}: tie_embeddings is false, expected true: this family has no head of its own", where());
  PLUMB_ASSIGN(const auto type, fields_.text("model_type"));
  if (type && *type != "crowfeather_toylm")
    return input_error("{}: model_type is \"{}\", expected \"crowfeather_toylm\"", where(), *type);
  return ok_status();
}

Status CrowfeatherReader::read() {
  PLUMB_RETURN_IF_ERROR(read_sizes());
  PLUMB_RETURN_IF_ERROR(read_heads());
  PLUMB_RETURN_IF_ERROR(integer({"max_seq_len"}, 1 << 24, c_->max_positions));
  PLUMB_RETURN_IF_ERROR(integer({"sliding_window", "window"}, 1 << 24, c_->window));
  PLUMB_RETURN_IF_ERROR(read_layer_types());
  PLUMB_RETURN_IF_ERROR(number({"rms_eps", "norm_eps", "eps"}, c_->norm_eps, kNormEpsToTry));
  PLUMB_RETURN_IF_ERROR(read_norm_offset());
  PLUMB_RETURN_IF_ERROR(read_rope());
  PLUMB_RETURN_IF_ERROR(read_softcap());
  PLUMB_RETURN_IF_ERROR(number({"embed_scale"}, c_->embed_scale, {1, std::sqrt(static_cast<double>(c_->model_dim))}));
  const auto named = [&](const char* field, const auto& names, auto& target) -> Status {
    bool given = false;
    PLUMB_RETURN_IF_ERROR(choice(field, names, target, given));
    // What happens past the last position is no matter of likelihood.
    const bool decidable = std::string_view(field) != "overflow";
    if (!given && decidable) defaulted(field, name_of(names, target), open_switch(field, names, target));
    else if (!given) defaulted(field, name_of(names, target));
    return ok_status();
  };
  PLUMB_RETURN_IF_ERROR(named("window_convention", kWindowConventions, c_->window_convention));
  PLUMB_RETURN_IF_ERROR(named("qk_norm", kQkNorms, c_->norm_heads));
  PLUMB_RETURN_IF_ERROR(named("overflow", kOverflows, c_->crop_overflow));
  PLUMB_RETURN_IF_ERROR(check());
  if (!inferred_.empty()) c_->notes.push_back(fmt::format("{}: taken from tensor shapes: {}", where(), inferred_));
  if (!defaults_.empty()) c_->notes.push_back(fmt::format("{}: not given, so assumed: {}", where(), defaults_));
  return ok_status();
}

}  // namespace

size_t CrowfeatherConfig::visible_keys(int layer) const {
  if (!sliding[static_cast<size_t>(layer)]) return 0;
  return static_cast<size_t>(window) + (window_convention == WindowConvention::kDistance ? 1 : 0);
}

Result<CrowfeatherConfig> read_crowfeather_config(const Checkpoint& checkpoint) {
  CrowfeatherConfig config;
  PLUMB_RETURN_IF_ERROR(CrowfeatherReader(checkpoint, config).read());
  return config;
}

Json crowfeather_config_json(const CrowfeatherConfig& c) {
  Json types = Json::array();
  for (const bool slides : c.sliding) types.push_back(name_of(kLayerTypes, slides));
  return {{"model_type", "crowfeather_toylm"},
          {"vocab_size", c.vocab_size},
          {"dim", c.model_dim},
          {"n_layers", c.n_layers},
          {"n_heads", c.n_heads},
          {"head_dim", c.head_dim},
          {"mlp_hidden", c.ff_dim},
          {"max_seq_len", c.max_positions},
          {"sliding_window", c.window},
          {"window_convention", name_of(kWindowConventions, c.window_convention)},
          {"layer_types", types},
          {"rms_eps", c.norm_eps},
          {"norm_weight_offset", c.norm_weight_offset},
          {"rope_theta", c.rope_theta},
          {"rope_theta_global", c.rope_theta_global},
          {"rope_layout", name_of(kRopeLayouts, c.rope_layout)},
          {"rope_table_dtype", name_of(kTableTypes, c.bf16_rope_table)},
          {"logit_softcap", c.logit_softcap},
          {"qk_norm", name_of(kQkNorms, c.norm_heads)},
          {"embed_scale", c.embed_scale},
          {"overflow", name_of(kOverflows, c.crop_overflow)},
          {"tie_embeddings", true}};
}

}  // namespace plumb
