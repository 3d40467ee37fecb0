// Rows of `points` and `trajectories`: find or add, claim. Inside core/store only; the caller holds
// the transaction. Throws what SQLiteCpp throws.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <string>

#include "core/store/records.h"
#include "core/store/run_writer.h"
#include "core/store/worker.h"

namespace plumb {

UpsertedPoint upsert_point_row(SQLite::Database& db, const PointRecord& point);
UpsertedTrajectory upsert_trajectory_row(SQLite::Database& db, const TrajectoryRecord& trajectory);
bool claim_point_row(SQLite::Database& db, int64_t point_id, const Worker& self,
                     const ClaimOptions& options);

// The columns of Setting in the order that read_setting expects, separated by commas and prefixed.
std::string setting_column_list(const std::string& prefix);
inline constexpr int kSettingColumns = 20;
Setting read_setting(SQLite::Statement& query, int first_column);

}  // namespace plumb
