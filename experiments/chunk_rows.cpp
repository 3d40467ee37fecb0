#include "experiments/chunk_rows.h"

#include <algorithm>
#include <cstring>

#include "core/base/dtype.h"

namespace plumb {
namespace {

size_t first_scored(const ChunkSource& source) { return source.window.first_token + source.window.first_scored; }

float stored(double value) { return static_cast<float>(value); }

StepRecord step_record(int64_t pos, const StepRow& row) {
  StepRecord record;
  record.pos = pos;
  record.step = row.step;
  record.nll = stored(row.nll);
  record.entropy = stored(row.entropy);
  record.top1_id = row.top1;
  record.p1 = stored(row.p1);
  record.p2 = stored(row.p2);
  record.target_rank = row.target_rank > 0 ? row.target_rank - 1 : -1;  // 0: the target is the argmax
  record.state_norm = stored(row.state_norm);
  record.delta_norm = stored(row.prev.delta_norm);
  // The first step has no earlier difference; the file says so with NULL.
  record.accel_norm = std::isinf(row.prev.accel_norm) ? kNotMeasured : stored(row.prev.accel_norm);
  record.cos = stored(row.prev.cos);
  record.kl_prev = stored(row.prev.kl);
  record.minp_kl = stored(row.prev.minp_kl);
  record.kl_final = stored(row.kl_final);
  record.gate = stored(row.gate);
  record.stability = row.argmax_run;
  return record;
}

LatentRow latent_row(int64_t pos, const LatentSample& sample, bool half) {
  LatentRow row;
  row.pos = pos;
  row.step = sample.step;
  row.dtype = half ? "F16" : "F32";
  row.shape = {static_cast<int64_t>(sample.state.size())};
  row.data.resize(sample.state.size() * (half ? 2 : 4));
  if (!half) {
    std::memcpy(row.data.data(), sample.state.data(), row.data.size());
    return row;
  }
  for (size_t i = 0; i < sample.state.size(); ++i) {
    const uint16_t bits = f16_from_f32(sample.state[i]);
    std::memcpy(row.data.data() + 2 * i, &bits, 2);
  }
  return row;
}

void add_token(const TokenizedText& text, size_t pos, double nll, int exit_step, std::string_view reason, PointChunk& chunk) {
  chunk.nll_sum_nats += nll;
  chunk.n_bytes += text.bytes[pos + 1];
  chunk.tokens.push_back({.pos = static_cast<int64_t>(pos), .token_id = text.ids[pos], .target_id = text.ids[pos + 1],
                          .nll_nats = nll, .exit_step = exit_step, .exit_reason = reason});
}

void add_steps(int64_t pos, const std::vector<StepRow>& rows, const std::vector<Comparison>& lagged, const std::vector<int>& lags,
               TrajectoryChunk& chunk) {
  for (size_t k = 0; k < rows.size(); ++k) {
    chunk.steps.push_back(step_record(pos, rows[k]));
    for (size_t lag = 0; lag < lags.size(); ++lag) {
      const Comparison& c = lagged[k * lags.size() + lag];
      if (c.lag == 0) continue;  // not that many steps yet
      chunk.step_lags.push_back({.pos = pos, .step = static_cast<int32_t>(k + 1), .lag = lags[lag], .latent_diff = stored(c.latent_diff),
                                 .cos = stored(c.cos), .kl = stored(c.kl), .minp_kl = stored(c.minp_kl), .entropy_diff = stored(c.entropy_diff)});
    }
  }
}

void add_halting(int64_t pos, const HaltingTrace& trace, TrajectoryChunk& chunk) {
  for (size_t k = 0; k < trace.steps.size(); ++k) {
    const auto& [p, cumulative, weight] = trace.steps[k];
    const bool halted = static_cast<int>(k) >= trace.n_steps;
    chunk.halting.push_back({.pos = pos, .step = static_cast<int32_t>(k + 1), .p = halted ? kNotMeasured : p,
                             .cum = halted ? kNotMeasured : cumulative, .w = weight});
  }
  chunk.ponder.push_back({.pos = pos, .n_steps = trace.n_steps, .remainder = trace.remainder,
                          .ponder = static_cast<float>(trace.n_steps) + trace.remainder});
}

}  // namespace

PointChunk sequential_chunk(const TokenizedText& text, const ScoreWindow& window, const SequentialScore& score, int64_t point_id) {
  PointChunk chunk;
  chunk.point_id = point_id;
  chunk.n_tokens = static_cast<int64_t>(score.nll.size());
  chunk.n_inputs = static_cast<int64_t>(window.n_inputs);
  chunk.kv_bytes = static_cast<int64_t>(score.kv_bytes);
  for (size_t i = 0; i < score.nll.size(); ++i)
    add_token(text, window.first_token + window.first_scored + i, score.nll[i], score.exit_steps[i], depth_reason_name(score.reasons[i]), chunk);
  return chunk;
}

TrajectoryChunk sequential_trajectory(const ScoreWindow& window, const SequentialScore& score, const std::vector<int>& lags,
                                      int64_t trajectory_id) {
  TrajectoryChunk chunk;
  chunk.trajectory_id = trajectory_id;
  const std::vector<Comparison> none;
  for (size_t i = 0; i < score.steps.size(); ++i)
    add_steps(static_cast<int64_t>(window.first_token + window.first_scored + i), score.steps[i],
              lags.empty() ? none : score.lagged[i], lags, chunk);
  for (size_t i = 0; i < score.halting.size(); ++i)
    add_halting(static_cast<int64_t>(window.first_token + window.first_scored + i), score.halting[i], chunk);
  return chunk;
}

PointChunk point_chunk(const ChunkSource& source, int64_t point_id, int depth) {
  const auto listed = std::find(source.request.depths.begin(), source.request.depths.end(), depth);
  PLUMB_CHECK(listed != source.request.depths.end());
  const std::vector<double>& nll = source.score.nll[static_cast<size_t>(listed - source.request.depths.begin())];
  PointChunk chunk;
  chunk.point_id = point_id;
  chunk.n_tokens = static_cast<int64_t>(nll.size());
  chunk.n_inputs = static_cast<int64_t>(source.window.n_inputs);
  chunk.tokens.reserve(nll.size());
  const bool halting = !source.score.halted_at.empty();
  for (size_t i = 0; i < nll.size(); ++i)
    add_token(source.text, first_scored(source) + i, nll[i], halting ? source.score.halted_at[i] : depth,
              depth_reason_name(halting ? DepthReason::kHalting : DepthReason::kDepth), chunk);
  return chunk;
}

TrajectoryChunk trajectory_chunk(const ChunkSource& source, int64_t trajectory_id) {
  TrajectoryChunk chunk;
  chunk.trajectory_id = trajectory_id;
  const auto pos0 = static_cast<int64_t>(first_scored(source));
  const std::vector<Comparison> none;
  for (size_t i = 0; i < source.score.steps.size(); ++i)
    add_steps(pos0 + static_cast<int64_t>(i), source.score.steps[i], source.request.lags.empty() ? none : source.score.lagged[i],
              source.request.lags, chunk);
  for (size_t i = 0; i < source.score.halting.size(); ++i)
    add_halting(pos0 + static_cast<int64_t>(i), source.score.halting[i], chunk);
  for (const LatentSample& sample : source.score.latents)
    chunk.latents.push_back(latent_row(static_cast<int64_t>(source.window.first_token + sample.input), sample, source.request.latents.half));
  return chunk;
}

}  // namespace plumb
