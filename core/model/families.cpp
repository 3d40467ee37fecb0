#include "core/model/families.h"

#include <nlohmann/json.hpp>

#include "core/model/act_transformer.h"
#include "core/model/crowfeather.h"
#include "core/model/llama.h"
#include "core/model/llama_retrofit.h"
#include "core/model/raven.h"
#include "core/model/spikewhale.h"
#include "core/model/spikewhale_names.h"

namespace plumb {
namespace {

struct Family {
  const char* name;
  const char* mark;  // what the tensors of this family show, for people
  bool (*matches)(const Checkpoint&);
  Result<std::unique_ptr<RecurrentModel>> (*load)(const Checkpoint&, Precision, Team&);
  const AliasFamily* aliases = nullptr;  // for families whose checkpoints come with foreign names
  Result<Json> (*config)(const Checkpoint&) = nullptr;  // complete; null: always published whole
};

bool has(const Checkpoint& checkpoint, const char* name) { return checkpoint.find(name) != nullptr; }

bool is_raven(const Checkpoint& c) {
  return has(c, "transformer.core_block.0.norm_3.weight");
}

bool is_llama_retrofit(const Checkpoint& c) {
  return has(c, "transformer.core_block.0.norm_1.weight") &&
         !has(c, "transformer.core_block.0.norm_3.weight") &&
         !has(c, "transformer.core_block.0.attn.q_norm.weight");
}

bool is_llama(const Checkpoint& c) {
  return has(c, "model.layers.0.self_attn.q_proj.weight") && has(c, "model.layers.0.post_attention_layernorm.weight") &&
         !has(c, "model.layers.0.self_attn.q_norm.weight");
}

Result<Json> act_config(const Checkpoint& checkpoint) {
  PLUMB_ASSIGN(const ActConfig config, read_act_config(checkpoint));
  return act_config_json(config);
}

Result<Json> crowfeather_config(const Checkpoint& checkpoint) {
  PLUMB_ASSIGN(const CrowfeatherConfig config, read_crowfeather_config(checkpoint));
  return crowfeather_config_json(config);
}

Result<Json> spikewhale_config(const Checkpoint& checkpoint) {
  PLUMB_ASSIGN(const SpikeWhaleConfig config, read_spikewhale_config(checkpoint));
  return spikewhale_config_json(config);
}

// By most of the names, not by one: it goes last.
bool is_crowfeather(const Checkpoint& c) { return resembles(kCrowfeatherAliases, c); }

// The first match wins; both Raven variants carry model_type "huginn_raven", so names decide.
constexpr Family kFamilies[] = {
    {"raven-huginn", "transformer.core_block.0.norm_3.weight", is_raven, load_raven},
    {"raven-llama", "transformer.core_block.0.norm_1.weight without norm_3 and q_norm", is_llama_retrofit,
     load_llama_retrofit},
    {"llama", "model.layers.0.self_attn.q_proj.weight", is_llama, load_llama},
    {"spikewhale", "model.layers.0.attn.q_a_proj.weight and o_a_proj, or model_type spike_whale", is_spikewhale, load_spikewhale, nullptr, spikewhale_config},
    {"act", "block.attn.wq.weight, or a halting head beside another spelling of it", is_act, load_act, &kActAliases, act_config},
    {"crowfeather", "layers.0.attn.wq.weight or another spelling of it", is_crowfeather, load_crowfeather, &kCrowfeatherAliases, crowfeather_config},
};

const Family* find_family(const Checkpoint& checkpoint) {
  for (const Family& family : kFamilies)
    if (family.matches(checkpoint)) return &family;
  return nullptr;
}

}  // namespace

const AliasFamily* alias_table(const Checkpoint& checkpoint) {
  const Family* family = find_family(checkpoint);
  return family == nullptr ? nullptr : family->aliases;
}

Result<CanonicalNames> canonical_names(const Checkpoint& checkpoint) {
  const AliasFamily* aliases = alias_table(checkpoint);
  if (aliases == nullptr) return CanonicalNames{};
  return guess_names(*aliases, checkpoint);
}

Result<Json> complete_config(const Checkpoint& given) {
  const Family* family = find_family(given);
  if (family == nullptr || family->config == nullptr) return given.config();
  if (family->aliases == nullptr) return family->config(given);
  PLUMB_ASSIGN(const CanonicalNames names, guess_names(*family->aliases, given));
  return family->config(names.renamed ? *names.renamed : given);
}

Result<Json> minimal_config(const Checkpoint& checkpoint) {
  if (!checkpoint.config().is_null()) return checkpoint.config();
  const Family* family = find_family(checkpoint);
  if (family == nullptr || family->aliases != nullptr || family->config == nullptr) return Json::object();
  return family->config(checkpoint);
}

std::string family_name(const Checkpoint& checkpoint) {
  const Family* family = find_family(checkpoint);
  return family == nullptr ? "" : family->name;
}

Result<std::unique_ptr<RecurrentModel>> load_model(const Checkpoint& checkpoint, Precision precision, Team& team) {
  if (const Family* family = find_family(checkpoint)) return family->load(checkpoint, precision, team);
  std::string looked_for;
  for (const Family& family : kFamilies)
    looked_for += fmt::format("{}{} ({})", looked_for.empty() ? "" : ", ", family.name, family.mark);
  return input_error("{}: the tensors belong to no known family; looked for {}",
                     checkpoint.display_name(), looked_for);
}

}  // namespace plumb
