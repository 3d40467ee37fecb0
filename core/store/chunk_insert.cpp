#include "core/store/chunk_insert.h"

#include <fmt/format.h>

#include "core/base/check.h"
#include "core/base/dtype.h"
#include "core/store/sqlite.h"

namespace plumb {
namespace {

using Row = BulkInsert::Row;

// Runs a bound statement once and makes it ready for the next row, also after a failure.
int run(SQLite::Statement& statement) {
  struct Reset {
    SQLite::Statement& statement;
    ~Reset() { statement.tryReset(); }
  } reset{statement};
  return statement.exec();
}

int64_t elements_of(const LatentRow& row) {
  int64_t n = 1;
  for (const int64_t extent : row.shape) n *= extent;
  const auto dtype = parse_dtype(row.dtype);
  PLUMB_CHECK(dtype && n > 0 && static_cast<size_t>(n) * dtype_bytes(*dtype) == row.data.size());
  return n;
}

}  // namespace

ChunkInsert::ChunkInsert(SQLite::Database& db)
    : chunk_(db,
             "INSERT INTO chunks (point_id, chunk_index, first_token, n_tokens, nll_sum_nats, "
             "n_bytes, elapsed_ms, n_inputs, kv_bytes) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT DO "
             "NOTHING"),
      trajectory_chunk_(db,
                        "INSERT INTO trajectory_chunks (trajectory_id, chunk_index, first_token, "
                        "n_step_rows) VALUES (?,?,?,?) ON CONFLICT DO NOTHING"),
      timing_(db,
              "INSERT INTO timings (run_id, point_id, chunk_index, stage, ms, calls) VALUES "
              "(?,?,?,?,?,?)"),
      token_(db, "tokens",
             "point_id, pos, chunk_index, token_id, target_id, nll_nats, exit_step, exit_reason"),
      step_(db, "steps",
            "trajectory_id, pos, step, nll, entropy, top1_id, p1, p2, target_rank, state_norm, "
            "delta_norm, accel_norm, cos, kl_prev, minp_kl, kl_final, gate, stability"),
      lag_(db, "step_lags",
           "trajectory_id, pos, step, lag, latent_diff, cos, kl, minp_kl, entropy_diff"),
      latent_(db, "latents", "trajectory_id, pos, step, kind, dtype, shape, n, data"),
      halting_(db, "halting", "trajectory_id, pos, step, p, cum, w"),
      ponder_(db, "ponder", "trajectory_id, pos, n_steps, remainder, ponder") {}

bool ChunkInsert::point(const ChunkBatch& batch, const PointChunk& chunk) {
  Binder(chunk_)
      .integer(chunk.point_id)
      .integer(batch.chunk_index)
      .integer(batch.first_token)
      .integer(chunk.n_tokens)
      .real(chunk.nll_sum_nats)
      .integer(chunk.n_bytes)
      .real(chunk.elapsed_ms)
      .maybe(chunk.n_inputs)
      .maybe(chunk.kv_bytes);
  if (run(chunk_) == 0) return false;
  token_.insert(chunk.tokens, [&](Row& row, const TokenRow& token) {
    row.integer(chunk.point_id).integer(token.pos).integer(batch.chunk_index);
    row.integer(token.token_id).id(token.target_id).real(token.nll_nats);
    row.integer(token.exit_step).text(token.exit_reason);
  });
  return true;
}

bool ChunkInsert::trajectory(const ChunkBatch& batch, const TrajectoryChunk& chunk) {
  Binder(trajectory_chunk_)
      .integer(chunk.trajectory_id)
      .integer(batch.chunk_index)
      .integer(batch.first_token)
      .integer(static_cast<int64_t>(chunk.steps.size()));
  if (run(trajectory_chunk_) == 0) return false;
  steps(chunk);
  latents(chunk);
  halting(chunk);
  return true;
}

void ChunkInsert::steps(const TrajectoryChunk& chunk) {
  const int64_t id = chunk.trajectory_id;
  step_.insert(chunk.steps, [id](Row& row, const StepRecord& s) {
    row.integer(id).integer(s.pos).integer(s.step).real(s.nll).real(s.entropy).id(s.top1_id);
    row.real(s.p1).real(s.p2).id(s.target_rank).real(s.state_norm).real(s.delta_norm);
    row.real(s.accel_norm).real(s.cos).real(s.kl_prev).real(s.minp_kl).real(s.kl_final);
    row.real(s.gate).id(s.stability);
  });
  lag_.insert(chunk.step_lags, [id](Row& row, const StepLagRecord& s) {
    row.integer(id).integer(s.pos).integer(s.step).integer(s.lag).real(s.latent_diff).real(s.cos);
    row.real(s.kl).real(s.minp_kl).real(s.entropy_diff);
  });
}

void ChunkInsert::latents(const TrajectoryChunk& chunk) {
  // Texts are bound by reference, so they must outlive the statement.
  std::vector<std::string> shapes;
  shapes.reserve(chunk.latents.size());
  for (const LatentRow& latent : chunk.latents)
    shapes.push_back(fmt::format("[{}]", fmt::join(latent.shape, ",")));
  latent_.insert(chunk.latents, [&](Row& row, const LatentRow& latent) {
    const auto i = static_cast<size_t>(&latent - chunk.latents.data());
    row.integer(chunk.trajectory_id).integer(latent.pos).integer(latent.step).text(latent.kind);
    row.text(latent.dtype).text(shapes[i]).integer(elements_of(latent)).blob(latent.data);
  });
}

void ChunkInsert::halting(const TrajectoryChunk& chunk) {
  const int64_t id = chunk.trajectory_id;
  halting_.insert(chunk.halting, [id](Row& row, const HaltingRow& h) {
    row.integer(id).integer(h.pos).integer(h.step).real(h.p).real(h.cum).real(h.w);
  });
  ponder_.insert(chunk.ponder, [id](Row& row, const PonderRow& p) {
    row.integer(id).integer(p.pos).integer(p.n_steps).real(p.remainder).real(p.ponder);
  });
}

void ChunkInsert::timing(int64_t run_id, std::optional<int64_t> chunk_index, const TimingRow& row) {
  Binder(timing_)
      .integer(run_id)
      .maybe(row.point_id)
      .maybe(chunk_index)
      .text(row.stage)
      .real(row.elapsed_ms)
      .integer(row.calls);
  run(timing_);
}

}  // namespace plumb
