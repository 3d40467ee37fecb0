// The wavefront sampler (diffusion forcing; raven.md 6.5): a window of positions is refined at
// once, R inner steps a round; its front moves on by `headway` guesses a round, and positions that
// no longer move are frozen from its back.
//
//   frozen ........ | c          wave, S states            c + S |  guesses
//                   re-read every round, forgotten again    appended every round
//
// Batch 1, families that draw their initial state.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/cache/kv_strategy.h"
#include "core/decode/sampler.h"
#include "core/decode/state_source.h"
#include "core/model/recurrent_model.h"

namespace plumb {

enum class FreezeRule : uint8_t {
  kLatentDiff,      // |s - s'| / |s| below the threshold, s' the state a round before
  kAcceleration1,   // the same of consecutive differences, aligned by index in the wave
  kAcceleration2,   // second difference where three rounds overlap, by position
  kTokenStability,  // the token stayed the same for more than num_steps div inner_steps rounds
  kFixed,           // after that many rounds, `headway` tokens a round
};
std::string_view freeze_rule_name(FreezeRule rule);
std::optional<FreezeRule> parse_freeze_rule(std::string_view name);
std::string freeze_rule_names();  // "latent-diff, ..."

struct WavefrontRequest {
  std::vector<int32_t> prompt;  // at least one token
  int max_new_tokens = 64;
  int num_steps = -1;   // of the prompt; -1: the model's default
  int inner_steps = 4;  // R
  FreezeRule freeze = FreezeRule::kLatentDiff;
  double threshold = 0.03;          // of the latent rules
  int headway = 1;                  // positions a round the front moves on
  int max_wave = 128;               // states at most; 0: no limit
  double ema_embeds = 0.1;          // share of the last round's prelude output that stays
  double state_noise = 0.5;         // share of a fresh state mixed in every round ...
  bool dampened_noise = true;       // ... divided by 1 + the steps the position has had
  bool sqrt_mixer = false;          // mix by square roots, which keeps the variance
  bool full_prefill = true;         // false: the prompt is part of the first wave
  bool continuous_compute = false;  // new positions begin from the last states
  int max_rounds = 4096;
  std::string cache =
      "latest-compress-s1";  // slots count recurrences: the public latest-m4-compress-s4
  CacheIndex cache_index = CacheIndex::kRecurrence;
  // s_0 of a position; noise and later draws of a round are those of sequence number 1 + round.
  StateOptions state;
  SamplerOptions sampler;
  std::vector<int32_t> stop_ids;  // looked at after more than num_steps rounds, as published
  std::optional<int32_t> guess;   // the token put on guessed positions (headway > 1); unset: drawn
  // Called with the newly frozen tokens.
  std::function<void(std::span<const int32_t>)> on_frozen;
};

// A sentence naming the flag, where the settings or the prompt cannot be.
Status check_wavefront(const ModelInfo& info, const WavefrontRequest& request, int num_steps);

struct WavefrontStats {
  int64_t core_passes = 0;     // joint inner steps; the prompt's call counts as one, as published
  int64_t token_forwards = 0;  // rows of those
  int64_t cache_clears = 0;    // positions forgotten
  int64_t standing_waves = 0;  // rounds whose front was held by max_wave
  int rounds = 0;
  int sequence_length = 0;  // tokens at the end, guesses included
  std::vector<int> steps_by_position, stable_rounds_by_position;  // of the frozen tokens
  size_t kv_bytes = 0;
  double prefill_ms = 0, elapsed_ms = 0;
};

struct WavefrontResult {
  std::vector<int32_t> tokens;  // prompt and frozen; the last round may exceed max_new_tokens
  WavefrontStats stats;
};

Result<WavefrontResult> generate_wavefront(const RecurrentModel& model, Team& team,
                                           const WavefrontRequest& request);

}  // namespace plumb
