#include "core/store/run_writer.h"

#include <SQLiteCpp/Transaction.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/store/chunk_insert.h"
#include "core/store/point_rows.h"
#include "core/store/sqlite.h"
#include "core/store/utc.h"
#include "core/store/worker.h"

namespace plumb {
namespace {

using SQLite::Statement;

// Reads "SELECT one integer column" of a statement with one bound id.
std::vector<int64_t> integers(SQLite::Database& db, const char* sql, int64_t id) {
  Statement query(db, sql);
  query.bind(1, id);
  std::vector<int64_t> values;
  while (query.executeStep()) values.push_back(query.getColumn(0).getInt64());
  return values;
}

std::string argv_json(const std::vector<std::string>& argv) {
  return nlohmann::json(argv).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct Totals {
  int64_t chunks = 0, planned_chunks = 0, tokens = 0, bytes = 0;
  bool bytes_known = true;
  double nll_nats = 0, elapsed_ms = 0;
  std::optional<double> mean_steps;
};

Totals totals_of(SQLite::Database& db, int64_t point_id) {
  Statement query(db,
                  "SELECT count(c.point_id), p.planned_chunks, coalesce(sum(c.n_tokens), 0), "
                  "coalesce(sum(c.n_bytes), 0), coalesce(min(c.n_bytes > 0), 0), "
                  "coalesce(sum(c.nll_sum_nats), 0), coalesce(sum(c.elapsed_ms), 0), "
                  "(SELECT avg(exit_step) FROM tokens WHERE point_id = p.id) "
                  "FROM points p LEFT JOIN chunks c ON c.point_id = p.id WHERE p.id = ? "
                  "GROUP BY p.id");
  query.bind(1, point_id);
  Totals totals;
  if (!query.executeStep()) return totals;
  totals.chunks = query.getColumn(0).getInt64();
  totals.planned_chunks = query.getColumn(1).getInt64();
  totals.tokens = query.getColumn(2).getInt64();
  totals.bytes = query.getColumn(3).getInt64();
  totals.bytes_known = query.getColumn(4).getInt() != 0;
  totals.nll_nats = query.getColumn(5).getDouble();
  totals.elapsed_ms = query.getColumn(6).getDouble();
  if (!query.getColumn(7).isNull()) totals.mean_steps = query.getColumn(7).getDouble();
  return totals;
}

void write_summary(SQLite::Database& db, int64_t point_id, const Totals& totals,
                   const PointSummary& summary) {
  const double nats = totals.nll_nats / static_cast<double>(totals.tokens);
  const double bits = totals.nll_nats / std::log(2.0);
  const bool interval = summary.ci_low.has_value() && summary.ci_high.has_value();
  Statement insert(db,
                   "INSERT OR REPLACE INTO point_summaries (point_id, tokens, nats_per_token, "
                   "perplexity, bits_per_byte, ci_low, ci_high, ci_level, ci_method, n_resamples, "
                   "mean_steps, elapsed_ms, logits_fingerprint, extra_json) VALUES "
                   "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  Binder row(insert);
  row.integer(point_id).integer(totals.tokens).real(nats).real(std::exp(nats));
  if (totals.bytes_known)
    row.real(bits / static_cast<double>(totals.bytes));
  else
    row.null();
  row.maybe(summary.ci_low).maybe(summary.ci_high);
  if (interval)
    row.real(summary.ci_level).text(summary.ci_method).integer(summary.n_resamples);
  else
    row.null().null().null();
  row.maybe(summary.mean_steps ? summary.mean_steps : totals.mean_steps).real(totals.elapsed_ms);
  if (summary.logits_fingerprint.empty())
    row.null();
  else
    row.text(summary.logits_fingerprint);
  row.text(summary.extra_json);
  insert.exec();
}

}  // namespace

struct RunWriter::Impl {
  std::filesystem::path path;
  std::unique_ptr<SQLite::Database> db;
  std::optional<ChunkInsert> insert;  // after db: its statements must go first
  Worker worker = this_worker();

  // `body` in one BEGIN IMMEDIATE transaction; rolled back when it fails or throws.
  template <class Body>
  auto transaction(std::string_view doing, Body&& body) -> decltype(body()) {
    return guarded(path, doing, [&]() -> decltype(body()) {
      SQLite::Transaction transaction(*db, SQLite::TransactionBehavior::IMMEDIATE);
      auto result = body();
      if (result.ok()) transaction.commit();
      return result;
    });
  }

  int beat(int64_t point_id, const std::string& now) {
    Statement update(*db,
                     "UPDATE points SET heartbeat_utc = ? WHERE id = ? AND worker = ? AND status "
                     "= 'running'");
    Binder(update).text(now).integer(point_id).text(worker.uid);
    return update.exec();
  }
};

RunWriter::RunWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunWriter::RunWriter(RunWriter&&) noexcept = default;
RunWriter& RunWriter::operator=(RunWriter&&) noexcept = default;
RunWriter::~RunWriter() = default;

const std::filesystem::path& RunWriter::path() const { return impl_->path; }

Result<RunWriter> RunWriter::open(const std::filesystem::path& path, const WriterOptions& options) {
  OpenOptions open_options;
  open_options.access = options.create ? Access::kCreate : Access::kWrite;
  open_options.busy_timeout_ms = options.busy_timeout_ms;
  open_options.max_file_bytes = options.max_file_bytes;
  PLUMB_ASSIGN(auto db, open_results_file(path, open_options));
  return guarded(path, "opening", [&]() -> Result<RunWriter> {
    auto impl = std::make_unique<Impl>();
    impl->path = path;
    impl->db = std::move(db);
    impl->insert.emplace(*impl->db);
    return RunWriter(std::move(impl));
  });
}

Result<int64_t> RunWriter::begin_run(const RunRecord& run) {
  return impl_->transaction("adding a run", [&]() -> Result<int64_t> {
    Statement insert(*impl_->db,
                     "INSERT INTO runs (uid, verb, created_utc, status, binary_version, argv_json, "
                     "host_name, cpu_model, n_threads, spec_json, schema_version) SELECT ?, ?, ?, "
                     "'running', ?, ?, ?, ?, ?, ?, user_version FROM pragma_user_version");
    Binder(insert)
        .text(random_hex(16))
        .text(run.verb)
        .text(utc_now())
        .text(run.binary_version)
        .text(argv_json(run.argv))
        .text(run.host_name)
        .text(run.cpu_model)
        .integer(run.n_threads)
        .text(run.spec_json);
    insert.exec();
    return impl_->db->getLastInsertRowid();
  });
}

Status RunWriter::set_run_status(int64_t run_id, RunStatus status) {
  return impl_->transaction("closing a run", [&]() -> Status {
    Statement update(*impl_->db, "UPDATE runs SET status = ?, finished_utc = ? WHERE id = ?");
    Binder row(update);
    row.text(run_status_name(status));
    if (status == RunStatus::kRunning)
      row.null();
    else
      row.text(utc_now());
    row.integer(run_id);
    if (update.exec() == 1) return ok_status();
    return input_error("{}: no run {}", impl_->path.string(), run_id);
  });
}

Status RunWriter::upsert_model(const ModelRecord& model) {
  return impl_->transaction("adding a model", [&]() -> Status {
    Statement insert(*impl_->db,
                     "INSERT INTO models (model_sha256, parameters, prelude_flops, step_flops, "
                     "readout_flops, prelude_key_flops, step_key_flops, readout_key_flops) VALUES "
                     "(?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING");
    Binder row(insert);
    row.text(model.model_sha256).integer(model.parameters);
    row.real(model.prelude_flops).real(model.step_flops).real(model.readout_flops);
    row.real(model.prelude_key_flops).real(model.step_key_flops).real(model.readout_key_flops);
    insert.exec();
    return ok_status();
  });
}

Result<UpsertedPoint> RunWriter::upsert_point(const PointRecord& point) {
  PLUMB_ASSIGN(std::vector<UpsertedPoint> points, upsert_points({point}));
  return points.front();
}

Result<std::vector<UpsertedPoint>> RunWriter::upsert_points(
    const std::vector<PointRecord>& points) {
  return impl_->transaction("planning points", [&]() -> Result<std::vector<UpsertedPoint>> {
    std::vector<UpsertedPoint> result;
    result.reserve(points.size());
    for (const PointRecord& point : points) result.push_back(upsert_point_row(*impl_->db, point));
    return result;
  });
}

Result<UpsertedTrajectory> RunWriter::upsert_trajectory(const TrajectoryRecord& trajectory) {
  return impl_->transaction("planning a trajectory", [&]() -> Result<UpsertedTrajectory> {
    return upsert_trajectory_row(*impl_->db, trajectory);
  });
}

Result<std::vector<int64_t>> RunWriter::claim_points(const std::vector<int64_t>& point_ids,
                                                     const ClaimOptions& options) {
  return impl_->transaction("claiming points", [&]() -> Result<std::vector<int64_t>> {
    std::vector<int64_t> taken;
    for (const int64_t id : point_ids)
      if (claim_point_row(*impl_->db, id, impl_->worker, options)) taken.push_back(id);
    return taken;
  });
}

Result<int> RunWriter::heartbeat(const std::vector<int64_t>& point_ids) {
  return impl_->transaction("sending a heartbeat", [&]() -> Result<int> {
    const std::string now = utc_now();
    int ours = 0;
    for (const int64_t id : point_ids) ours += impl_->beat(id, now);
    return ours;
  });
}

Status RunWriter::set_point_status(int64_t point_id, PointStatus status, const std::string& error) {
  PLUMB_CHECK(status != PointStatus::kDone);
  return impl_->transaction("marking a point", [&]() -> Status {
    Statement update(*impl_->db,
                     status == PointStatus::kRunning
                         ? "UPDATE points SET status = ?, error = ? WHERE id = ?"
                         : "UPDATE points SET status = ?, error = ?, worker = NULL, worker_host = "
                           "NULL, worker_pid = NULL, worker_start_ticks = NULL WHERE id = ?");
    Binder row(update);
    row.text(point_status_name(status));
    if (status == PointStatus::kFailed)
      row.text(error);
    else
      row.null();
    row.integer(point_id);
    if (update.exec() == 1) return ok_status();
    return input_error("{}: no point {}", impl_->path.string(), point_id);
  });
}

Result<std::vector<int64_t>> RunWriter::recorded_chunks(int64_t point_id) {
  return guarded(impl_->path, "reading chunks", [&]() -> Result<std::vector<int64_t>> {
    return integers(*impl_->db,
                    "SELECT chunk_index FROM chunks WHERE point_id = ? ORDER BY chunk_index",
                    point_id);
  });
}

Result<std::vector<int64_t>> RunWriter::recorded_trajectory_chunks(int64_t trajectory_id) {
  return guarded(impl_->path, "reading chunks", [&]() -> Result<std::vector<int64_t>> {
    return integers(*impl_->db,
                    "SELECT chunk_index FROM trajectory_chunks WHERE trajectory_id = ? ORDER BY "
                    "chunk_index",
                    trajectory_id);
  });
}

Result<ChunkOutcome> RunWriter::write_chunk(const ChunkBatch& batch) {
  const std::string doing = fmt::format("writing chunk {}", batch.chunk_index);
  return impl_->transaction(doing, [&]() -> Result<ChunkOutcome> {
    ChunkOutcome outcome;
    const std::string now = utc_now();
    for (const PointChunk& chunk : batch.points) {
      const bool is_new = impl_->insert->point(batch, chunk);
      ++(is_new ? outcome.points_written : outcome.points_skipped);
      impl_->beat(chunk.point_id, now);
    }
    for (const TrajectoryChunk& chunk : batch.trajectories) {
      const bool is_new = impl_->insert->trajectory(batch, chunk);
      ++(is_new ? outcome.trajectories_written : outcome.trajectories_skipped);
      if (is_new) outcome.step_rows += static_cast<int64_t>(chunk.steps.size());
    }
    for (const TimingRow& row : batch.timings)
      impl_->insert->timing(batch.run_id, batch.chunk_index, row);
    return outcome;
  });
}

Status RunWriter::finish_point(int64_t point_id, const PointSummary& summary) {
  return impl_->transaction("finishing a point", [&]() -> Status {
    const Totals totals = totals_of(*impl_->db, point_id);
    if (totals.chunks == 0 || totals.chunks < totals.planned_chunks || totals.tokens == 0)
      return work_error(
          "{}: point {} cannot be finished: found {} chunks with {} tokens, expected "
          "{} chunks",
          impl_->path.string(), point_id, totals.chunks, totals.tokens, totals.planned_chunks);
    write_summary(*impl_->db, point_id, totals, summary);
    Statement update(*impl_->db,
                     "UPDATE points SET status = 'done', error = NULL, worker = NULL, worker_host "
                     "= NULL, worker_pid = NULL, worker_start_ticks = NULL, heartbeat_utc = ? "
                     "WHERE id = ?");
    Binder(update).text(utc_now()).integer(point_id);
    update.exec();
    return ok_status();
  });
}

Status RunWriter::write_timings(int64_t run_id, const std::vector<TimingRow>& timings) {
  return impl_->transaction("writing timings", [&]() -> Status {
    for (const TimingRow& row : timings) impl_->insert->timing(run_id, std::nullopt, row);
    return ok_status();
  });
}

Status RunWriter::checkpoint() {
  return guarded(impl_->path, "moving the log into the file", [&]() -> Status {
    Statement query(*impl_->db, "PRAGMA wal_checkpoint(TRUNCATE)");
    query.executeStep();
    if (query.getColumn(0).getInt() == 0) return ok_status();
    return work_error("{}: the log is in use by another process", impl_->path.string());
  });
}

}  // namespace plumb
