#include "core/model/act_config.h"

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/model/rope_evidence.h"
#include "core/model/switch_names.h"
#include "core/model/weights.h"

namespace plumb {
namespace {

constexpr SwitchNames<ActPosition, 4> kPositions = {{{"rope", ActPosition::kRope}, {"xl_relative", ActPosition::kRelative},
                                               {"learned", ActPosition::kLearned}, {"none", ActPosition::kNone}}};
constexpr SwitchNames<RopeLayout, 2> kRopeLayouts = {{{"half", RopeLayout::kHalfSplit}, {"interleaved", RopeLayout::kInterleaved}}};
constexpr SwitchNames<ActStepEmbedding, 3> kStepEmbeddings = {{{"none", ActStepEmbedding::kNone}, {"learned", ActStepEmbedding::kLearned},
                                                         {"sinusoidal", ActStepEmbedding::kSinusoidal}}};
constexpr SwitchNames<bool, 2> kInjections = {{{"none", false}, {"add", true}}};
constexpr SwitchNames<bool, 2> kNormTypes = {{{"rms", false}, {"layer", true}}};
constexpr SwitchNames<bool, 2> kNormPlaces = {{{"pre", false}, {"post", true}}};
constexpr SwitchNames<ActHalting, 3> kHaltings = {{{"act", ActHalting::kAct}, {"threshold", ActHalting::kThreshold}, {"none", ActHalting::kNone}}};
constexpr SwitchNames<bool, 2> kHaltInputs = {{{"after", false}, {"before", true}}};
constexpr SwitchNames<bool, 2> kCombines = {{{"sum", false}, {"lerp", true}}};
constexpr SwitchNames<bool, 2> kAtMaxes = {{{"remainder", false}, {"leave", true}}};
constexpr SwitchNames<bool, 2> kHaltedStates = {{{"frozen", false}, {"running", true}}};
constexpr SwitchNames<MemoryKind, 4> kMemories = {{{"per_step", MemoryKind::kPerStep}, {"final_output", MemoryKind::kFinalOutput},
                                             {"final_state", MemoryKind::kFinalState}, {"none", MemoryKind::kNone}}};

class ActReader {
 public:
  ActReader(const Checkpoint& checkpoint, ActConfig& config)
      : checkpoint_(&checkpoint), fields_(checkpoint.config(), checkpoint.config_where()), c_(&config) {}

  Status read();

 private:
  const std::string& where() const { return fields_.where(); }
  const TensorInfo* find(const char* tensor) const { return checkpoint_->find(tensor); }
  bool has(const char* tensor) const { return find(tensor) != nullptr; }

  template <class Value>
  void assumed(const char* field, const Value& value) {
    assumed_ += fmt::format("{}{} {}", assumed_.empty() ? "" : ", ", field, value);
  }
  // The same with the values that a probe may try in its place; none: it has nothing to try.
  template <class Value>
  void assumed(const char* field, const Value& value, OpenSwitch open) {
    assumed(field, value);
    c_->open_switches.push_back(std::move(open));
  }
  template <class Value>
  void inferred(const char* field, const Value& value) {
    inferred_ += fmt::format("{}{} {}", inferred_.empty() ? "" : ", ", field, value);
  }

  Status integer(const char* field, int64_t min, int64_t max, int& target);
  Status number(const char* field, double& target, const std::vector<double>& to_try);
  Status flag(const char* field, bool& target);
  // True if the config gave the field.
  template <class T, size_t N>
  Result<bool> parse(const char* field, const SwitchNames<T, N>& names, T& target);
  template <class T, size_t N>
  Status choice(const char* field, const SwitchNames<T, N>& names, T& target);
  // A switch that a tensor shows: `tensor` is there just when the value is `shown`. With the field
  // absent the tensor decides between `shown` and the value that `target` comes with.
  template <class T, size_t N>
  Status shown_by(const char* field, const SwitchNames<T, N>& names, const char* tensor, T shown, T& target);

  template <class T, size_t N>
  void assume_unshown(const char* field, const SwitchNames<T, N>& names, T shown, T target);

  Status size(const char* field, const char* tensor, size_t axis, int& target);
  Status read_sizes();
  Status read_heads();
  Status read_steps();
  Status read_position();
  Status read_rope();
  Status read_norms();
  Status read_halting();
  Status read_memory();
  Status read_tie();
  Status check() const;
  void note_unused();

