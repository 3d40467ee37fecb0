// Generation: prompts in, tokens out, at a fixed depth or at one that a rule decides per token.
//
//   prompt --one call, or a token at a time--> pick --> [token] --> pick --> ...
//
// Every prompt is a sequence of its own; all are computed together (core/decode/context.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/cache/kv_strategy.h"
#include "core/decode/context.h"
#include "core/decode/sampler.h"
#include "core/decode/segments.h"

namespace plumb {

// Self-speculative decoding: the same model at a smaller depth proposes, at full depth it checks
// `lookahead` tokens at once (raven.md 6.4).
struct SpeculativeOptions {
  int draft_steps = 4;
  int lookahead = 8;
  // 1: a draft must be the argmax. Below: its probability at least threshold times the largest.
  double verify_threshold = 1;
};

// What a conversation keeps of its tokens from one generation to the next.
struct KeptSequence {
  std::unique_ptr<SequenceCache> cache;  // null: nothing yet
  size_t n_reused = 0;  // of the last prompt: tokens at its front that were not computed again
};

struct GenerateRequest {
  std::vector<std::vector<int32_t>> prompts;  // at least one token each; lengths may differ
  size_t max_in_flight = 0;  // prompts computed together, the next joining as one ends; 0: all
  int max_new_tokens = 64;
  // Fixed depth, or the most a rule may run; -1: the model's default, which without a rule is its
  // own halting where it has one.
  int num_steps = -1;
  std::optional<Rule> rule;  // adaptive or forced depth
  // The prompt a token at a time, each with its own exit (raven.md 5.7).
  bool token_prefill = false;
  // s_0 of a decoded token is the last position's state before it: the returned latent at fixed
  // depth (Huginn's is normed), the raw state with a rule (raven.md 5.4).
  bool continuous_compute = false;
  std::string cache;  // strategy; empty: default_cache()
  CacheIndex cache_index = CacheIndex::kRecurrence;
  int segment_len = 0;  // tokens between borders (core/decode/segments.h); 0: the config's
  SegmentMode segment_mode = SegmentMode::kAligned;
  StateOptions state;                 // a file is a tape by absolute position
  std::vector<uint64_t> state_seeds;  // one a prompt instead of state.seed; empty: the same for all
  std::vector<uint32_t> sequence_ids;  // which draws each prompt uses; empty: 0, 1, 2, ...
  SamplerOptions sampler;
  std::optional<SpeculativeOptions> speculative;
  std::vector<int32_t> stop_ids;  // the token stays in the output
  bool keep_logits = false;       // rows the tokens were picked from
  bool run_ahead = true;  // core/decode/run_ahead.h; false gives the same, a readout a check
  // Of a single prompt, not speculative: as far as the prompt repeats the tokens of this cache,
  // their keys and values are taken over; afterwards it holds the prompt and the new tokens but
  // the last. REQUIRES the same model, depth, cache strategy and segments from call to call, and
  // outlives this one. At fixed depth with a full cache the numbers are those of computing anew.
  KeptSequence* kept = nullptr;
  // Called after every new token; true stops this sequence there.
  std::function<bool(size_t prompt, std::span<const int32_t> new_tokens)> after_token;
};

enum class StopReason : uint8_t { kMaxNewTokens, kStopId, kCallback, kLastPosition };
const char* stop_reason_name(StopReason reason);

struct GenerateStats {
  int64_t core_passes = 0;  // steps run for this sequence, drafts and checks included
  int64_t token_steps = 0;  // the same times the rows of each call
  int64_t forwards = 0;     // calls of the model
  int64_t drafted = 0, accepted = 0, rounds = 0;  // speculative
  std::vector<int> accepted_per_round;
  size_t kv_bytes = 0;    // held at the end
  double prefill_ms = 0;  // until the first token
  double elapsed_ms = 0;  // until the last; other sequences run meanwhile
};

struct Generated {
  std::vector<int32_t> tokens;  // prompt and new
  size_t n_prompt = 0;
  // Steps of each forward: [0] the prompt (one a token with token_prefill; the most of its
  // segments), then one per further new token. Speculative: the depth a token was checked at.
  std::vector<int> steps;
  std::vector<std::vector<double>>
      exit_values;                   // per forward, the rule's first scalar at each check
  std::vector<DepthReason> reasons;  // per forward
  std::vector<double> nll;           // nats of each new token, before penalties and filters
  std::vector<Mat<float>> logits;    // [1, vocab_size] each, if kept
  StopReason stop = StopReason::kMaxNewTokens;
  GenerateStats stats;

  std::span<const int32_t> new_tokens() const { return std::span(tokens).subspan(n_prompt); }
  double mean_nll() const;  // of the new tokens; NaN when there is none
};

// "full" at fixed depth and where keys are not kept per recurrence, else "latest".
std::string default_cache(const ModelInfo& info, bool adaptive);

Result<std::vector<Generated>> generate(const RecurrentModel& model, Team& team,
                                        const GenerateRequest& request);

// One prompt from `n` initial states (seeds state.seed, +1, ...), in seed order. The best is the
// one whose own tokens have the lowest mean nll, the first of equals. REQUIRES one prompt.
struct BestOf {
  std::vector<Generated> all;
  size_t best = 0;
};
Result<BestOf> generate_best_of(const RecurrentModel& model, Team& team, GenerateRequest request,
                                int n);

}  // namespace plumb
