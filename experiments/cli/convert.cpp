#include <nlohmann/json.hpp>

#include "core/model/llama.h"
#include "experiments/cli/model_options.h"
#include "experiments/cli/verbs.h"
#include "experiments/convert.h"

namespace plumb::cli {
namespace {

struct ConvertOptions {
  std::string model, from, config, namemap, to, out, layers, adapter = "identity", dtype;
  int prelude = 0, core = 0, coda = -1, mean_recurrence = 32;
  uint64_t seed = 0;
  bool force = false, json = false;
};

Result<StoreOptions> store_options(const ConvertOptions& options) {
  StoreOptions store;
  store.overwrite = options.force;
  if (options.dtype.empty()) return store;
  if (options.dtype == "f32") store.dtype = DType::kF32;
  else if (options.dtype == "f16") store.dtype = DType::kF16;
  else if (options.dtype == "bf16") store.dtype = DType::kBF16;
  else return input_error("--dtype \"{}\" is unknown; expected f32, f16 or bf16", options.dtype);
  return store;
}

Result<RetrofitOptions> retrofit_options(const ConvertOptions& options, const Checkpoint& llama) {
  RetrofitOptions retrofit;
  PLUMB_ASSIGN(retrofit.store, store_options(options));
  PLUMB_ASSIGN(retrofit.adapter, parse_adapter_init(options.adapter));
  retrofit.seed = options.seed;
  retrofit.mean_recurrence = options.mean_recurrence;
  const bool counted = options.prelude != 0 || options.core != 0 || options.coda >= 0;
  if (options.layers.empty() == !counted)
    return input_error("--from needs either --prelude, --core and --coda, or --layers");
  if (!options.layers.empty()) {
    PLUMB_ASSIGN(retrofit.layers, parse_layer_split(options.layers));
    return retrofit;
  }
  PLUMB_ASSIGN(const LlamaConfig config, read_llama_config(llama));
  PLUMB_ASSIGN(retrofit.layers, split_by_counts(options.prelude, options.core, std::max(options.coda, 0), config.n_layers, llama.display_name()));
  return retrofit;
}

Result<ConvertReport> convert(const ConvertOptions& options) {
  ModelOptions source;
  source.model = options.from.empty() ? options.model : options.from;
  source.config = options.config;
  source.namemap = options.namemap;
  PLUMB_ASSIGN(const Checkpoint checkpoint, open_checkpoint(source));
  if (!options.from.empty()) {
    PLUMB_ASSIGN(const RetrofitOptions retrofit, retrofit_options(options, checkpoint));
    return convert_retrofit(checkpoint, retrofit, options.out);
  }
  PLUMB_ASSIGN(const StoreOptions store, store_options(options));
  return convert_to_safetensors(checkpoint, store, options.out);
}

Status run(const ConvertOptions& options) {
  if (options.from.empty() == options.model.empty())
    return input_error("give either MODEL with --to safetensors, or --from LLAMA");
  if (options.from.empty() != !options.to.empty())
    return input_error("--to safetensors goes with MODEL; --from LLAMA makes a looped model");
  if (!options.to.empty() && options.to != "safetensors")
    return input_error("--to \"{}\" is unknown; expected safetensors", options.to);
  PLUMB_ASSIGN(const ConvertReport report, convert(options));
  for (const std::string& note : report.notes) std::fprintf(stderr, "plumb: note: %s\n", note.c_str());
  if (options.json) {
    std::printf("%s\n", Json{{"weights", report.weights.string()}, {"tensors", report.n_tensors}, {"bytes", report.bytes},
                             {"parameters", report.parameters}, {"copied", report.copied}, {"notes", report.notes}}.dump().c_str());
    return ok_status();
  }
  std::printf("%s: %zu tensors, %ld parameters, %zu bytes\n", report.weights.c_str(), report.n_tensors, static_cast<long>(report.parameters), report.bytes);
  for (const std::string& name : report.copied) std::printf("copied %s\n", name.c_str());
  return ok_status();
}

}  // namespace

void add_convert(CLI::App& program, Action& action) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* verb = program.add_subcommand("convert", "a Llama into a looped model; .pt files or shards into one safetensors file");
  verb->add_option("MODEL", options->model, "the checkpoint to rewrite, with --to");
  verb->add_option("--to", options->to, "safetensors: canonical names, one file, complete config.json");
  verb->add_option("--from", options->from, "a Llama directory to retrofit into prelude, looped core and coda");
  verb->add_option("--prelude", options->prelude, "how many first layers become the prelude");
  verb->add_option("--core", options->core, "how many layers then become the looped core");
  verb->add_option("--coda", options->coda, "how many last layers become the coda");
  verb->add_option("--layers", options->layers, "layers of prelude, core and coda, e.g. 0-3,10-17,18-21 or \"0,2;3-5;7\"; others are dropped");
  verb->add_option("--adapter", options->adapter, "identity ([0 | I], default), identity-on-state ([I | 0]) or random");
  verb->add_option("--seed", options->seed, "seed of a random adapter (default 0)");
  verb->add_option("--mean-recurrence", options->mean_recurrence, "default depth to write into the config (default 32, as the public converter)");
  verb->add_option("--dtype", options->dtype, "store weights as f32, f16 or bf16 (default: as they are)");
  verb->add_option("--config", options->config, "use this config.json instead of the model's own");
  verb->add_option("--namemap", options->namemap, "namemap-1 file that renames foreign tensors");
  verb->add_option("--out", options->out, "folder for the new model")->required();
  verb->add_flag("--force", options->force, "replace a model that is in the folder already");
  verb->add_flag("--json", options->json, "machine-readable report on stdout");
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace plumb::cli
