#include "experiments/cli/model_options.h"

#include <cstdio>

#include "experiments/spec.h"

namespace plumb::cli {

void ModelOptions::add_to(CLI::App& verb, bool numeric) {
  verb.add_option("MODEL", model, "a directory in its family's published layout, or one weights file")->required();
  verb.add_option("--config", config, "use this config.json instead of the model's own");
  verb.add_option("--namemap", namemap, "namemap-1 file that renames foreign tensors");
  verb.add_option("--tokenizer", tokenizer, "directory with the tokenizer files");
  if (!numeric) return;
  verb.add_option("--dtype", dtype, "f32 (default; f32 arithmetic on weights as stored), bf16 or int8");
  verb.add_option("--threads", threads, "threads (default 0: all cores)");
}

Result<Checkpoint> open_checkpoint(const ModelOptions& options) {
  PLUMB_ASSIGN(Checkpoint checkpoint, Checkpoint::open(options.model, {.config = options.config, .namemap = options.namemap}));
  for (const std::string& note : checkpoint.notes()) std::fprintf(stderr, "plumb: note: %s\n", note.c_str());
  return checkpoint;
}

Result<OpenModel> open_model(const ModelOptions& options) {
  const auto precision = parse_precision(options.dtype);
  if (!precision) return input_error("--dtype \"{}\" is unknown; expected f32, bf16 or int8", options.dtype);
  if (options.threads < 0 || options.threads > kMaxThreads)
    return input_error("--threads is {}, expected 1 to {}, or 0 for all cores", options.threads, kMaxThreads);
  OpenModel open;
  PLUMB_ASSIGN(Checkpoint checkpoint, open_checkpoint(options));
  if (const auto report = non_finite_report(checkpoint))
    std::fprintf(stderr, "plumb: warning: %s\n", report->c_str());
  open.checkpoint = std::make_unique<Checkpoint>(std::move(checkpoint));
  open.team = std::make_unique<Team>(options.threads > 0 ? options.threads : available_cores());
  PLUMB_ASSIGN(open.model, load_model(*open.checkpoint, *precision, *open.team));
  for (const std::string& note : open.model->info().notes) std::fprintf(stderr, "plumb: note: %s\n", note.c_str());
  return open;
}

Result<std::unique_ptr<Tokenizer>> open_tokenizer(const ModelOptions& options) {
  if (!options.tokenizer.empty()) return load_tokenizer(options.tokenizer);
  const std::filesystem::path path(options.model);
  return load_tokenizer(std::filesystem::is_directory(path) ? path : path.parent_path());
}

void warn_of_length(const ModelInfo& info, size_t positions) {
  if (info.trained_positions <= 0 || positions <= static_cast<size_t>(info.trained_positions)) return;
  std::fprintf(stderr, "plumb: warning: %zu positions, but this model was made for %d: its rope is extrapolated\n", positions,
               info.trained_positions);
}

Result<std::vector<std::vector<int32_t>>> parse_id_rows(const std::string& text) {
  std::vector<std::vector<int32_t>> rows;
  for (const std::string& row_text : split_list(text, ';')) {
    std::vector<int32_t> row;
    for (const std::string& item : split_list(row_text)) {
      const auto id = parse_whole_number(item);
      if (!id || *id < 0 || *id > INT32_MAX)
        return input_error("--ids: \"{}\" is not a token id", item);
      row.push_back(static_cast<int32_t>(*id));
    }
    if (!rows.empty() && row.size() != rows.front().size())
      return input_error("--ids: row {} has {} tokens, the first has {}; rows of a batch are equally long",
                         rows.size() + 1, row.size(), rows.front().size());
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace plumb::cli
