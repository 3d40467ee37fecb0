#include "core/model/spikewhale_names.h"

#include <array>

namespace plumb {
namespace {

struct AssumedRow {
  AssumedVector which;
  const char* meaning;
  std::array<const char*, 4> spellings;  // the first is the usual one; null: none
};

constexpr std::array<AssumedRow, 4> kAssumed = {{
    {AssumedVector::kStreamRead,
     "read weights",
     {"pre_logits", "pre_weight", "pre", "read_logits"}},
    {AssumedVector::kStreamWrite,
     "write weights",
     {"post_logits", "post_weight", "post", "write_logits"}},
    {AssumedVector::kStreamMix, "output mix", {"logits", "weight", nullptr, nullptr}},
    {AssumedVector::kEngramGate, "gate scale", {"gamma", "scale", nullptr, nullptr}},
}};

// Names and shapes of everything below a site, for the error.
std::string found_at(const Checkpoint& checkpoint, const std::string& site) {
  std::string list;
  for (const TensorInfo& tensor : checkpoint.tensors())
    if (tensor.name.starts_with(site + "."))
      list += fmt::format("{}{} {}", list.empty() ? "" : ", ", quote_name(tensor.name),
                          shape_text(tensor.shape));
  return list.empty() ? "no tensor" : list;
}

}  // namespace

Result<std::vector<float>> load_assumed(WeightLoader& loader, AssumedVector which,
                                        const std::string& site, int64_t extent) {
  const AssumedRow& row = kAssumed[static_cast<size_t>(which)];
  std::string name, tried;
  int matches = 0;
  for (const char* spelling : row.spellings) {
    if (spelling == nullptr) continue;
    tried += fmt::format("{}{}", tried.empty() ? "" : " or ", spelling);
    if (!loader.has(fmt::format("{}.{}", site, spelling))) continue;
    name = fmt::format("{}.{}", site, spelling);
    ++matches;
  }
  if (matches != 1)
    return input_error(
        "{}: the {} of \"{}\" should be one tensor called {}, found {}; --namemap can give it its "
        "name",
        loader.checkpoint().display_name(), row.meaning, site, tried,
        found_at(loader.checkpoint(), site));
  if (loader.checkpoint().find(name)->shape.size() == 2) return loader.vector(name, {1, extent});
  return loader.vector(name, {extent});
}

bool is_training_head(std::string_view tensor) {
  return tensor.starts_with("mtp_heads.") || tensor.starts_with("jepa.");
}

bool is_spikewhale(const Checkpoint& checkpoint) {
  const auto type = JsonFields(checkpoint.config(), checkpoint.config_where()).text("model_type");
  if (type.ok() && type.value() == "spike_whale") return true;
  return checkpoint.find("model.layers.0.attn.q_a_proj.weight") != nullptr &&
         checkpoint.find("model.layers.0.attn.o_a_proj.weight") != nullptr;
}

}  // namespace plumb
