// The figures of one model at one precision, each beside the ceiling that bounds it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/decode/think.h"
#include "experiments/bench/bench_row.h"
#include "experiments/bench/machine.h"
#include "experiments/bench/model_cost.h"

namespace plumb {

struct BenchOptions {
  Repeat repeat;
  int n_tokens = 512;  // of a whole pass
  int num_steps = 32;  // where the family can run that many
  int context = 64;    // tokens before a decoded one
  int decoded = 16;    // tokens decoded in one run
};

// What all groups of figures look at. Everything must outlive it.
class ModelBench {
 public:
  ModelBench(const RecurrentModel& model, Team& team, const ModelCost& cost, Precision precision,
             const MachineCeilings& machine, const BenchOptions& options);

  const RecurrentModel& model() const { return *model_; }
  const ModelInfo& info() const { return model_->info(); }
  Team& team() const { return *team_; }
  const ModelCost& cost() const { return *cost_; }
  Precision precision() const { return precision_; }
  const MachineCeilings& machine() const { return *machine_; }
  const BenchOptions& options() const { return options_; }
  int steps() const { return steps_; }        // options().num_steps, or the most there are
  int n_tokens() const { return n_tokens_; }  // options().n_tokens, or the most there are

  // A row named "{name}_{precision}" without a ceiling.
  BenchRow row(const char* name, const Measured& measured, const char* unit) const;
  // Random ids, another list for another salt.
  std::vector<int32_t> ids(size_t n, uint32_t salt) const;
  Result<StateSource> states() const;  // like-init, seed 0
  // Depths 1, 2, 4, ... up to `deepest` or the most there are; the last is always that.
  std::vector<int> doubling_depths(int deepest) const;

 private:
  const RecurrentModel* model_;
  Team* team_;
  const ModelCost* cost_;
  Precision precision_;
  const MachineCeilings* machine_;
  BenchOptions options_;
  int steps_, n_tokens_;
};

using BenchRows = Result<std::vector<BenchRow>>;

// A whole pass: GFLOP/s, milliseconds a recurrence.
BenchRows forward_rows(const ModelBench& bench);
// Batch 1 over a cache: weight traffic, milliseconds a recurrence, a readout and a token, keys and
// values held and read.
BenchRows decode_rows(const ModelBench& bench);
// What each stage takes of a decoded token whose exit is checked at every step and whose scalars
// are recorded; the store's part comes from record_rows().
BenchRows stage_rows(const ModelBench& bench, double store_ms_per_token);
// One pass for depths 1, 2, 4, ..., 64 over the pass of the deepest alone.
BenchRows sweep_rows(const ModelBench& bench);
// Every scalar at every step into a real results file below `directory`.
BenchRows record_rows(const ModelBench& bench, const std::filesystem::path& directory);
// Sixteen sequences scored under an exit rule, side by side over one after the other.
BenchRows adaptive_rows(const ModelBench& bench);
// Cost against depth, context and batch.
BenchRows scaling_rows(const ModelBench& bench);

}  // namespace plumb
