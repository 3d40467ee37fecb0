// The flags of `plumb generate` and what they resolve to.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/decode/generate.h"
#include "core/decode/wavefront.h"
#include "experiments/cli/chat_options.h"
#include "experiments/cli/model_options.h"

namespace plumb::cli {

struct GenerateOptions {
  ModelOptions model;
  std::vector<std::string> prompts;
  std::string prompts_file, ids;
  int in_flight = 0;
  bool no_added_specials = false;
  int max_new_tokens = 64;
  // depth
  std::string num_steps, criterion, threshold, rule, depth_pattern, prefill = "call";
  std::optional<int> min_steps, patience, check_every;
  bool no_exit_in_prefill = false;
  int segment_len = 0;
  std::string segment_mode = "aligned";
  // cache and state
  std::string cache, cache_index = "recurrence", noise;
  bool continuous_compute = false;
  StateOptions state;
  int best_of = 0;
  // speculative
  std::optional<int> draft_steps, lookahead;
  std::optional<double> verify_threshold;
  // wavefront
  bool wavefront = false, constant_noise = false, no_full_prefill = false;
  std::string freeze = "latent-diff";
  WavefrontRequest wave;
  // sampling
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int> top_k;
  double dry_multiplier = 0, dry_base = 1.75;
  int dry_allowed_length = 2;
  // stops and output
  std::string eos, emit, out;
  std::vector<std::string> stops;
  bool json = false;
  // a conversation in place of prompts
  std::string messages;
  ChatOptions chat;

  // Every flag of generate; or those of chat, where the conversation gives the prompts.
  void add_to(CLI::App& verb);
  void add_settings_to(CLI::App& verb);
  bool adaptive() const { return !criterion.empty() || !rule.empty() || !depth_pattern.empty(); }
  bool speculative() const { return draft_steps || lookahead || verify_threshold; }
};

// Everything but prompts and stop ids. Sampling is off unless one of its flags is given.
Result<GenerateRequest> resolve_generate(const GenerateOptions& options, const ModelInfo& info);
// The same settings for --wavefront; prompt and stop ids are taken over from `request`.
Result<WavefrontRequest> resolve_wavefront(const GenerateOptions& options,
                                           const GenerateRequest& request);
// --noise, where it is given, becomes the model's.
Status set_noise(const GenerateOptions& options, RecurrentModel& model);
Result<StateNoise> parse_noise(const std::string& text, uint64_t seed);
// --eos ID[,ID]|none, else the ids of the model and of the files beside its tokenizer.
Result<std::vector<int32_t>> resolve_stop_ids(const GenerateOptions& options, const ModelInfo& info,
                                              const Tokenizer* tokenizer);

}  // namespace plumb::cli
