// Picking the next token from a row of logits.
//
//   argmax   penalties, then the first maximum
//   raven    penalties | / temperature, softmax | top-k | top-p, inclusive | min-p | renormalise
//   usual    penalties | / temperature | top-k | top-p | min-p, each on what the last one left
//
// top-k keeps ties with the k-th. The filters differ in top-p: `raven`, on probabilities that are
// not renormalised, removes the token that crosses the threshold (raven.md 6.3), `usual` keeps it
// (crowfeather.md 7 and the common libraries). Temperature 0 is argmax in both.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/base/rng.h"
#include "core/model/recurrent_model.h"

namespace plumb {

enum class SamplerRules : uint8_t { kRaven, kUsual };
const char* sampler_rules_name(SamplerRules rules);  // "raven", "usual"

struct SamplerOptions {
  bool sample = false;     // false: argmax
  double temperature = 1;  // 0: argmax
  int top_k = 0;           // 0: all
  double top_p = 1;        // 1: all
  double min_p = 0;        // 0: all
  double repetition_penalty =
      1;  // logit > 0 divided by it, < 0 multiplied, once per id of the sequence
  double dry_multiplier = 0;  // > 0: the n-gram penalty takes the place of repetition_penalty
  double dry_base = 1.75;
  int dry_allowed_length = 2;
  SamplerRules rules = SamplerRules::kUsual;
  uint64_t seed = 0;

  bool greedy() const { return !sample || temperature == 0; }
};

// The filter definitions of a family, and what its reference samples with where nothing is said.
SamplerOptions family_sampler(const ModelInfo& info);
// Ranges of every field; the sentence names the flag.
Status check_sampler(const SamplerOptions& options);

class Sampler {
 public:
  // REQUIRES check_sampler(options).ok().
  explicit Sampler(const SamplerOptions& options) : options_(options) {}

  const SamplerOptions& options() const { return options_; }

  // The token at `position` of sequence `row`, whose tokens so far are `history`. The draw is a
  // function of (seed, stream, row, position) alone: the first id, in id order, whose cumulative
  // probability exceeds it.
  int32_t pick(std::span<const float> logits, std::span<const int32_t> history, uint32_t row,
               uint32_t position, RngStream stream = RngStream::kSampling);

  // What pick() draws from: [vocab_size], zero where filtered, valid until the next call. REQUIRES
  // not greedy.
  std::span<const double> probabilities(std::span<const float> logits,
                                        std::span<const int32_t> history);
  // Logits after the penalties, valid until the next call.
  std::span<const float> penalised(std::span<const float> logits, std::span<const int32_t> history);

 private:
  void penalise_repeats(std::span<const int32_t> history);
  void penalise_ngrams(std::span<const int32_t> history);
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();

  SamplerOptions options_;
  std::vector<float> logits_;
  std::vector<double> probs_;
  std::vector<int32_t> order_, seen_;
};

// First maximum.
int32_t argmax(std::span<const float> row);

}  // namespace plumb
