// A recorded trajectory in memory: the steps of every token, a contiguous column a quantity.
//
//   PLUMB_ASSIGN(const Recording recording, load_recording(reader, trajectory));
//   TokenRows token(recording);                    // one a thread
//   const Trajectory& rows = token.load(17);       // the rows a live run would have seen
//
// 60 bytes a token and step, and 20 more for every lag.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "analysis/queries.h"
#include "core/base/result.h"
#include "core/exit/replay_rows.h"
#include "core/store/run_reader.h"

namespace plumb {

struct Recording {
  TrajectoryInfo info;
  std::optional<ModelRecord> cost;  // of its model; nullopt: the file does not say
  int n_steps = 0;           // R; every token has the steps 1..R
  std::vector<int64_t> pos;  // [n_tokens] ascending
  std::array<std::vector<float>, kStepColumns> columns;  // [n_tokens * n_steps], step fastest
  std::vector<int> lags;                                 // besides 1; kStartLag = the start
  // By lag, laid out as the columns; NaN while there were not that many steps.
  std::vector<std::array<std::vector<float>, kLagColumns>> lagged;
  // [n_tokens] the step at which the model itself stopped (N of ACT); empty where it never does.
  std::vector<int32_t> own_exits;
  int64_t n_without_target = 0;  // recorded tokens left out: no loss at some step

  size_t n_tokens() const { return pos.size(); }
  std::span<const float> column(StepColumn wanted, size_t token) const {
    const auto& values = columns[static_cast<size_t>(wanted)];
    return std::span(values).subspan(token * static_cast<size_t>(n_steps),
                                     static_cast<size_t>(n_steps));
  }
  // Number of the window that scored this token, from 0: the first window scores `window` tokens,
  // each further one `stride` tokens.
  int64_t window_of(size_t token) const;
  // Tokens before it in its window: the forward that fed it, when tokens are fed one by one.
  int64_t place_in_window(size_t token) const;
};

// All steps of a trajectory. Errors name the file: rows that are missing, no token with a loss.
Result<Recording> load_recording(RunReader& reader, const TrajectoryInfo& trajectory);

// The recordings of a selection, one a text. An error when they differ in anything but the text:
// then they are no sample of one thing.
Result<std::vector<Recording>> load_recordings(RunReader& reader, const Selection& selection);

// Builds the scalar rows of one token at a time, with hindsight fields, derived as the live
// producer derives them. Numbers were stored as f32.
class TokenRows {
 public:
  // `with_lags`: also the comparisons at other lags. The recording outlives this.
  explicit TokenRows(const Recording& recording, bool with_lags = true);
  // Valid until the next load().
  const Trajectory& load(size_t token);

 private:
  void load_lags(size_t token);

  const Recording& recording_;
  bool with_lags_;
  std::vector<StepRow> rows_;
  std::vector<Comparison> lagged_;
  Trajectory trajectory_;
};

// replayable(), and what a results file does not hold: the acceleration over several steps.
Status replayable_on(const Recording& recording, const Rule& rule);

}  // namespace plumb
