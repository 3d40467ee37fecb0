// Sequences in flight: many sequences go through one model together, each with its own cache and
// each at its own step of its own token (continuous depth-wise batching).
//
//   sequence A   |prelude|1|2|3|exit|prelude|1|2|exit|...
//   sequence B   |prelude|1|2|3|4|5|6|exit|prelude|1|...
//                  one column is one call of the model for everybody in it
//
// A token that is done leaves, and its sequence's next token joins the others at once. The rows of
// a call do not see each other's company, so tokens, exit steps and bits are those of one sequence
// at a time; a single generation is the batch of one.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/base/mat.h"
#include "core/base/result.h"
#include "core/decode/halting_trace.h"
#include "core/decode/run_ahead.h"
#include "core/decode/state_source.h"
#include "core/exit/row_history.h"
#include "core/exit/rule.h"
#include "core/model/recurrent_model.h"

namespace plumb {

// Why a token stopped where it did: the depth asked for, its rule, or the model's own halting.
enum class DepthReason : uint8_t { kDepth, kRule, kHalting };
const char* depth_reason_name(DepthReason reason);  // "depth", "rule", "halting"

// Every scalar of every step of a one-token call.
struct StepTrace {
  std::vector<StepRow> rows;       // [step - 1], hindsight and kl_final filled in against the last
  std::vector<Comparison> lagged;  // [(step - 1) * n_lags + lag]
  HaltingTrace halting;            // own halting only
};

// Tokens of one sequence on their way through the model: their positions follow what its cache
// holds. With a rule they share one depth, decided by the last position's logits and the mean of
// the state scalars over all positions (core/exit/step_scalars.h).
struct TokenCall {
  SequenceCache* cache = nullptr;       // must outlive the call
  std::vector<int32_t> ids;             // at least one
  uint32_t sequence = 0;                // which draws of the randomness are this sequence's
  const StateSource* states = nullptr;  // s_0 of families that draw it
  std::vector<float> start;             // [state_dim] s_0 of the last row instead; empty: drawn
  int num_steps = 0;                    // the depth it ends at unless the rule fires before
  const Rule* rule = nullptr;           // null: fixed depth
  bool own_halting = false;   // the model stops each row itself, by num_steps at the latest
  int forward = 0;            // index for depth patterns
  bool prefill = false;       // which phase of the rule this is
  bool every_row = false;     // logits of every row, else of the last
  bool want_latent = false;   // the public latent_states of the last row
  bool bf16_logits = false;   // logits are rounded to bf16 before rules and records see them
  bool record = false;        // REQUIRES one id
  std::span<const int> lags;  // of the record; must outlive the call
  int32_t target = -1;        // true next token, for the record
  bool run_ahead = true;      // false: every depth is read by itself, the definition
};

struct TokenAnswer {
  Mat<float> logits;          // [1 or n, vocab_size]
  std::vector<float> state;   // [state_dim] raw state of the last row at the exit
  std::vector<float> latent;  // [model_dim] if wanted
  int steps = 0;              // depth of the readout; own halting: the most any row of the call ran
  int passes = 0;             // times the core ran
  DepthReason reason = DepthReason::kDepth;
  std::vector<double> values;  // of the rule's first scalar, one a check
  StepTrace record;
};

// The calls in flight. Sequences know nothing of each other.
class DepthBatch {
 public:
  DepthBatch(const RecurrentModel& model, Team& team);
  ~DepthBatch();

  struct Finished {
    size_t tag;
    TokenAnswer* answer;
  };

  // Runs the prelude of all calls together and sets their s_0. Moves from `calls`; `tags` come back
  // with the answers.
  Status enter(std::span<TokenCall> calls, std::span<const size_t> tags);
  // A step for everybody in flight, or a few where tokens may run ahead (core/decode/run_ahead.h),
  // then checks and readouts; returns those that are done, whose answers stay until the next call
  // of either function. An error when logits or states are not finite.
  Result<std::span<const Finished>> advance();
  bool empty() const { return flights_.empty(); }

 private:
  struct Flight;
  // A row that a rule looks at, or (kRecord) a record: a chain over depths and none of the others'.
  struct Look {
    static constexpr size_t kRecord = static_cast<size_t>(-1);
    Flight* flight;
    size_t memory;
  };

  void take_in_left();
  int window() const;
  Status run_window();
  Status step(bool remember);
  void take_back_step();
  void end_halted();
  Status observe();
  Status read(std::span<Flight* const> flights, Readout mode);
  Status read_bodies(std::span<Flight* const> flights);
  Status finish_readouts(std::span<Flight* const> done);
  const Batch& gather(std::span<Flight* const> flights, size_t (*first)(const Flight&),
                      size_t (*count)(const Flight&));
  const Batch& gather_whole(std::span<Flight* const> flights);
  Status show(Flight& flight);
  void exit_at(Flight& flight, size_t shown);
  void take_readout(Flight& flight);
  Error not_finite(const Flight& flight, int depth, const char* what) const;

  const RecurrentModel* model_;
  Team* team_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<std::unique_ptr<Flight>> flights_;
  // Tokens come and go, and a step is short: whoever leaves lends what it has allocated to the
  // next.
  std::vector<std::unique_ptr<Flight>> left_, spare_;  // left_: their answers may be looked at
  std::vector<Finished> finished_;
  std::vector<Flight*> joining_, moving_, with_body_, peeking_, looking_, done_, unread_;
  std::vector<Look> looks_;
  RunAhead run_ahead_;
  // What a joint call works on, gathered from the flights.
  Batch batch_, own_;  // own_: of one call alone
  std::vector<int32_t> ids_;
  Mat<float> injected_, state_;  // [rows of the call, ...]
  Mat<float> logits_, latent_;
};

}  // namespace plumb
