#include "experiments/cli/sweep_table.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "analysis/table.h"
#include "core/base/json.h"

namespace plumb::cli {
namespace {

Cell cell_of(const std::optional<double>& value) { return value ? Cell(*value) : Cell(); }
Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

// Columns that say nothing are left out: cache and rule where no point has one.
Table make_table(const std::vector<DepthPerplexityRow>& rows) {
  const auto any = [&](auto&& has) { return std::any_of(rows.begin(), rows.end(), has); };
  const bool caches = any([](const DepthPerplexityRow& row) { return !row.cache.empty(); });
  const bool rules = any([](const DepthPerplexityRow& row) { return !row.num_steps || !row.rule.empty(); });
  std::vector<TableColumn> columns = {{.name = "model", .type = CellType::kText},
                                      {.name = "text", .type = CellType::kText},
                                      {.name = "dtype", .type = CellType::kText},
                                      {.name = "seed", .type = CellType::kInteger}};
  if (caches) columns.push_back({.name = "cache", .type = CellType::kText});
  if (rules) columns.push_back({.name = "rule", .type = CellType::kText});
  columns.push_back({.name = "num_steps", .heading = "depth", .type = CellType::kInteger});
  if (rules) columns.push_back({.name = "mean_steps", .heading = "mean", .unit = "steps", .digits = 4});
  columns.push_back({.name = "tokens", .type = CellType::kInteger});
  columns.push_back({.name = "perplexity", .digits = 6});
  columns.push_back({.name = "ci_low", .heading = "95 % from", .digits = 6});
  columns.push_back({.name = "ci_high", .heading = "to", .digits = 6});
  columns.push_back({.name = "nats_per_token", .heading = "nats/token", .digits = 6});
  columns.push_back({.name = "bits_per_byte", .heading = "bits/byte", .digits = 5});
  Table table(std::move(columns));
  for (const DepthPerplexityRow& row : rows) {
    std::vector<Cell> cells = {row.model, row.text, row.dtype, row.seed};
    if (caches) cells.emplace_back(row.cache);
    if (rules) cells.emplace_back(row.rule);
    cells.push_back(row.num_steps ? Cell(*row.num_steps) : Cell());
    if (rules) cells.push_back(cell_of(row.mean_steps));
    for (Cell cell : {Cell(row.tokens), Cell(row.perplexity), cell_of(row.ci_low), cell_of(row.ci_high), Cell(row.nats_per_token),
                      cell_of(row.bits_per_byte)})
      cells.push_back(std::move(cell));
    table.add_row(std::move(cells));
  }
  return table;
}

}  // namespace

std::vector<std::string> command_line() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  std::vector<std::string> arguments;
  std::string argument;
  while (std::getline(bytes, argument, '\0')) arguments.push_back(argument);
  return arguments;
}

Status print_depth_table(RunReader& reader, const SweepOutcome& outcome, const std::string& db, bool json) {
  PLUMB_ASSIGN(const auto all, reader.depth_perplexity());
  std::vector<DepthPerplexityRow> rows;
  for (int64_t id : outcome.point_ids)
    for (const DepthPerplexityRow& row : all)
      if (row.point == id) rows.push_back(row);
  if (json) {
    Json list = Json::array();
    for (const DepthPerplexityRow& row : rows)
      list.push_back({{"point", row.point}, {"model", row.model}, {"text", row.text}, {"num_steps", row.num_steps ? Json(*row.num_steps) : Json()},
                      {"dtype", row.dtype}, {"seed", row.seed}, {"cache", row.cache}, {"rule", row.rule}, {"tokens", row.tokens},
                      {"nats_per_token", row.nats_per_token}, {"perplexity", row.perplexity}, {"bits_per_byte", json_of(row.bits_per_byte)},
                      {"ci_low", json_of(row.ci_low)}, {"ci_high", json_of(row.ci_high)}, {"mean_steps", json_of(row.mean_steps)}});
    std::printf("%s\n", Json{{"db", db}, {"run", outcome.run_id}, {"computed", outcome.points_computed}, {"found", outcome.points_found},
                             {"elsewhere", outcome.points_elsewhere}, {"points", list}}.dump(2).c_str());
    return ok_status();
  }
  std::fputs(make_table(rows).to_terminal().c_str(), stdout);
  std::printf("%ld point(s) computed, %ld found done; results in %s\n", outcome.points_computed, outcome.points_found, db.c_str());
  return ok_status();
}

}  // namespace plumb::cli
