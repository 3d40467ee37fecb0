#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/bench/model_bench.h"
#include "experiments/bench/synthetic.h"
#include "experiments/cli/model_options.h"
#include "experiments/cli/verbs.h"
#include "experiments/spec.h"

namespace plumb::cli {
namespace {

struct BenchCall {
  ModelOptions model;
  std::string synthetic, dtypes = "f32,bf16,int8";
  BenchOptions figures;
  bool scaling = false, ceilings_only = false, json = false;
};

// A directory of our own that goes away with us.
class Scratch {
 public:
  static Result<Scratch> make() {
    std::error_code error;
    const std::filesystem::path base = std::filesystem::temp_directory_path(error);
    if (error) return work_error("no directory for temporary files: {}", error.message());
    std::string name = (base / "plumb-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return work_error("{}: cannot be made", name);
    return Scratch(name);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit Scratch(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  for (size_t kib = 0; file >> word;)
    if (word == "MemAvailable:" && file >> kib) return kib << 10;
  return SIZE_MAX;  // unknown: let it try
}

// Weights are stored as f32, or as bf16 where f32 would not fit twice: in the file and packed.
Result<std::filesystem::path> write_weights(const std::string& kind, const Scratch& scratch) {
  PLUMB_ASSIGN(const SyntheticModel model, synthetic_model(kind));
  constexpr size_t kLarge = size_t{1} << 30;
  const DType dtype = model.count() > kLarge ? DType::kBF16 : DType::kF32;
  const size_t bytes = model.count() * dtype_bytes(dtype), memory = available_memory();
  std::error_code error;
  const auto space = std::filesystem::space(scratch.path(), error);
  if (!error && space.available < bytes + bytes / 8)
    return work_error("{}: --synthetic {} needs {:.1f} GB for its weights, {:.1f} GB are free",
                      scratch.path().string(), kind, static_cast<double>(bytes) * 1e-9,
                      static_cast<double>(space.available) * 1e-9);
  if (memory < bytes + bytes / 4)
    return work_error("--synthetic {} needs {:.1f} GB of memory, {:.1f} GB are available", kind,
                      static_cast<double>(bytes) * 1.25e-9, static_cast<double>(memory) * 1e-9);
  const std::filesystem::path path = scratch.path() / kind;
  PLUMB_RETURN_IF_ERROR(write_synthetic(model, dtype, path));
  return path;
}

Result<std::vector<Precision>> parse_precisions(const std::string& text) {
  std::vector<Precision> list;
  for (const std::string& name : split_list(text)) {
    const auto precision = parse_precision(name);
    if (!precision)
      return input_error("--dtype \"{}\" is unknown; expected f32, bf16 or int8", name);
    if (std::find(list.begin(), list.end(), *precision) != list.end())
      return input_error("--dtype lists {} twice", name);
    list.push_back(*precision);
  }
  return list;
}

void progress(const std::string& what) {
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K%s", what.c_str());
}

struct Figures {
  Json model = Json::object();
  std::vector<BenchRow> rows;
  std::vector<std::string> notes;
};

Status run_figures(const ModelBench& bench, const BenchCall& call, const Scratch& scratch,
                   bool first, Figures& out) {
  const auto add = [&](const char* what, const BenchRows& rows) -> Status {
    if (!rows.ok()) return rows.error();
    progress(fmt::format("{} {} done", precision_name(bench.precision()), what));
    out.rows.insert(out.rows.end(), rows.value().begin(), rows.value().end());
    return ok_status();
  };
  PLUMB_RETURN_IF_ERROR(add("forward", forward_rows(bench)));
  PLUMB_RETURN_IF_ERROR(add("decode", decode_rows(bench)));
  // These hardly depend on the precision: once.
  if (first) {
    PLUMB_RETURN_IF_ERROR(add("sweep", sweep_rows(bench)));
    PLUMB_RETURN_IF_ERROR(add("record", record_rows(bench, scratch.path())));
    PLUMB_RETURN_IF_ERROR(add("adaptive", adaptive_rows(bench)));
  }
  const auto store = std::find_if(out.rows.begin(), out.rows.end(), [](const BenchRow& row) {
    return row.name.starts_with("store_us_per_step_row");
  });
  PLUMB_RETURN_IF_ERROR(add("stages", stage_rows(bench, store->value * bench.steps() * 1e-3)));
  if (call.scaling) PLUMB_RETURN_IF_ERROR(add("scaling", scaling_rows(bench)));
  return ok_status();
}

// Rows that are measured once carry no precision in their name.
void name_plainly(std::vector<BenchRow>& rows, const std::string& suffix) {
  for (BenchRow& row : rows)
    for (const char* name : {"sweep_", "single_pass_", "store_", "record_", "adaptive_"})
      if (row.name.starts_with(name) && row.name.ends_with("_" + suffix))
        row.name.resize(row.name.size() - suffix.size() - 1);
}

Json model_json(const ModelInfo& info, const ModelCost& cost, const ModelBench& bench,
                const std::string& shown) {
  return {{"name", shown},
          {"family", info.family},
          {"axis", info.axis},
          {"steps", bench.steps()},
          {"forward_tokens", bench.n_tokens()},
          {"forward_flops", cost.flops(bench.n_tokens(), bench.steps())},
          {"core_numbers_per_step", cost.core.numbers}};
}

std::vector<std::string> notes_for(const ModelInfo& info, int steps) {
  std::vector<std::string> notes;
  if (steps < 32)
    notes.push_back(
        fmt::format("this family runs {} {} at most: every figure named for r=32 is at {}", steps,
                    info.axis, steps));
  if (info.distinct_blocks)
    notes.push_back(
        "every block is another one: decode_core is the weight traffic of all blocks of a token, "
        "and \"core\" in the stages is all of them");
  if (info.family == "spikewhale")
    notes.push_back(
        "the recurrence is the small refinement after 16 blocks: decode_core is its traffic alone, "
        "the blocks are in the prelude");
  if (info.segments) notes.push_back("keys of a segment are held per step; kv_read does not apply");
  return notes;
}

Status measure_model(const BenchCall& call, const std::vector<Precision>& precisions, Team& team,
                     const MachineCeilings& machine, Json& ceilings, Figures& out) {
  PLUMB_ASSIGN(const Scratch scratch, Scratch::make());
  ModelOptions options = call.model;
  if (!call.synthetic.empty()) {
    progress("writing random weights");
    PLUMB_ASSIGN(const std::filesystem::path path, write_weights(call.synthetic, scratch));
    options.model = path.string();
  }
  PLUMB_ASSIGN(const Checkpoint checkpoint, open_checkpoint(options));
  for (size_t i = 0; i < precisions.size(); ++i) {
    const std::string name = precision_name(precisions[i]);
    PLUMB_ASSIGN(const auto model, load_model(checkpoint, precisions[i], team));
    PLUMB_ASSIGN(const ModelCost cost, count_cost(checkpoint, model->info()));
    const ModelBench bench(*model, team, cost, precisions[i], machine, call.figures);
    PLUMB_RETURN_IF_ERROR(run_figures(bench, call, scratch, i == 0, out));
    if (i == 0) {
      name_plainly(out.rows, name);
      out.model = model_json(model->info(), cost, bench,
                             call.synthetic.empty() ? options.model : call.synthetic);
      out.model["once_measured_rows_dtype"] = name;
      out.notes = notes_for(model->info(), bench.steps());
    }
    for (const BenchRow& row : out.rows)
      if (row.of == "core_set_gbs" && row.name.ends_with(name)) {
        ceilings["core_set_gbs_" + name] = *row.ceiling;
        out.model["core_bytes_per_step_" + name] = cost.bytes(cost.core, precisions[i]);
      }
  }
  return ok_status();
}

Json json_of(const BenchRow& row) {
  const auto number = [](std::optional<double> value) {
    return value && std::isfinite(*value) ? Json(*value) : Json();
  };
  return {{"name", row.name},
          {"value", number(row.value)},
          {"unit", row.unit},
          {"ceiling", number(row.ceiling)},
          {"ratio", number(row.ratio())},
          {"runs", row.runs},
          {"of", row.of.empty() ? Json() : Json(row.of)}};
}

std::string shown(double value) {
  return value >= 1000 || value == std::floor(value) ? fmt::format("{:.0f}", value)
                                                     : fmt::format("{:.4g}", value);
}

void print_table(const Json& host, const Json& ceilings, const Figures& figures) {
  std::printf("%s, %d of %d cores, %s\n\n", host["cpu"].get<std::string>().c_str(),
              host["threads"].get<int>(), host["cores"].get<int>(),
              host["utc"].get<std::string>().c_str());
  std::printf("%-28s %12s %12s\n", "ceiling", "all threads", "one core");
  for (const auto& [name, one] : ceilings["one_core"].items()) {
    const Json& all = ceilings[name];
    if (all.is_null())
      std::printf("%-28s %12s\n", name.c_str(), "absent");
    else
      std::printf("%-28s %12s %12s\n", name.c_str(), shown(all.get<double>()).c_str(),
                  shown(one.get<double>()).c_str());
  }
  if (figures.rows.empty()) return;
  std::printf("\n%-36s %12s %-12s %10s %7s  %-22s %s\n", "figure", "value", "unit", "ceiling",
              "ratio", "of", "runs");
  for (const BenchRow& row : figures.rows)
    std::printf("%-36s %12s %-12s %10s %7s  %-22s %d\n", row.name.c_str(), shown(row.value).c_str(),
                row.unit.c_str(), row.ceiling ? shown(*row.ceiling).c_str() : "",
                row.ratio() ? fmt::format("{:.3f}", *row.ratio()).c_str() : "", row.of.c_str(),
                row.runs);
}

Status run(const BenchCall& call) {
  PLUMB_ASSIGN(const std::vector<Precision> precisions, parse_precisions(call.dtypes));
  if (!call.ceilings_only && call.model.model.empty() == call.synthetic.empty())
    return input_error("bench takes a MODEL or --synthetic NAME, one of them; known names: {}",
                       synthetic_names());
  if (!call.synthetic.empty()) PLUMB_RETURN_IF_ERROR(synthetic_model(call.synthetic));
  if (!call.model.model.empty())
    PLUMB_RETURN_IF_ERROR(Checkpoint::open(
        call.model.model, {.config = call.model.config,
                           .namemap = call.model.namemap}));  // before minutes of measuring
  if (call.model.threads < 0 || call.model.threads > 1024)
    return input_error("--threads is {}, expected 1 to 1024", call.model.threads);
  Team team(call.model.threads > 0 ? call.model.threads : available_cores());
  progress("measuring the machine");
  const MachineCeilings machine = measure_machine(team);
  Json host = host_json(team.size()), ceilings = ceilings_json(machine);
  Figures figures;
  if (!call.ceilings_only)
    PLUMB_RETURN_IF_ERROR(measure_model(call, precisions, team, machine, ceilings, figures));
  progress("");
  host["version"] = PLUMB_VERSION;
  for (const std::string& note : figures.notes)
    std::fprintf(stderr, "plumb: note: %s\n", note.c_str());
  if (!call.json) {
    print_table(host, ceilings, figures);
    return ok_status();
  }
  Json rows = Json::array();
  for (const BenchRow& row : figures.rows) rows.push_back(json_of(row));
  std::printf("%s\n", Json{{"host", host},
                           {"ceilings", ceilings},
                           {"model", figures.model},
                           {"rows", rows},
                           {"notes", figures.notes}}
                          .dump(1)
                          .c_str());
  return ok_status();
}

}  // namespace

void add_bench(CLI::App& program, Action& action) {
  auto call = std::make_shared<BenchCall>();
  CLI::App* verb =
      program.add_subcommand("bench", "speed beside the measured ceilings of this machine");
  verb->add_option("MODEL", call->model.model,
                   "a directory in its family's published layout, or one weights file");
  verb->add_option("--synthetic", call->synthetic,
                   "instead of MODEL: random weights of the shape of " + synthetic_names());
  verb->add_option("--dtype", call->dtypes,
                   "precisions to measure (default f32,bf16,int8); sweep, store and adaptive "
                   "figures are of the first");
  verb->add_option("--threads", call->model.threads, "threads (default: all cores)");
  verb->add_option("--runs", call->figures.repeat.runs,
                   "runs a figure; the median is printed (default 5)")
      ->check(CLI::Range(1, 1000));
  verb->add_option("--budget", call->figures.repeat.budget_s,
                   "seconds after which a figure takes no further run (default 15)")
      ->check(CLI::Range(0.1, 1e5));
  verb->add_option("--tokens", call->figures.n_tokens, "tokens of a whole pass (default 512)")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--num-steps", call->figures.num_steps, "depth of the figures (default 32)")
      ->check(CLI::Range(1, kMaxDepth));
  verb->add_option("--context", call->figures.context, "tokens before a decoded one (default 64)")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_flag("--scaling", call->scaling, "also cost against depth, context and batch");
  verb->add_flag("--ceilings", call->ceilings_only, "measure the machine alone");
  verb->add_option("--config", call->model.config,
                   "use this config.json instead of the model's own");
  verb->add_option("--namemap", call->model.namemap, "namemap-1 file that renames foreign tensors");
  verb->add_flag("--json", call->json, "machine-readable figures on stdout");
  verb->callback([call, &action] { action = [call] { return run(*call); }; });
}

}  // namespace plumb::cli