  const Checkpoint* checkpoint_;
  JsonFields fields_;
  ActConfig* c_;
  std::set<std::string> known_ = {"model_type"};
  std::string assumed_, inferred_;
};

Status ActReader::integer(const char* field, int64_t min, int64_t max, int& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.integer(field, min, max));
  if (value) target = static_cast<int>(*value);
  else assumed(field, target, {field, {std::to_string(target)}});
  return ok_status();
}

Status ActReader::number(const char* field, double& target, const std::vector<double>& to_try) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.number(field));
  if (value) target = *value;
  else assumed(field, target, open_switch(field, target, to_try));
  return ok_status();
}

Status ActReader::flag(const char* field, bool& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.boolean(field));
  if (value) target = *value;
  else assumed(field, target, open_switch(field, target));
  return ok_status();
}

template <class T, size_t N>
Result<bool> ActReader::parse(const char* field, const SwitchNames<T, N>& names, T& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto text, fields_.text(field));
  if (!text) return false;
  for (const auto& [name, value] : names)
    if (*text == name) {
      target = value;
      return true;
    }
  return input_error("{}: field \"{}\" is \"{}\", expected {}", where(), field, *text, expected_names(names));
}

template <class T, size_t N>
Status ActReader::choice(const char* field, const SwitchNames<T, N>& names, T& target) {
  PLUMB_ASSIGN(const bool given, parse(field, names, target));
  if (!given) assumed(field, name_of(names, target), open_switch(field, names, target));
  return ok_status();
}

template <class T, size_t N>
Status ActReader::shown_by(const char* field, const SwitchNames<T, N>& names, const char* tensor, T shown, T& target) {
  PLUMB_ASSIGN(const bool given, parse(field, names, target));
  if (!given) {
    if (has(tensor)) {
      target = shown;
      inferred(field, name_of(names, target));
    } else {
      assume_unshown(field, names, shown, target);
    }
  }
  if ((target == shown) != has(tensor))
    return input_error("{}: field \"{}\" is \"{}\", but tensor \"{}\" is {} {}", where(), field, name_of(names, target),
                       tensor, has(tensor) ? "in" : "missing from", checkpoint_->display_name());
  return ok_status();
}

// Without the tensor `shown` is out of the question; one other value is then no assumption.
template <class T, size_t N>
void ActReader::assume_unshown(const char* field, const SwitchNames<T, N>& names, T shown, T target) {
  OpenSwitch open = open_switch(field, names, target);
  std::erase(open.values, fmt::format("\"{}\"", name_of(names, shown)));
  // The relative parameters have tensors of their own.
  if (!has("block.attn.wr.weight")) std::erase(open.values, "\"xl_relative\"");
  if (open.values.size() > 1) assumed(field, name_of(names, target), std::move(open));
  else inferred(field, name_of(names, target));
}

// Where the config and a tensor both speak and differ, the weight loader names the tensor.
Status ActReader::size(const char* field, const char* tensor, size_t axis, int& target) {
  known_.insert(field);
  PLUMB_ASSIGN(const auto value, fields_.integer(field, 1, kMaxDim * 16));
  if (value) {
    target = static_cast<int>(*value);
    return ok_status();
  }
  const TensorInfo* info = find(tensor);
  if (info == nullptr || info->shape.size() <= axis || info->shape[axis] < 1 || info->shape[axis] > kMaxDim * 16)
    return input_error("{}: field \"{}\" is missing and tensor \"{}\" does not decide it", where(), field, tensor);
  target = static_cast<int>(info->shape[axis]);
  inferred(field, target);
  return ok_status();
}

Status ActReader::read_sizes() {
  PLUMB_RETURN_IF_ERROR(size("vocab_size", "tok_emb.weight", 0, c_->vocab_size));
  PLUMB_RETURN_IF_ERROR(size("dim", "tok_emb.weight", 1, c_->model_dim));
  PLUMB_RETURN_IF_ERROR(size("ffn_hidden", "block.mlp.gate.weight", 0, c_->ff_dim));
  return read_heads();
}

