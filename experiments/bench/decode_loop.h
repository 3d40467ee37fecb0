// Decoding by hand, so that every stage can be timed: what core/decode/context.h does for a
// sequence that is fed given tokens.
#pragma once

#include <memory>
#include <vector>

#include "core/decode/think.h"
#include "core/exit/step_scalars.h"
#include "experiments/bench/model_bench.h"

namespace plumb {

// Milliseconds of one call that gives every sequence its next token.
struct TokenTimes {
  double prelude = 0, core = 0, readout = 0;
  double total() const { return prelude + core + readout; }
};

// The same with logits and an exit scalar at every step.
enum StageOfToken : size_t {
  kPreludeStage,
  kCoreStage,
  kCodaStage,
  kHeadStage,
  kCriterionStage,
  kCacheStage,
  kStages
};
inline constexpr const char* kStageNames[kStages] = {"prelude", "core",      "coda",
                                                     "head",    "criterion", "cache"};
struct StageTimes {
  double ms[kStages] = {};
  double total() const;
};

class DecodeLoop {
 public:
  // `batch` sequences, each after `context` random tokens run at `num_steps`.
  static Result<DecodeLoop> make(const ModelBench& bench, int batch, int context, int num_steps);

  // Throws the caches away and reads the first `context` tokens again.
  Status restart();
  Result<TokenTimes> token();
  // REQUIRES batch 1. The cache's own share (rows stored, views planned) is measured apart, once,
  // and taken out of the stages that hold it.
  Result<StageTimes> checked_token();

  int context() const { return caches_.front()->length(); }
  double kv_bytes_per_token() const;

 private:
  DecodeLoop(const ModelBench& bench, int context, int num_steps, StateSource states);
  Status begin(std::span<const int32_t> ids, size_t rows_each);
  Result<double> cache_ms_per_entry() const;

  const ModelBench* bench_;
  int context_, num_steps_;
  StateSource states_;
  std::unique_ptr<DepthPass> pass_;
  std::vector<std::unique_ptr<SequenceCache>> caches_;
  std::vector<int32_t> ids_;  // of the call
  Mat<float> logits_;
  RowMemory memory_;
  StepScratch scratch_;
  double entry_ms_ = -1;  // of a cache entry; negative: not measured yet
};

}  // namespace plumb
