// RunWriter: the one way into a results file.
//
//   PLUMB_ASSIGN(RunWriter writer, RunWriter::open("out.db", {}));
//   PLUMB_ASSIGN(int64_t run_id, writer.begin_run(run));
//   PLUMB_ASSIGN(UpsertedPoint point, writer.upsert_point(record));
//   PLUMB_ASSIGN(std::vector<int64_t> mine, writer.claim_points({point.id}, {}));
//   ... for each chunk not in recorded_chunks(point.id):
//   PLUMB_ASSIGN(ChunkOutcome outcome, writer.write_chunk(batch));   // one transaction
//   PLUMB_RETURN_IF_ERROR(writer.finish_point(point.id, summary));
//
// A call that fails leaves the file as it was before the call, so a process killed at any instant
// loses at most the chunk in flight. Several processes may write into one file: every write is
// BEGIN IMMEDIATE and waits up to busy_timeout_ms for the others.
// Errors: kInput when the file cannot be used, kWork when the work failed (disk full, locked).
// One thread at a time; movable.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/store/records.h"

namespace plumb {

struct WriterOptions {
  bool create = true;  // false: the file must exist
  int busy_timeout_ms = 30'000;
  int64_t max_file_bytes = 0;  // refuse to grow beyond this, as on a full disk; 0: no limit
};

struct UpsertedPoint {
  int64_t id = 0;
  bool existing = false;      // a point with this key was there before
  bool already_done = false;  // and it is finished: nothing to run
  PointStatus status = PointStatus::kPending;
};

struct UpsertedTrajectory {
  int64_t id = 0;
  bool existing = false;
};

struct ClaimOptions {
  // A running point whose worker has sent no heartbeat for this long may be taken over. One whose
  // process is known to be dead (same host, the process is gone) is taken over at once.
  double stale_after_s = 60;
  bool retry_failed = false;  // failed points may be claimed too
};

// One point's share of a chunk.
struct PointChunk {
  int64_t point_id = 0;
  int64_t n_tokens = 0;  // tokens scored: those with a target
  int64_t n_bytes = 0;   // UTF-8 bytes of the scored targets; 0: unknown
  double nll_sum_nats = 0;
  double elapsed_ms = 0;
  std::optional<int64_t> n_inputs;  // tokens fed
  std::optional<int64_t> kv_bytes;  // held at the end; nullopt where scoring meets no cache
  std::vector<TokenRow> tokens;
};

// One pass's record of a chunk. Rows are best ordered by (pos, step): it is the file's own order.
struct TrajectoryChunk {
  int64_t trajectory_id = 0;
  std::vector<StepRecord> steps;
  std::vector<StepLagRecord> step_lags;
  std::vector<LatentRow> latents;
  std::vector<HaltingRow> halting;
  std::vector<PonderRow> ponder;
};

// Everything that one forward pass over one chunk of text produced, for all its points.
struct ChunkBatch {
  int64_t run_id = 0;
  int64_t chunk_index = 0;
  int64_t first_token = 0;  // pos of the chunk's first scored position
  std::vector<PointChunk> points;
  std::vector<TrajectoryChunk> trajectories;  // usually none or one
  std::vector<TimingRow> timings;
};

// What was already there is kept and the new rows of it are dropped: they are the same numbers.
struct ChunkOutcome {
  int points_written = 0, points_skipped = 0;
  int trajectories_written = 0, trajectories_skipped = 0;
  int64_t step_rows = 0;  // rows of `steps` written
};

// What only the caller can compute of a finished point. Token count, nats per token, perplexity
// and bits per byte are taken from the point's chunks.
struct PointSummary {
  std::optional<double> ci_low, ci_high;  // of the perplexity
  double ci_level = 0.95;
  int64_t n_resamples = 0;
  std::string ci_method;             // "bootstrap over windows"; "" without an interval
  std::optional<double> mean_steps;  // nullopt: the mean of tokens.exit_step
  std::string logits_fingerprint;    // "" when none
  std::string extra_json = "{}";
};

class RunWriter {
 public:
  // Opens a results file, or makes one (its directory must exist).
  static Result<RunWriter> open(const std::filesystem::path& path, const WriterOptions& options);
  RunWriter(RunWriter&&) noexcept;
  RunWriter& operator=(RunWriter&&) noexcept;
  ~RunWriter();  // releases nothing but the file: points still running go stale

  Result<int64_t> begin_run(const RunRecord& run);
  // finished_utc is set by every status but kRunning, and cleared by kRunning (a resumed run).
  Status set_run_status(int64_t run_id, RunStatus status);

  // What the model of a run costs; a model that is there already is left as it is.
  Status upsert_model(const ModelRecord& model);

  // Finds the point or trajectory of this key or adds it (pending), and notes that point.run_id
  // asked for it. An existing point keeps its run and its rows; its trajectory_id and plan are
  // updated. REQUIRES a key_hash of 64 hex digits.
  Result<UpsertedPoint> upsert_point(const PointRecord& point);
  // The same for many points in one transaction; results in the order given.
  Result<std::vector<UpsertedPoint>> upsert_points(const std::vector<PointRecord>& points);
  Result<UpsertedTrajectory> upsert_trajectory(const TrajectoryRecord& trajectory);

  // Takes those of `point_ids` that are free, in one transaction: they become running, ours, with
  // one more attempt. Returns the ones taken.
  Result<std::vector<int64_t>> claim_points(const std::vector<int64_t>& point_ids,
                                            const ClaimOptions& options);
  // Refreshes the heartbeat of those points that are still ours; returns how many are.
  // write_chunk does it for its points.
  Result<int> heartbeat(const std::vector<int64_t>& point_ids);
  // `error` is kept for kFailed and cleared otherwise. Done points come from finish_point.
  // REQUIRES status != kDone.
  Status set_point_status(int64_t point_id, PointStatus status, const std::string& error = "");

  // Chunk indices whose rows are in the file, ascending.
  Result<std::vector<int64_t>> recorded_chunks(int64_t point_id);
  Result<std::vector<int64_t>> recorded_trajectory_chunks(int64_t trajectory_id);

  // One transaction for the whole batch.
  Result<ChunkOutcome> write_chunk(const ChunkBatch& batch);
  // Writes (or replaces) the summary and marks the point done, in one transaction. An error when
  // the point has no chunks, or fewer than planned.
  Status finish_point(int64_t point_id, const PointSummary& summary);
  // Timings of a run outside any chunk (loading, planning).
  Status write_timings(int64_t run_id, const std::vector<TimingRow>& timings);

  // Moves what is in the write-ahead log into the file itself, as closing does.
  Status checkpoint();
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  explicit RunWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace plumb