// A projection's shape gives n_heads * head_dim only; the biases of xl_relative give both.
Status ActReader::read_heads() {
  known_.insert({"n_heads", "head_dim"});
  PLUMB_ASSIGN(const auto heads, fields_.integer("n_heads", 1, kMaxDim));
  PLUMB_ASSIGN(const auto width, fields_.integer("head_dim", 1, kMaxDim));
  const TensorInfo* query = find("block.attn.wq.weight");
  const TensorInfo* bias = find("block.attn.u");
  const int64_t rows = query != nullptr && query->shape.size() == 2 ? query->shape[0] : 0;
  const bool shaped = bias != nullptr && bias->shape.size() == 2 && bias->shape[1] >= 1 && bias->shape[1] <= kMaxDim;
  if (width) c_->head_dim = static_cast<int>(*width);
  else if (shaped) inferred("head_dim", c_->head_dim = static_cast<int>(bias->shape[1]));
  else if (heads && rows % *heads == 0 && rows / *heads <= kMaxDim) inferred("head_dim", c_->head_dim = static_cast<int>(rows / *heads));
  else assumed("head_dim", c_->head_dim, open_switch("head_dim", c_->head_dim, head_dims_to_try(rows)));
  if (heads) {
    c_->n_heads = static_cast<int>(*heads);
    return ok_status();
  }
  if (rows == 0 || rows % c_->head_dim != 0 || rows / c_->head_dim > kMaxDim)
    return input_error("{}: field \"n_heads\" is missing and {} rows of \"block.attn.wq.weight\" are no multiple of head_dim {}",
                       where(), rows, c_->head_dim);
  inferred("n_heads", c_->n_heads = static_cast<int>(rows / c_->head_dim));
  return ok_status();
}

Status ActReader::read_steps() {
  constexpr int64_t kMaxSteps = 4096;
  PLUMB_RETURN_IF_ERROR(shown_by("step_embedding", kStepEmbeddings, "step_emb.weight", ActStepEmbedding::kLearned, c_->step_embedding));
  const TensorInfo* table = find("step_emb.weight");
  if (table == nullptr || fields_.has("max_steps")) return integer("max_steps", 1, kMaxSteps, c_->max_steps);
  known_.insert("max_steps");
  if (table->shape.empty() || table->shape[0] < 1 || table->shape[0] > kMaxSteps)
    return input_error("{}: tensor \"step_emb.weight\" has shape {}, expected one row for each of 1 to {} steps", table->file,
                       shape_text(table->shape), kMaxSteps);
  inferred("max_steps", c_->max_steps = static_cast<int>(table->shape[0]));
  return ok_status();
}

Status ActReader::read_position() {
  if (!fields_.has("position") && has("block.attn.wr.weight")) {
    known_.insert("position");
    c_->position = ActPosition::kRelative;
    inferred("position", name_of(kPositions, c_->position));
  } else {
    PLUMB_RETURN_IF_ERROR(shown_by("position", kPositions, "pos_emb.weight", ActPosition::kLearned, c_->position));
  }
  if ((c_->position == ActPosition::kRelative) != has("block.attn.wr.weight"))
    return input_error("{}: field \"position\" is \"{}\", but tensor \"block.attn.wr.weight\" is {} {}", where(),
                       name_of(kPositions, c_->position), has("block.attn.wr.weight") ? "in" : "missing from", checkpoint_->display_name());
  known_.insert({"max_positions", "rope_theta", "rope_layout"});
  if (c_->position == ActPosition::kLearned) return size("max_positions", "pos_emb.weight", 0, c_->max_positions);
  return c_->position == ActPosition::kRope ? read_rope() : ok_status();
}

Status ActReader::read_rope() {
  PLUMB_ASSIGN(const auto theta, fields_.number("rope_theta"));
  if (theta) c_->rope_theta = *theta;
  if (!(c_->rope_theta > 1)) return input_error("{}: field \"rope_theta\" is {}, expected more than 1", where(), c_->rope_theta);
  PLUMB_ASSIGN(const bool layout_given, parse("rope_layout", kRopeLayouts, c_->rope_layout));
  PLUMB_ASSIGN(const auto table, find_rope_evidence(*checkpoint_, c_->head_dim, c_->rope_theta));
  if (table && table->theta) {
    if (theta && *theta != *table->theta)
      return input_error("{}: field \"rope_theta\" is {}, but the stored table {} was made with {}", where(), *theta, table->source, *table->theta);
    if (!theta) inferred("rope_theta", c_->rope_theta = *table->theta);
  } else if (!theta) {
    assumed("rope_theta", c_->rope_theta, open_switch("rope_theta", c_->rope_theta, kThetasToTry));
  }
  if (table && table->layout) {
    if (layout_given && c_->rope_layout != *table->layout)
      return input_error("{}: field \"rope_layout\" is \"{}\", but the columns of {} repeat as in \"{}\"", where(),
                         name_of(kRopeLayouts, c_->rope_layout), table->source, name_of(kRopeLayouts, *table->layout));
    c_->rope_layout = *table->layout;
    if (!layout_given) inferred("rope_layout", name_of(kRopeLayouts, c_->rope_layout));
  } else if (!layout_given) {
    assumed("rope_layout", name_of(kRopeLayouts, c_->rope_layout), open_switch("rope_layout", kRopeLayouts, c_->rope_layout));
  }
  return ok_status();
}

