#include <nlohmann/json.hpp>

#include "core/cache/kv_policies.h"
#include "experiments/cli/chat_options.h"
#include "experiments/cli/model_options.h"
#include "experiments/cli/verbs.h"

namespace plumb::cli {
namespace {

struct InspectOptions {
  ModelOptions model;
  int steps = -1;
  bool json = false;
};

int64_t parameters(const ModelInfo& info, int steps) {
  int64_t total = 0;
  for (const PartCount& part : info.parts) total += part.parameters * (part.per_step ? steps : 1);
  return total;
}

// Keys and values a token holds after `steps`, bytes by strategy (core/cache/kv_policies.h); null
// where they are not kept per recurrence. Held as f32.
Json kv_bytes_per_token(const ModelInfo& info, int steps) {
  if (!info.random_state) return nullptr;
  Json bytes = Json::object();
  const int64_t row = int64_t{2} * info.n_kv_heads * info.head_dim * static_cast<int64_t>(sizeof(float));
  for (const char* name : {"full", "compress-s1", "compress-s4", "compress-s16", "compress-r4", "compress-anchor", "compress-first4",
                           "compress-last4", "compress-stride4", "compress-boundaries", "decode-last"})
    if (const auto entries = kv_entries_per_token(name, CacheIndex::kRecurrence, info.layers, steps); entries.ok())
      bytes[name] = entries.value() * row;
  return bytes;
}

Json describe(const ModelInfo& info, const Checkpoint& checkpoint, const ModelOptions& options, int steps) {
  Json parts = Json::array();
  for (const PartCount& part : info.parts)
    parts.push_back({{"part", part.name}, {"parameters", part.parameters}, {"per_step", part.per_step}});
  int64_t stored = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) stored += static_cast<int64_t>(tensor.element_count());
  Json json = {{"model", options.model},
               {"family", info.family},
               {"depth_axis", {{"name", info.axis}, {"default", info.default_steps}, {"min", info.min_steps}, {"max", info.max_steps > 0 ? Json(info.max_steps) : Json()}}},
               {"stages", {{"prelude", info.layers.n_prelude}, {"core", info.layers.n_core}, {"coda", info.layers.n_coda}}},
               {"model_dim", info.model_dim},
               {"n_heads", info.n_heads},
               {"n_kv_heads", info.n_kv_heads},
               {"head_dim", info.head_dim},
               {"vocab_size", info.vocab_size},
               {"max_positions", info.max_positions > 0 ? Json(info.max_positions) : Json()},
               {"parameters", {{"unique", parameters(info, 1)}, {"stored", stored}, {"materialised", parameters(info, steps)}, {"at_depth", steps}, {"parts", parts}}},
               {"kv_bytes_per_token", kv_bytes_per_token(info, steps)},
               {"tensors", checkpoint.tensors().size()},
               {"notes", info.notes}};
  if (const auto tokenizer = open_tokenizer(options); tokenizer.ok()) json["tokenizer"] = tokenizer.value()->description();
  else json["tokenizer"] = nullptr;
  const auto chat = ChatTemplate::load(template_directory(options));
  json["template"] = chat.ok() ? Json(chat.value().where()) : Json();
  json["open_switches"] = Json::object();
  for (const OpenSwitch& one : info.open_switches) {
    Json values = Json::array();
    for (const std::string& value : one.values) values.push_back(Json::parse(value));
    json["open_switches"][one.field] = values;
  }
  return json;
}

Status run(const InspectOptions& options) {
  PLUMB_ASSIGN(const OpenModel open, open_model(options.model));
  const ModelInfo& info = open.model->info();
  const int steps = options.steps >= 0 ? options.steps : info.default_steps;
  const Json json = describe(info, *open.checkpoint, options.model, steps);
  if (options.json) {
    std::printf("%s\n", json.dump(2).c_str());
    return ok_status();
  }
  std::printf("model        %s\nfamily       %s\ndepth axis   %s, default %d, %d to %s\n", options.model.model.c_str(),
              info.family.c_str(), info.axis.c_str(), info.default_steps, info.min_steps,
              info.max_steps > 0 ? std::to_string(info.max_steps).c_str() : "any");
  std::printf("stages       %d prelude, %d core, %d coda blocks\n", info.layers.n_prelude, info.layers.n_core, info.layers.n_coda);
  std::printf("width        %d, %d heads of %d, %d key/value heads\nvocabulary   %d\n", info.model_dim, info.n_heads,
              info.head_dim, info.n_kv_heads, info.vocab_size);
  for (const PartCount& part : info.parts)
    std::printf("  %-12s %15s parameters%s\n", part.name.c_str(), fmt::format("{:L}", part.parameters).c_str(), part.per_step ? " (every step)" : "");
  std::printf("unique       %15ld parameters\nat depth %-4d%15ld parameters materialised\n", parameters(info, 1), steps, parameters(info, steps));
  if (const Json& held = json["kv_bytes_per_token"]; held.is_object()) {
    std::printf("keys and values a token at depth %d, f32 (half of it in bf16):\n", steps);
    for (const auto& [name, bytes] : held.items())
      std::printf("  %-20s %10.1f KiB\n", name.c_str(), bytes.get<double>() / 1024);
  }
  std::printf("tokenizer    %s\n", json["tokenizer"].is_null() ? "none found" : json["tokenizer"].get<std::string>().c_str());
  std::printf("template     %s\n", json["template"].is_null() ? "none found" : json["template"].get<std::string>().c_str());
  if (!info.open_switches.empty()) {
    std::string fields;
    for (const OpenSwitch& one : info.open_switches) fields += (fields.empty() ? "" : ", ") + one.field;
    std::printf("open         %s (plumb probe)\n", fields.c_str());
  }
  return ok_status();
}

}  // namespace

void add_inspect(CLI::App& program, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* verb = program.add_subcommand("inspect", "what a checkpoint is: family, depth axis, stages, parameters, tokenizer");
  options->model.add_to(*verb);
  verb->add_option("--num-steps", options->steps, "depth at which parameters and keys are counted (default: the config's)");
  verb->add_flag("--json", options->json, "machine-readable");
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace plumb::cli
