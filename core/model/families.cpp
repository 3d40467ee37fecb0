#include "core/model/families.h"

#include "core/model/llama_retrofit.h"
#include "core/model/raven.h"

namespace plumb {
namespace {

struct Family {
  const char* name;
  const char* mark;  // what the tensors of this family show, for people
  bool (*matches)(const Checkpoint&);
  Result<std::unique_ptr<RecurrentModel>> (*load)(const Checkpoint&, Precision, Team&);
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

// The first match wins; both Raven variants carry model_type "huginn_raven", so names decide.
constexpr Family kFamilies[] = {
    {"raven-huginn", "transformer.core_block.0.norm_3.weight", is_raven, load_raven},
    {"raven-llama", "transformer.core_block.0.norm_1.weight without norm_3 and q_norm", is_llama_retrofit,
     load_llama_retrofit},
};

}  // namespace

Result<std::unique_ptr<RecurrentModel>> load_model(const Checkpoint& checkpoint, Precision precision, Team& team) {
  for (const Family& family : kFamilies)
    if (family.matches(checkpoint)) return family.load(checkpoint, precision, team);
  std::string looked_for;
  for (const Family& family : kFamilies)
    looked_for += fmt::format("{}{} ({})", looked_for.empty() ? "" : ", ", family.name, family.mark);
  return input_error("{}: the tensors belong to no known family; looked for {}",
                     checkpoint.display_name(), looked_for);
}

}  // namespace plumb