Status ActReader::read_norms() {
  PLUMB_RETURN_IF_ERROR(shown_by("norm_type", kNormTypes, "block.norm1.bias", true, c_->layer_norm));
  PLUMB_RETURN_IF_ERROR(choice("norm_place", kNormPlaces, c_->post_norm));
  PLUMB_RETURN_IF_ERROR(number("norm_eps", c_->norm_eps, kNormEpsToTry));
  known_.insert("final_norm");
  PLUMB_ASSIGN(const auto final_norm, fields_.boolean("final_norm"));
  c_->final_norm = final_norm.value_or(has("norm_f.weight"));
  if (!final_norm) inferred("final_norm", c_->final_norm);
  return ok_status();
}

Status ActReader::read_halting() {
  const bool has_head = has("halt.weight");
  PLUMB_ASSIGN(const bool given, parse("halting", kHaltings, c_->halting));
  if (!given) {
    c_->halting = has_head ? ActHalting::kAct : ActHalting::kNone;
    // A head means that one of the two reads it.
    if (has_head) assumed("halting", "act", {"halting", {"\"act\"", "\"threshold\""}});
    else inferred("halting", "none");
  }
  if ((c_->halting != ActHalting::kNone) != has_head)
    return input_error("{}: field \"halting\" is \"{}\", but tensor \"halt.weight\" is {} {}", where(), name_of(kHaltings, c_->halting),
                       has_head ? "in" : "missing from", checkpoint_->display_name());
  PLUMB_RETURN_IF_ERROR(number("epsilon", c_->epsilon, {0.01, 0.001, 0.05, 0.1}));
  PLUMB_RETURN_IF_ERROR(number("threshold", c_->threshold, {0.5, 0.9}));
  PLUMB_RETURN_IF_ERROR(choice("halt_input", kHaltInputs, c_->halt_before));
  PLUMB_RETURN_IF_ERROR(choice("combine", kCombines, c_->lerp));
  PLUMB_RETURN_IF_ERROR(choice("at_max", kAtMaxes, c_->leave_remainder));
  return choice("halted_state", kHaltedStates, c_->run_halted);
}

Status ActReader::read_memory() {
  PLUMB_RETURN_IF_ERROR(choice("memory", kMemories, c_->memory));
  PLUMB_RETURN_IF_ERROR(integer("mem_len", 0, 1 << 24, c_->memory_len));
  PLUMB_RETURN_IF_ERROR(flag("same_length", c_->same_length));
  known_.insert("segment_len");
  PLUMB_ASSIGN(const auto segment, fields_.integer("segment_len", 0, 1 << 24));
  if (segment) c_->segment_len = static_cast<int>(*segment);
  else assumed_ += fmt::format("{}one segment unless --segment-len is given", assumed_.empty() ? "" : ", ");
  return ok_status();
}

Status ActReader::read_tie() {
  known_.insert("tie_embeddings");
  PLUMB_ASSIGN(const auto tied, fields_.boolean("tie_embeddings"));
  const TensorInfo* head = find("lm_head.weight");
  const TensorInfo* table = find("tok_emb.weight");
  const bool copy = head != nullptr && table != nullptr && head->dtype == table->dtype && head->shape == table->shape &&
                    std::memcmp(head->data, table->data, head->bytes) == 0;
  c_->tied = tied.value_or(head == nullptr || copy);
  if (!tied) inferred("tie_embeddings", c_->tied);
  if (c_->tied && head != nullptr && !copy)
    return input_error("{}: tensor \"lm_head.weight\" is not the same as \"tok_emb.weight\", expected a tied head", head->file);
  return ok_status();
}

