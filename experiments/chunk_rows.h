// From what a pass measured to the rows of the results file.
#pragma once

#include "core/decode/score.h"
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
// The steps, lags and latents of the pass.
TrajectoryChunk trajectory_chunk(const ChunkSource& source, int64_t trajectory_id);

}  // namespace plumb
