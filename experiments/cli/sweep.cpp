#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "core/store/run_reader.h"
#include "experiments/cli/sweep_table.h"
#include "experiments/cli/verbs.h"
#include "experiments/runner.h"

namespace plumb::cli {
namespace {

struct SweepOptions {
  std::string spec_file, models, texts, num_steps, seeds, dtypes, states, caches, rules, warm_starts, readouts, segment_lens, mem_lens, lags;
  SweepSpec spec;  // the flags that need no parsing
  bool dry_run = false, json = false;
  std::vector<std::string> given;  // names of the flags on the command line
};

std::atomic<bool> stop_requested{false};

void request_stop(int) { stop_requested.store(true); }

void show_progress(const SweepProgress& p) {
  const double rate = p.elapsed_s > 0 ? static_cast<double>(p.tokens_done) / p.elapsed_s : 0;
  std::fprintf(stderr, "\r\033[K[%zu/%zu] %s: chunk %zu of %zu, %.0f tokens/s", p.pass_index + 1, p.n_passes,
               pass_text(*p.pass).c_str(), p.chunk, p.n_chunks, rate);
  if (p.chunk == p.n_chunks) std::fprintf(stderr, "\n");
  std::fflush(stderr);
}

Result<std::vector<uint64_t>> parse_seeds(const std::string& text) {
  PLUMB_ASSIGN(const auto values, parse_int_list(text, "--seed", 0, 1 << 30));
  return std::vector<uint64_t>(values.begin(), values.end());
}

// Flags override what SPEC.json says.
Result<SweepSpec> assemble(const SweepOptions& options) {
  SweepSpec spec = options.spec;
  if (!options.spec_file.empty()) {
    const Result<Json> json = read_json_file(options.spec_file);
    if (!json.ok())
      return input_error("{}; SPEC is a sweep written down as JSON, a model goes to --model",
                         json.error().message);
    PLUMB_ASSIGN(SweepSpec from_file, spec_from_json(json.value(), options.spec_file));
    const auto given = [&](const char* flag) { return std::find(options.given.begin(), options.given.end(), flag) != options.given.end(); };
    if (given("--window")) from_file.window = spec.window;
    if (given("--stride")) from_file.stride = spec.stride;
    if (given("--max-tokens")) from_file.max_tokens = spec.max_tokens;
    if (given("--init-scale")) from_file.init_scale = spec.init_scale;
    if (given("--cache-index")) from_file.cache_index = spec.cache_index;
    if (given("--scoring")) from_file.scoring = spec.scoring;
    if (given("--record")) from_file.record = spec.record;
    if (given("--db")) from_file.db = spec.db;
    if (given("--threads")) from_file.threads = spec.threads;
    if (given("--namemap")) from_file.namemap = spec.namemap;
    if (given("--config")) from_file.config = spec.config;
    if (given("--tokenizer")) from_file.tokenizer = spec.tokenizer;
    spec = std::move(from_file);
  }
  if (!options.models.empty()) spec.models = split_list(options.models);
  if (!options.texts.empty()) spec.texts = split_list(options.texts);
  if (!options.dtypes.empty()) spec.dtypes = split_list(options.dtypes);
  if (!options.states.empty()) spec.states = split_list(options.states);
  if (!options.caches.empty()) spec.caches = split_list(options.caches);
  if (!options.rules.empty()) spec.rules = split_list(options.rules, ';');
  if (!options.warm_starts.empty()) spec.continuous_compute = split_list(options.warm_starts);
  if (!options.readouts.empty()) spec.readouts = split_list(options.readouts);
  if (std::find(options.given.begin(), options.given.end(), "--num-steps") != options.given.end()) {
    PLUMB_ASSIGN(spec.num_steps, parse_int_list(options.num_steps, "--num-steps", 0, kMaxDepth));
  }
  if (!options.seeds.empty()) {
    PLUMB_ASSIGN(spec.seeds, parse_seeds(options.seeds));
  }
  if (!options.segment_lens.empty()) {
    PLUMB_ASSIGN(spec.segment_lens, parse_int_list(options.segment_lens, "--segment-len", 1, 1 << 24));
  }
  if (!options.mem_lens.empty()) {
    PLUMB_ASSIGN(spec.mem_lens, parse_int_list(options.mem_lens, "--mem-len", 0, 1 << 24));
  }
  if (!options.lags.empty()) {
    PLUMB_ASSIGN(spec.lags, parse_int_list(options.lags, "--lags", 0, kMaxDepth));
  }
  if (options.dry_run && spec.db.empty()) spec.db = "(dry run)";
  PLUMB_RETURN_IF_ERROR(spec.resolve());
  return spec;
}

void print_plan(const SweepSpec& spec, bool json) {
  const auto passes = plan_passes(spec);
  if (json) {
    Json list = Json::array();
    for (const PassPlan& pass : passes) list.push_back(pass_text(pass));
    std::printf("%s\n", Json{{"spec", spec_to_json(spec)}, {"passes", list}}.dump(2).c_str());
    return;
  }
  for (size_t i = 0; i < passes.size(); ++i) std::printf("#%zu: %s\n", i, pass_text(passes[i]).c_str());
  std::printf("%zu pass(es), %s depths each\n", passes.size(), spec.num_steps.empty() ? "the default" : std::to_string(spec.num_steps.size()).c_str());
}

Status run(const SweepOptions& options) {
  PLUMB_ASSIGN(const SweepSpec spec, assemble(options));
  if (options.dry_run) {
    print_plan(spec, options.json);
    return ok_status();
  }
  return run_and_report(spec, options.json, {});
}

struct ResumeOptions {
  std::string db;
  bool json = false;
};

Status resume(const ResumeOptions& options) {
  std::vector<RunInfo> open;
  {
    PLUMB_ASSIGN(RunReader reader, RunReader::open(options.db));
    PLUMB_ASSIGN(const auto runs, reader.runs());
    for (const RunInfo& run : runs)
      if (run.record.verb == "sweep" && (run.status != RunStatus::kDone || run.points_done < run.points)) open.push_back(run);
  }
  if (open.empty()) {
    std::fprintf(stderr, "plumb: nothing to resume: every run of %s is done\n", options.db.c_str());
    return ok_status();
  }
  for (const RunInfo& run : open) {
    const std::string where = fmt::format("{}: spec of run {}", options.db, run.id);
    PLUMB_ASSIGN(const Json json, parse_json(run.record.spec_json, where));
    PLUMB_ASSIGN(SweepSpec spec, spec_from_json(json, where));
    spec.db = options.db;  // the file may have been moved since
    PLUMB_RETURN_IF_ERROR(spec.resolve());
    PLUMB_RETURN_IF_ERROR(run_and_report(spec, options.json, run.id));
  }
  return ok_status();
}

}  // namespace

Status run_and_report(const SweepSpec& spec, bool json, std::optional<int64_t> existing_run) {
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  SweepObserver observer;
  observer.note = [](const std::string& text) { std::fprintf(stderr, "plumb: note: %s\n", text.c_str()); };
  if (isatty(STDERR_FILENO) != 0) observer.progress = show_progress;
  const SweepHost host{PLUMB_VERSION, command_line(), &stop_requested};
  PLUMB_ASSIGN(const SweepOutcome outcome, run_sweep(spec, host, observer, existing_run));
  if (outcome.stopped)
    return work_error("stopped by a signal; what was computed is in {}; continue with: plumb resume {}", spec.db, spec.db);
  PLUMB_ASSIGN(RunReader reader, RunReader::open(spec.db));
  return print_depth_table(reader, outcome, spec.db, json);
}

void add_sweep(CLI::App& program, Action& action) {
  auto options = std::make_shared<SweepOptions>();
  CLI::App* verb = program.add_subcommand("sweep", "perplexity (and every scalar) against depth, into a results file");
  SweepSpec& spec = options->spec;
  verb->add_option("SPEC", options->spec_file, "JSON file with the same keys as the flags; flags override it");
  verb->add_option("--model", options->models, "MODEL[,MODEL...]");
  verb->add_option("--text", options->texts, "UTF-8 file[,file...]");
  verb->add_option("--num-steps", options->num_steps, "depths, e.g. 1,2,4..8,64 (default: the config's)");
  verb->add_option("--window", spec.window, "tokens run at once (default 512)");
  verb->add_option("--stride", spec.stride, "tokens between windows (default 0: the window)");
  verb->add_option("--max-tokens", spec.max_tokens, "use only the first tokens of each text (default 0: all)");
  verb->add_option("--seed", options->seeds, "seeds of the initial state (default 0)");
  verb->add_option("--dtype", options->dtypes, "f32, bf16, int8 (default f32)");
  verb->add_option("--state", options->states, "initial states (default like-init)");
  verb->add_option("--init-scale", spec.init_scale, "multiplies the initial state's scale (default 1)");
  verb->add_option("--cache", options->caches, "cache strategies; sequential scoring only");
  verb->add_option("--cache-index", spec.cache_index, "recurrence (default) or upstream");
  verb->add_option("--rule", options->rules, "exit rules, separated by \";\"; sequential scoring only");
  verb->add_option("--continuous-compute", options->warm_starts, "off (default), on: begin each token from the last one's state; sequential scoring only");
  verb->add_option("--readout", options->readouts, "f32 (default), bf16: logits rounded to bf16, as a model run in bf16 hands them over");
  verb->add_option("--segment-len", options->segment_lens, "segment lengths in tokens, families with segment memory");
  verb->add_option("--mem-len", options->mem_lens, "memory lengths in tokens, families with segment memory");
  verb->add_option("--scoring", spec.scoring, "parallel or sequential (default: parallel unless an axis needs a cache)");
  verb->add_option("--record", spec.record, "tokens (default), steps, or latents[:positions,steps,f16|f32]");
  verb->add_option("--lags", options->lags, "also compare each step with step - lag, e.g. 2,4,8 (0: with the start)");
  verb->add_option("--db", spec.db, "results file to write or continue");
  verb->add_option("--threads", spec.threads, "threads (default 0: all cores)");
  verb->add_option("--config", spec.config, "use this config.json instead of the model's own");
  verb->add_option("--namemap", spec.namemap, "namemap-1 file that renames foreign tensors");
  verb->add_option("--tokenizer", spec.tokenizer, "directory with the tokenizer files");
  verb->add_flag("--dry-run", options->dry_run, "list the passes and stop");
  verb->add_flag("--json", options->json, "machine-readable table on stdout");
  verb->callback([options, verb, &action] {
    for (const CLI::Option* option : verb->get_options())
      if (option->count() > 0) options->given.push_back(option->get_name());
    action = [options] { return run(*options); };
  });
}

void add_resume(CLI::App& program, Action& action) {
  auto options = std::make_shared<ResumeOptions>();
  CLI::App* verb = program.add_subcommand("resume", "continue every unfinished sweep of a results file");
  verb->add_option("DB", options->db, "results file")->required();
  verb->add_flag("--json", options->json, "machine-readable table on stdout");
  verb->callback([options, &action] { action = [options] { return resume(*options); }; });
}

}  // namespace plumb::cli