Status ActReader::check() const {
  const ActConfig& c = *c_;
  PLUMB_ASSIGN(const auto type, fields_.text("model_type"));
  if (type && *type != "act_recurrent")
    return input_error("{}: field \"model_type\" is \"{}\", expected \"act_recurrent\"", where(), *type);
  if (c.position == ActPosition::kRope && c.head_dim % 2 != 0)
    return input_error("{}: field \"head_dim\" is {}, expected an even number, whose halves are rotated", where(), c.head_dim);
  const bool sinusoids = c.position == ActPosition::kRelative || c.step_embedding == ActStepEmbedding::kSinusoidal;
  if (sinusoids && c.model_dim % 2 != 0)
    return input_error("{}: field \"dim\" is {}, expected an even number: sines and cosines share it", where(), c.model_dim);
  if (!(c.epsilon >= 0 && c.epsilon < 1))
    return input_error("{}: field \"epsilon\" is {}, expected at least 0 and below 1", where(), c.epsilon);
  if (!(c.norm_eps >= 0)) return input_error("{}: field \"norm_eps\" is {}, expected at least 0", where(), c.norm_eps);
  if (!(c.logit_softcap >= 0))
    return input_error("{}: field \"logit_softcap\" is {}, expected a positive number, or 0 for none", where(), c.logit_softcap);
  // The stored rows would depend on which tokens happened to be computed together.
  if (c.run_halted && c.memory == MemoryKind::kFinalState)
    return input_error("{}: field \"halted_state\" is \"running\" and \"memory\" is \"final_state\", expected another of the "
                       "two: what is remembered would depend on how tokens are grouped", where());
  return ok_status();
}

void ActReader::note_unused() {
  std::string unused;
  if (checkpoint_->config().is_object())
    for (const auto& [field, value] : checkpoint_->config().items())
      if (!known_.contains(field)) unused += fmt::format("{}{}", unused.empty() ? "" : ", ", quote_name(field));
  if (!unused.empty()) c_->notes.push_back(fmt::format("{}: fields without a meaning here: {}", where(), unused));
}

Status ActReader::read() {
  PLUMB_RETURN_IF_ERROR(read_sizes());
  PLUMB_RETURN_IF_ERROR(read_steps());
  PLUMB_RETURN_IF_ERROR(read_position());
  PLUMB_RETURN_IF_ERROR(choice("input_injection", kInjections, c_->inject));
  PLUMB_RETURN_IF_ERROR(read_norms());
  PLUMB_RETURN_IF_ERROR(number("embed_scale", c_->embed_scale, {1, std::sqrt(static_cast<double>(c_->model_dim))}));
  PLUMB_RETURN_IF_ERROR(number("logit_softcap", c_->logit_softcap, {0, 15, 30, 50}));
  PLUMB_RETURN_IF_ERROR(read_halting());
  PLUMB_RETURN_IF_ERROR(read_memory());
  PLUMB_RETURN_IF_ERROR(read_tie());
  PLUMB_RETURN_IF_ERROR(check());
  if (!inferred_.empty()) c_->notes.push_back(fmt::format("{}: taken from the tensors: {}", where(), inferred_));
  if (!assumed_.empty()) c_->notes.push_back(fmt::format("{}: not given, so assumed: {}", where(), assumed_));
  note_unused();
  return ok_status();
}

}  // namespace

Result<ActConfig> read_act_config(const Checkpoint& checkpoint) {
  ActConfig config;
  PLUMB_RETURN_IF_ERROR(ActReader(checkpoint, config).read());
  return config;
}

Json act_config_json(const ActConfig& c) {
  return {{"model_type", "act_recurrent"},
          {"vocab_size", c.vocab_size},
          {"dim", c.model_dim},
          {"n_heads", c.n_heads},
          {"head_dim", c.head_dim},
          {"ffn_hidden", c.ff_dim},
          {"max_steps", c.max_steps},
          {"position", name_of(kPositions, c.position)},
          {"rope_theta", c.rope_theta},
          {"rope_layout", name_of(kRopeLayouts, c.rope_layout)},
          {"max_positions", c.max_positions},
          {"step_embedding", name_of(kStepEmbeddings, c.step_embedding)},
          {"input_injection", name_of(kInjections, c.inject)},
          {"norm_type", name_of(kNormTypes, c.layer_norm)},
          {"norm_place", name_of(kNormPlaces, c.post_norm)},
          {"norm_eps", c.norm_eps},
          {"final_norm", c.final_norm},
          {"embed_scale", c.embed_scale},
          {"logit_softcap", c.logit_softcap},
          {"halting", name_of(kHaltings, c.halting)},
          {"epsilon", c.epsilon},
          {"threshold", c.threshold},
          {"halt_input", name_of(kHaltInputs, c.halt_before)},
          {"combine", name_of(kCombines, c.lerp)},
          {"at_max", name_of(kAtMaxes, c.leave_remainder)},
          {"halted_state", name_of(kHaltedStates, c.run_halted)},
          {"memory", name_of(kMemories, c.memory)},
          {"mem_len", c.memory_len},
          {"same_length", c.same_length},
          {"tie_embeddings", c.tied},
          {"segment_len", c.segment_len}};
}

}  // namespace plumb
