// Exit rules run live over text that was recorded: what `plumb replay --verify` holds replay
// against. Model, text and settings come from the results file; the text's tokens too, so that the
// text itself need not be there any more.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/decode/score_sequential.h"
#include "core/store/run_reader.h"
#include "experiments/model_pool.h"

namespace plumb {

struct LiveOptions {
  std::string model;          // instead of the recorded path; "": that
  std::string cache;          // strategy of rules; "": what a live run takes
  int64_t max_tokens = 2048;  // scored of each text, in whole windows; 0: all that were recorded
  int threads = 0;            // 0: all cores
  std::function<void(const std::string&)> note;
};

// Which tokens of a trajectory are run again.
struct LiveText {
  Setting setting;
  int num_steps = 0;                 // of the recording
  std::vector<int32_t> ids;          // the text from position 0
  std::vector<ScoreWindow> windows;  // spread evenly over what was recorded
};

// One token as it came out live.
struct LiveToken {
  int64_t pos = 0;
  int exit_step = 0;
  double nll = 0;  // nats, at the exit
  bool fired = false;
};

// Errors: no point of this file holds the trajectory's tokens, or not one whole window of them.
Result<LiveText> recorded_text(RunReader& reader, const TrajectoryInfo& trajectory,
                               int64_t max_tokens);

class LiveRules {
 public:
  // Loads the model that `trajectory` was recorded with; an error when its files are gone or are
  // not those any more.
  static Result<LiveRules> open(RunReader& reader, const TrajectoryInfo& trajectory,
                                const LiveOptions& options);

  // Can the rule run live on this model?
  Status usable(const Rule& rule) const;
  // The strategy that `rule` (null: full depth) runs with on this text.
  std::string cache_of(const LiveText& text, const Rule* rule) const;
  // Every scored token of the text's windows, one token fed at a time. Null: full depth.
  Result<std::vector<LiveToken>> run(const LiveText& text, const Rule* rule);

 private:
  LiveOptions options_;
  std::unique_ptr<Team> team_;
  std::unique_ptr<LoadedModel> loaded_;
};

}  // namespace plumb
