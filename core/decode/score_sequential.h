// Scoring text one token at a time over a cache: what a token costs at the depth its rule chose,
// with a cache strategy at work. Every token begins from its position's own s_0, or from the last
// one's state (warm start). Windows are sequences of their own and run side by side.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/cache/kv_strategy.h"
#include "core/decode/context.h"
#include "core/decode/score.h"

namespace plumb {

struct SequentialRequest {
  int num_steps = 0;           // fixed depth, or the most the rule may run
  const Rule* rule = nullptr;  // null: fixed depth; outlives the call
  bool own_halting = false;    // the model's own, by num_steps at the latest
  int segment_len = 0;         // aligned borders, families with segments; 0: the config's
  std::string cache;           // strategy; empty: full at fixed depth, latest with a rule
  CacheIndex cache_index = CacheIndex::kRecurrence;
  uint64_t cache_seed = 0;          // of the randomized strategy
  bool continuous_compute = false;  // conventions of core/decode/generate.h
  bool bf16_logits = false;         // as in ScoreRequest
  bool record_steps = false;        // every scalar at every step run (the coda is read at each)
  std::vector<int> lags;            // further comparisons (core/exit/row_history.h)
  size_t max_in_flight = 16;        // windows at a time; 0: all
  bool run_ahead = true;  // core/decode/run_ahead.h; false gives the same, a readout a check
};

struct SequentialScore {
  std::vector<double> nll;           // [scored], nats, at the exit
  std::vector<int> exit_steps;       // [scored]
  std::vector<DepthReason> reasons;  // [scored]
  // [scored][step - 1] up to the exit; empty unless recorded. Hindsight and kl_final look at the
  // exit.
  std::vector<std::vector<StepRow>> steps;
  std::vector<std::vector<Comparison>> lagged;  // [scored][(step - 1) * n_lags + lag]
  std::vector<HaltingTrace> halting;  // [scored]; own halting with recorded steps, else empty
  int64_t core_passes = 0;                      // steps of all tokens, unscored ones too
  size_t kv_bytes = 0;                          // held at the end of the window
};

// One window's tokens: its inputs and the target of the last one, n_inputs + 1 ids.
struct SequentialWindow {
  ScoreWindow window;
  std::span<const int32_t> tokens;  // outlives the call
};

// Scores windows [0, n) into as many results. Positions count from 0 in each window, and all
// windows draw as sequence 0: a result does not depend on which windows ran beside it. An error
// when logits or states are not finite.
Result<std::vector<SequentialScore>> score_sequential(const RecurrentModel& model, Team& team,
                                                      const StateSource& states,
                                                      std::span<const SequentialWindow> windows,
                                                      const SequentialRequest& request);

}  // namespace plumb
