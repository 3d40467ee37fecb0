#include "core/store/run_reader.h"

#include <nlohmann/json.hpp>

#include "core/store/point_rows.h"
#include "core/store/run_reader_impl.h"

namespace plumb {
namespace {

using SQLite::Statement;

std::vector<std::string> parse_argv(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> argv;
  if (!json.is_array()) return argv;
  for (const auto& word : json)
    if (word.is_string()) argv.push_back(word.get<std::string>());
  return argv;
}

// Statuses are constrained by the schema; another word means a file edited by hand.
template <class T>
T required(std::optional<T> value, const char* what) {
  if (!value) throw std::runtime_error(fmt::format("found an unknown {}", what));
  return *value;
}

RunInfo read_run(Statement& query) {
  const auto text = [&](int i) { return query.getColumn(i).getString(); };
  RunInfo run;
  run.id = query.getColumn(0).getInt64();
  run.uid = text(1), run.created_utc = text(2), run.finished_utc = text(3);
  run.status = required(parse_run_status(text(4)), "run status");
  run.record.verb = text(5), run.record.binary_version = text(6);
  run.record.argv = parse_argv(text(7));
  run.record.host_name = text(8), run.record.cpu_model = text(9);
  run.record.n_threads = query.getColumn(10).getInt64();
  run.record.spec_json = text(11);
  run.points = query.getColumn(12).getInt64();
  run.points_done = query.getColumn(13).getInt64();
  run.points_running = query.getColumn(14).getInt64();
  run.points_failed = query.getColumn(15).getInt64();
  return run;
}

PointInfo read_point(Statement& query) {
  int column = 0;
  const auto text = [&] { return query.getColumn(column++).getString(); };
  const auto integer = [&] { return query.getColumn(column++).getInt64(); };
  const auto maybe = [&] { return optional_integer(query, column++); };
  PointInfo point;
  point.id = integer();
  point.record.key_hash = text();
  point.record.run_id = integer();
  point.record.trajectory_id = maybe();
  point.record.num_steps = maybe();
  point.record.record = text();
  point.record.planned_tokens = integer();
  point.record.planned_chunks = integer();
  point.status = required(parse_point_status(text()), "point status");
  point.attempt = integer();
  point.heartbeat_utc = text();
  point.worker_host = text();
  point.error = text();
  point.chunks_done = integer();
  point.tokens_done = integer();
  point.nll_sum_nats = query.getColumn(column++).getDouble();
  point.elapsed_ms = query.getColumn(column++).getDouble();
  point.record.setting = read_setting(query, column);
  return point;
}

std::string point_sql(const std::string& where) {
  return fmt::format(
      "SELECT p.id, p.key_hash, p.run_id, p.trajectory_id, p.num_steps, p.record, "
      "p.planned_tokens, p.planned_chunks, p.status, p.attempt, p.heartbeat_utc, p.worker_host, "
      "p.error, count(c.point_id), coalesce(sum(c.n_tokens), 0), coalesce(sum(c.nll_sum_nats), 0), "
      "coalesce(sum(c.elapsed_ms), 0), {} FROM points p LEFT JOIN chunks c ON c.point_id = p.id "
      "WHERE {} GROUP BY p.id ORDER BY p.id",
      setting_column_list("p."), where);
}

TrajectoryInfo read_trajectory(Statement& query) {
  TrajectoryInfo info;
  info.id = query.getColumn(0).getInt64();
  info.record.key_hash = query.getColumn(1).getString();
  info.record.run_id = query.getColumn(2).getInt64();
  info.record.max_steps = query.getColumn(3).getInt64();
  info.record.record = query.getColumn(4).getString();
  info.record.lags_json = query.getColumn(5).getString();
  info.record.planned_chunks = query.getColumn(6).getInt64();
  info.chunks_done = query.getColumn(7).getInt64();
  info.step_rows = query.getColumn(8).getInt64();
  info.record.setting = read_setting(query, 9);
  return info;
}

// The view's own columns, and the point they belong to.
constexpr const char* kDepthPerplexitySql =
    "SELECT p.run_id, p.model_name, p.text_name, p.num_steps, p.cache, p.rule, p.dtype, p.seed, "
    "s.tokens, s.nats_per_token, s.perplexity, s.bits_per_byte, s.ci_low, s.ci_high, p.id, "
    "s.mean_steps, s.ci_level, s.ci_method FROM points p JOIN point_summaries s ON s.point_id = p.id "
    "WHERE p.status = 'done' ORDER BY p.id";

DepthPerplexityRow read_depth_perplexity(Statement& query) {
  DepthPerplexityRow row;
  row.run = query.getColumn(0).getInt64();
  row.model = query.getColumn(1).getString();
  row.text = query.getColumn(2).getString();
  row.num_steps = optional_integer(query, 3);
  row.cache = query.getColumn(4).getString();
  row.rule = query.getColumn(5).getString();
  row.dtype = query.getColumn(6).getString();
  row.seed = query.getColumn(7).getInt64();
  row.tokens = query.getColumn(8).getInt64();
  row.nats_per_token = query.getColumn(9).getDouble();
  row.perplexity = query.getColumn(10).getDouble();
  row.bits_per_byte = optional_real(query, 11);
  row.ci_low = optional_real(query, 12);
  row.ci_high = optional_real(query, 13);
  row.point = query.getColumn(14).getInt64();
  row.mean_steps = optional_real(query, 15);
  row.ci_level = optional_real(query, 16);
  row.ci_method = query.getColumn(17).getString();
  return row;
}

}  // namespace

RunReader::RunReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunReader::RunReader(RunReader&&) noexcept = default;
RunReader& RunReader::operator=(RunReader&&) noexcept = default;
RunReader::~RunReader() = default;

const std::filesystem::path& RunReader::path() const { return impl_->path; }

Result<RunReader> RunReader::open(const std::filesystem::path& path) {
  PLUMB_ASSIGN(auto db, open_results_file(path, {}));
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->db = std::move(db);
  return RunReader(std::move(impl));
}

Result<std::vector<RunInfo>> RunReader::runs() {
  return guarded(impl_->path, "reading runs", [&]() -> Result<std::vector<RunInfo>> {
    std::vector<RunInfo> runs;
    impl_->for_each(
        "SELECT r.id, r.uid, r.created_utc, r.finished_utc, r.status, r.verb, r.binary_version, "
        "r.argv_json, r.host_name, r.cpu_model, r.n_threads, r.spec_json, count(p.id), "
        "coalesce(sum(p.status = 'done'), 0), coalesce(sum(p.status = 'running'), 0), "
        "coalesce(sum(p.status = 'failed'), 0) FROM runs r "
        "LEFT JOIN run_points a ON a.run_id = r.id LEFT JOIN points p ON p.id = a.point_id "
        "GROUP BY r.id ORDER BY r.id",
        {}, [&](Statement& query) { runs.push_back(read_run(query)); });
    return runs;
  });
}

Result<std::vector<PointInfo>> RunReader::points(const PointFilter& filter) {
  return guarded(impl_->path, "reading points", [&]() -> Result<std::vector<PointInfo>> {
    std::string where = "1";
    if (filter.run_id)
      where += fmt::format(" AND p.id IN (SELECT point_id FROM run_points WHERE run_id = {})",
                           *filter.run_id);
    if (filter.status)
      where += fmt::format(" AND p.status = '{}'", point_status_name(*filter.status));
    std::vector<PointInfo> points;
    impl_->for_each(point_sql(where), {},
                    [&](Statement& query) { points.push_back(read_point(query)); });
    return points;
  });
}

Result<PointInfo> RunReader::point(int64_t point_id) {
  return guarded(impl_->path, "reading a point", [&]() -> Result<PointInfo> {
    std::optional<PointInfo> found;
    impl_->for_each(point_sql("p.id = ?"), {point_id},
                    [&](Statement& query) { found = read_point(query); });
    if (found) return *std::move(found);
    return input_error("{}: no point {}", impl_->path.string(), point_id);
  });
}

Result<std::vector<TrajectoryInfo>> RunReader::trajectories() {
  using Rows = std::vector<TrajectoryInfo>;
  return guarded(impl_->path, "reading trajectories", [&]() -> Result<Rows> {
    Rows rows;
    impl_->for_each(
        fmt::format("SELECT t.id, t.key_hash, t.run_id, t.max_steps, t.record, t.lags_json, "
                    "t.planned_chunks, count(c.trajectory_id), coalesce(sum(c.n_step_rows), 0), {} "
                    "FROM trajectories t LEFT JOIN trajectory_chunks c ON c.trajectory_id = t.id "
                    "GROUP BY t.id ORDER BY t.id",
                    setting_column_list("t.")),
        {}, [&](Statement& query) { rows.push_back(read_trajectory(query)); });
    return rows;
  });
}

Result<std::vector<ChunkInfo>> RunReader::chunks(int64_t point_id) {
  return guarded(impl_->path, "reading chunks", [&]() -> Result<std::vector<ChunkInfo>> {
    std::vector<ChunkInfo> rows;
    impl_->for_each(
        "SELECT chunk_index, first_token, n_tokens, n_bytes, nll_sum_nats, elapsed_ms FROM chunks "
        "WHERE point_id = ? ORDER BY chunk_index",
        {point_id}, [&](Statement& q) {
          rows.push_back({q.getColumn(0).getInt64(), q.getColumn(1).getInt64(),
                          q.getColumn(2).getInt64(), q.getColumn(3).getInt64(),
                          q.getColumn(4).getDouble(), q.getColumn(5).getDouble()});
        });
    return rows;
  });
}

Result<std::vector<DepthPerplexityRow>> RunReader::depth_perplexity() {
  using Rows = std::vector<DepthPerplexityRow>;
  return guarded(impl_->path, "reading perplexities", [&]() -> Result<Rows> {
    Rows rows;
    impl_->for_each(kDepthPerplexitySql, {},
                    [&](Statement& query) { rows.push_back(read_depth_perplexity(query)); });
    return rows;
  });
}

Result<std::vector<StrategyRow>> RunReader::strategies() {
  using Rows = std::vector<StrategyRow>;
  return guarded(impl_->path, "reading strategies", [&]() -> Result<Rows> {
    Rows rows;
    impl_->for_each(
        "SELECT point, model, text, num_steps, cache, cache_index, rule, dtype, tokens, "
        "perplexity, mean_steps, kv_bytes_per_token, tokens_per_second FROM strategies ORDER BY "
        "point",
        {}, [&](Statement& q) {
          const auto text = [&](int i) { return q.getColumn(i).getString(); };
          rows.push_back({q.getColumn(0).getInt64(), text(1), text(2), optional_integer(q, 3),
                          text(4), text(5), text(6), text(7), q.getColumn(8).getInt64(),
                          q.getColumn(9).getDouble(), optional_real(q, 10), optional_real(q, 11),
                          optional_real(q, 12)});
        });
    return rows;
  });
}

Result<std::optional<ModelRecord>> RunReader::model_cost(const std::string& model_sha256) {
  using Row = std::optional<ModelRecord>;
  return guarded(impl_->path, "reading a model", [&]() -> Result<Row> {
    Statement q(*impl_->db,
                "SELECT parameters, prelude_flops, step_flops, readout_flops, prelude_key_flops, "
                "step_key_flops, readout_key_flops FROM models WHERE model_sha256 = ?");
    q.bind(1, model_sha256);
    if (!q.executeStep()) return Row();
    const auto real = [&](int i) { return q.getColumn(i).getDouble(); };
    return Row(ModelRecord{model_sha256, q.getColumn(0).getInt64(), real(1), real(2), real(3),
                           real(4), real(5), real(6)});
  });
}

Result<std::vector<ExitHistogramRow>> RunReader::exit_histogram(std::optional<int64_t> point_id) {
  using Rows = std::vector<ExitHistogramRow>;
  return guarded(impl_->path, "reading exits", [&]() -> Result<Rows> {
    Rows rows;
    impl_->for_each(
        fmt::format("SELECT point, rule, text, step, tokens FROM exit_histogram {} ORDER BY point, "
                    "step",
                    point_id ? fmt::format("WHERE point = {}", *point_id) : ""),
        {}, [&](Statement& q) {
          rows.push_back({q.getColumn(0).getInt64(), q.getColumn(1).getString(),
                          q.getColumn(2).getString(), q.getColumn(3).getInt64(),
                          q.getColumn(4).getInt64()});
        });
    return rows;
  });
}

Result<std::vector<TimingInfo>> RunReader::timings(std::optional<int64_t> run_id) {
  return guarded(impl_->path, "reading timings", [&]() -> Result<std::vector<TimingInfo>> {
    std::vector<TimingInfo> rows;
    impl_->for_each(
        fmt::format("SELECT run_id, point_id, stage, sum(ms), sum(calls) FROM timings {} GROUP BY "
                    "run_id, point_id, stage ORDER BY run_id, point_id, stage",
                    run_id ? fmt::format("WHERE run_id = {}", *run_id) : ""),
        {}, [&](Statement& q) {
          rows.push_back({q.getColumn(0).getInt64(), optional_integer(q, 1),
                          q.getColumn(2).getString(), q.getColumn(3).getDouble(),
                          q.getColumn(4).getInt64()});
        });
    return rows;
  });
}

}  // namespace plumb
