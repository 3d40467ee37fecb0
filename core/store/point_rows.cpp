#include "core/store/point_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "core/base/check.h"
#include "core/store/sqlite.h"
#include "core/store/utc.h"

namespace plumb {
namespace {

using SQLite::Statement;

constexpr std::array<const char*, kSettingColumns> kSettingNames = {
    "model_path",  "model_name",  "model_sha256", "family",  "axis",
    "text_name",   "text_sha256", "window",       "stride",  "scoring",
    "seed",        "state",       "init_scale",   "dtype",   "cache",
    "cache_index", "rule",        "segment_len",  "mem_len", "extra_json"};

void bind_setting(Binder& row, const Setting& s) {
  row.text(s.model_path).text(s.model_name).text(s.model_sha256).text(s.family).text(s.axis);
  row.text(s.text_name).text(s.text_sha256).integer(s.window).integer(s.stride).text(s.scoring);
  row.integer(s.seed).text(s.state).real(s.init_scale).text(s.dtype).text(s.cache);
  row.text(s.cache_index).text(s.rule).maybe(s.segment_len).maybe(s.mem_len).text(s.extra_json);
}

std::string placeholders(int n) {
  std::string marks = "?";
  for (int i = 1; i < n; ++i) marks += ",?";
  return marks;
}

std::optional<int64_t> maybe_integer(Statement& query, int column) {
  if (query.getColumn(column).isNull()) return std::nullopt;
  return query.getColumn(column).getInt64();
}

bool is_key_hash(const std::string& hash) {
  return hash.size() == 64 && hash.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void insert_point(SQLite::Database& db, const PointRecord& point) {
  Statement insert(db, fmt::format("INSERT INTO points (key_hash, key_json, run_id, trajectory_id, "
                                   "{}, num_steps, record, planned_tokens, planned_chunks) VALUES "
                                   "({})",
                                   setting_column_list(""), placeholders(8 + kSettingColumns)));
  Binder row(insert);
  row.text(point.key_hash).text(point_key_json(point)).integer(point.run_id);
  row.maybe(point.trajectory_id);
  bind_setting(row, point.setting);
  row.maybe(point.num_steps).text(point.record);
  row.integer(point.planned_tokens).integer(point.planned_chunks);
  insert.exec();
}

void update_plan(SQLite::Database& db, int64_t id, const PointRecord& point) {
  Statement update(db,
                   "UPDATE points SET trajectory_id = coalesce(?, trajectory_id), planned_tokens = "
                   "?, planned_chunks = ? WHERE id = ?");
  Binder(update)
      .maybe(point.trajectory_id)
      .integer(point.planned_tokens)
      .integer(point.planned_chunks)
      .integer(id);
  update.exec();
}

UpsertedPoint find_point(SQLite::Database& db, const std::string& key_hash) {
  Statement query(db, "SELECT id, status FROM points WHERE key_hash = ?");
  query.bind(1, key_hash);
  UpsertedPoint found;
  if (!query.executeStep()) return found;
  found.id = query.getColumn(0).getInt64();
  found.existing = true;
  found.status = parse_point_status(query.getColumn(1).getString()).value();
  found.already_done = found.status == PointStatus::kDone;
  return found;
}

// Whether a row of `points` (status, heartbeat_utc, worker columns) may be taken now.
bool is_free(Statement& query, const Worker& self, const ClaimOptions& options) {
  const auto status = parse_point_status(query.getColumn(0).getString());
  if (status == PointStatus::kPending) return true;
  if (status == PointStatus::kFailed) return options.retry_failed;
  if (status != PointStatus::kRunning) return false;
  if (query.getColumn(2).isNull()) return true;  // running, but nobody's
  const Worker holder{query.getColumn(2).getString(), query.getColumn(3).getString(),
                      query.getColumn(4).getInt64(), query.getColumn(5).getInt64()};
  return query.getColumn(1).getString() <= utc_now(-options.stale_after_s) ||
         is_certainly_dead(holder, self);
}

}  // namespace

std::string setting_column_list(const std::string& prefix) {
  std::string list;
  for (const char* name : kSettingNames)
    list += fmt::format("{}{}{}", list.empty() ? "" : ", ", prefix, name);
  return list;
}

Setting read_setting(Statement& query, int first) {
  Setting s;
  const auto text = [&](int i) { return query.getColumn(first + i).getString(); };
  const auto integer = [&](int i) { return query.getColumn(first + i).getInt64(); };
  s.model_path = text(0), s.model_name = text(1), s.model_sha256 = text(2);
  s.family = text(3), s.axis = text(4), s.text_name = text(5), s.text_sha256 = text(6);
  s.window = integer(7), s.stride = integer(8), s.scoring = text(9), s.seed = integer(10);
  s.state = text(11), s.init_scale = query.getColumn(first + 12).getDouble(), s.dtype = text(13);
  s.cache = text(14), s.cache_index = text(15), s.rule = text(16);
  s.segment_len = maybe_integer(query, first + 17);
  s.mem_len = maybe_integer(query, first + 18);
  s.extra_json = text(19);
  return s;
}

UpsertedPoint upsert_point_row(SQLite::Database& db, const PointRecord& point) {
  PLUMB_CHECK(is_key_hash(point.key_hash));
  UpsertedPoint result = find_point(db, point.key_hash);
  if (result.existing) {
    update_plan(db, result.id, point);
  } else {
    insert_point(db, point);
    result.id = db.getLastInsertRowid();
  }
  Statement asked(db, "INSERT INTO run_points VALUES (?, ?) ON CONFLICT DO NOTHING");
  Binder(asked).integer(point.run_id).integer(result.id);
  asked.exec();
  return result;
}

UpsertedTrajectory upsert_trajectory_row(SQLite::Database& db, const TrajectoryRecord& record) {
  PLUMB_CHECK(is_key_hash(record.key_hash));
  Statement query(db, "SELECT id FROM trajectories WHERE key_hash = ?");
  query.bind(1, record.key_hash);
  if (query.executeStep()) {
    const int64_t id = query.getColumn(0).getInt64();
    Statement update(db, "UPDATE trajectories SET planned_chunks = ? WHERE id = ?");
    Binder(update).integer(record.planned_chunks).integer(id);
    update.exec();
    return {id, true};
  }
  Statement insert(db, fmt::format("INSERT INTO trajectories (key_hash, key_json, run_id, {}, "
                                   "max_steps, record, lags_json, planned_chunks) VALUES ({})",
                                   setting_column_list(""), placeholders(7 + kSettingColumns)));
  Binder row(insert);
  row.text(record.key_hash).text(trajectory_key_json(record)).integer(record.run_id);
  bind_setting(row, record.setting);
  row.integer(record.max_steps).text(record.record).text(record.lags_json);
  row.integer(record.planned_chunks);
  insert.exec();
  return {db.getLastInsertRowid(), false};
}

bool claim_point_row(SQLite::Database& db, int64_t point_id, const Worker& self,
                     const ClaimOptions& options) {
  Statement query(db,
                  "SELECT status, heartbeat_utc, worker, worker_host, worker_pid, "
                  "worker_start_ticks FROM points WHERE id = ?");
  query.bind(1, point_id);
  if (!query.executeStep() || !is_free(query, self, options)) return false;
  Statement update(db,
                   "UPDATE points SET status = 'running', attempt = attempt + 1, error = NULL, "
                   "heartbeat_utc = ?, worker = ?, worker_host = ?, worker_pid = ?, "
                   "worker_start_ticks = ? WHERE id = ?");
  Binder(update)
      .text(utc_now())
      .text(self.uid)
      .text(self.host)
      .integer(self.pid)
      .integer(self.start_ticks)
      .integer(point_id);
  update.exec();
  return true;
}

}  // namespace plumb
