#include "experiments/model_pool.h"

#include "core/model/token_cost.h"
#include "core/record/provenance.h"

namespace plumb {
namespace {

// Everything on disk that decides the numbers.
Result<std::string> content_hash(const Checkpoint& checkpoint, const std::string& path, const ModelFiles& files) {
  std::vector<std::filesystem::path> used(checkpoint.weight_files().begin(), checkpoint.weight_files().end());
  const auto add = [&](const std::filesystem::path& file) {
    if (std::filesystem::is_regular_file(file)) used.push_back(file);
  };
  add(files.config.empty() ? checkpoint.directory() / "config.json" : std::filesystem::path(files.config));
  if (!files.namemap.empty()) add(files.namemap);
  const std::filesystem::path directory = tokenizer_directory(path, files);
  for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt"}) {
    add(directory / name);
    add(directory / "tokenizer" / name);
  }
  return sha256_of_files(used);
}

}  // namespace

std::filesystem::path tokenizer_directory(const std::string& model, const ModelFiles& files) {
  if (!files.tokenizer.empty()) return files.tokenizer;
  const std::filesystem::path path(model);
  return std::filesystem::is_directory(path) ? path : path.parent_path();
}

Result<LoadedModel> open_loaded_model(const std::string& path, const std::string& dtype, const ModelFiles& files,
                                      Team& team, const std::function<void(const std::string&)>& note) {
  const auto precision = parse_precision(dtype);
  if (!precision) return input_error("--dtype \"{}\" is unknown; expected f32, bf16 or int8", dtype);
  LoadedModel loaded;
  loaded.path = path;
  loaded.dtype = dtype;
  const std::filesystem::path as_path(path);
  loaded.name = (as_path.has_filename() ? as_path : as_path.parent_path()).filename().string();
  PLUMB_ASSIGN(Checkpoint checkpoint, Checkpoint::open(path, {.config = files.config, .namemap = files.namemap}));
  for (const std::string& text : checkpoint.notes()) note(text);
  if (const auto report = non_finite_report(checkpoint)) note("warning: " + *report);
  PLUMB_ASSIGN(loaded.sha256, content_hash(checkpoint, path, files));
  loaded.checkpoint = std::make_unique<Checkpoint>(std::move(checkpoint));
  PLUMB_ASSIGN(loaded.model, load_model(*loaded.checkpoint, *precision, team));
  for (const std::string& text : loaded.model->info().notes) note(text);
  PLUMB_ASSIGN(loaded.tokenizer, load_tokenizer(tokenizer_directory(path, files)));
  if (loaded.tokenizer->vocab_size() > static_cast<size_t>(loaded.model->info().vocab_size))
    note(fmt::format("the tokenizer has {} ids, the model {}: texts that use the rest are refused",
                     loaded.tokenizer->vocab_size(), loaded.model->info().vocab_size));
  return loaded;
}

ModelRecord cost_record(const LoadedModel& loaded) {
  const ModelInfo& info = loaded.model->info();
  const TokenCost cost = token_cost(info);
  ModelRecord record{.model_sha256 = loaded.sha256};
  for (const PartCount& part : info.parts) record.parameters += part.parameters;
  record.prelude_flops = cost.prelude, record.prelude_key_flops = cost.prelude_per_key;
  record.step_flops = cost.step, record.step_key_flops = cost.step_per_key;
  record.readout_flops = cost.readout, record.readout_key_flops = cost.readout_per_key;
  return record;
}

}  // namespace plumb
