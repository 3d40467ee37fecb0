// From what a pass measured to the rows of the results file.
#pragma once

#include "core/decode/score.h"
#include "core/decode/score_sequential.h"
#include "core/store/run_writer.h"
#include "experiments/corpus.h"

namespace plumb {

struct ChunkSource {
  const TokenizedText& text;
  const ScoreWindow& window;
  const WindowScore& score;
  const ScoreRequest& request;
};

// One point's tokens at its depth. REQUIRES the depth is among the request's.
PointChunk point_chunk(const ChunkSource& source, int64_t point_id, int depth);
// The same from sequential scoring: every token at the depth it stopped at.
PointChunk sequential_chunk(const TokenizedText& text, const ScoreWindow& window, const SequentialScore& score, int64_t point_id);
// The steps, lags and halting of tokens scored one by one, each as deep as it ran.
TrajectoryChunk sequential_trajectory(const ScoreWindow& window, const SequentialScore& score, const std::vector<int>& lags,
                                      int64_t trajectory_id);
// The steps, lags, halting and latents of the pass.
TrajectoryChunk trajectory_chunk(const ChunkSource& source, int64_t trajectory_id);

}  // namespace plumb
