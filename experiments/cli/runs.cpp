// Life with a results file: which runs it holds and how far their points are.
#include <nlohmann/json.hpp>

#include "analysis/table.h"
#include "core/base/json.h"
#include "core/store/run_reader.h"
#include "experiments/cli/verbs.h"

namespace plumb::cli {
namespace {

struct DbOptions {
  std::string db;
  bool json = false;
};

Status list_runs(const DbOptions& options) {
  PLUMB_ASSIGN(RunReader reader, RunReader::open(options.db));
  PLUMB_ASSIGN(const auto runs, reader.runs());
  Json list = Json::array();
  Table table({{.name = "run", .type = CellType::kInteger}, {.name = "verb", .type = CellType::kText}, {.name = "status", .type = CellType::kText},
               {.name = "begun", .type = CellType::kText}, {.name = "points", .type = CellType::kInteger}, {.name = "done", .type = CellType::kInteger},
               {.name = "host", .type = CellType::kText}, {.name = "call", .type = CellType::kText}});
  for (const RunInfo& run : runs) {
    std::string call;
    for (const std::string& argument : run.record.argv) call += (call.empty() ? "" : " ") + argument;
    list.push_back({{"run", run.id}, {"uid", run.uid}, {"verb", run.record.verb}, {"status", run_status_name(run.status)}, {"created_utc", run.created_utc},
                    {"finished_utc", run.finished_utc}, {"points", run.points}, {"points_done", run.points_done}, {"points_running", run.points_running},
                    {"points_failed", run.points_failed}, {"binary_version", run.record.binary_version}, {"host", run.record.host_name},
                    {"cpu", run.record.cpu_model}, {"threads", run.record.n_threads}, {"argv", run.record.argv}});
    table.add_row({run.id, run.record.verb, std::string(run_status_name(run.status)), run.created_utc, run.points, run.points_done, run.record.host_name, call});
  }
  std::printf("%s\n", options.json ? list.dump(2).c_str() : table.to_terminal().c_str());
  return ok_status();
}

Status show_status(const DbOptions& options) {
  PLUMB_ASSIGN(RunReader reader, RunReader::open(options.db));
  PLUMB_ASSIGN(const auto points, reader.points());
  Json list = Json::array();
  Table table({{.name = "point", .type = CellType::kInteger}, {.name = "status", .type = CellType::kText}, {.name = "model", .type = CellType::kText},
               {.name = "text", .type = CellType::kText}, {.name = "num_steps", .heading = "depth", .type = CellType::kInteger}, {.name = "chunks", .type = CellType::kText},
               {.name = "tokens", .type = CellType::kInteger}, {.name = "tokens_per_s", .heading = "speed", .unit = "tokens/s"}, {.name = "error", .type = CellType::kText}});
  int64_t done = 0;
  for (const PointInfo& point : points) {
    const Setting& setting = point.record.setting;
    if (point.status == PointStatus::kDone) ++done;
    const double rate = point.elapsed_ms > 0 ? static_cast<double>(point.tokens_done) / (point.elapsed_ms / 1000) : std::nan("");
    list.push_back({{"point", point.id}, {"status", point_status_name(point.status)}, {"model", setting.model_name}, {"text", setting.text_name},
                    {"num_steps", point.record.num_steps ? Json(*point.record.num_steps) : Json()}, {"chunks_done", point.chunks_done},
                    {"chunks_planned", point.record.planned_chunks}, {"tokens_done", point.tokens_done}, {"tokens_planned", point.record.planned_tokens},
                    {"heartbeat_utc", point.heartbeat_utc}, {"attempt", point.attempt}, {"error", point.error}});
    table.add_row({point.id, std::string(point_status_name(point.status)), setting.model_name, setting.text_name,
                   point.record.num_steps ? Cell(*point.record.num_steps) : Cell(), fmt::format("{}/{}", point.chunks_done, point.record.planned_chunks),
                   point.tokens_done, rate, point.error});
  }
  if (options.json) {
    std::printf("%s\n", Json{{"points", list}, {"points_done", done}, {"points_total", points.size()}}.dump(2).c_str());
    return ok_status();
  }
  std::printf("%s\n%ld of %zu points done\n", table.to_terminal().c_str(), done, points.size());
  return ok_status();
}

void add_db_verb(CLI::App& program, Action& action, const char* name, const char* meaning, Status (*body)(const DbOptions&)) {
  auto options = std::make_shared<DbOptions>();
  CLI::App* verb = program.add_subcommand(name, meaning);
  verb->add_option("DB", options->db, "results file")->required();
  verb->add_flag("--json", options->json, "machine-readable");
  verb->callback([options, body, &action] { action = [options, body] { return body(*options); }; });
}

}  // namespace

void add_runs(CLI::App& program, Action& action) { add_db_verb(program, action, "runs", "the runs of a results file", list_runs); }
void add_status(CLI::App& program, Action& action) { add_db_verb(program, action, "status", "how far every point of a results file is", show_status); }

}  // namespace plumb::cli
