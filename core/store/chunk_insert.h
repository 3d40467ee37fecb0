// The bulk half of RunWriter: rows of one chunk, inside a transaction that the caller holds.
// Inside core/store only. Throws what SQLiteCpp throws.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include "core/store/bulk_insert.h"
#include "core/store/run_writer.h"

namespace plumb {

class ChunkInsert {
 public:
  // Prepares the statements; `db` must outlive this.
  explicit ChunkInsert(SQLite::Database& db);

  // False, and nothing written, when the chunk is already there.
  bool point(const ChunkBatch& batch, const PointChunk& chunk);
  bool trajectory(const ChunkBatch& batch, const TrajectoryChunk& chunk);
  void timing(int64_t run_id, std::optional<int64_t> chunk_index, const TimingRow& row);

 private:
  void steps(const TrajectoryChunk& chunk);
  void latents(const TrajectoryChunk& chunk);
  void halting(const TrajectoryChunk& chunk);

  SQLite::Statement chunk_, trajectory_chunk_, timing_;
  BulkInsert token_, step_, lag_, latent_, halting_, ponder_;
};

}  // namespace plumb
