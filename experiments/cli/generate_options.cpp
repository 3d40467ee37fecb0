#include "experiments/cli/generate_options.h"

#include <algorithm>
#include <charconv>

#include "core/model/state_noise.h"
#include "experiments/spec.h"

namespace plumb::cli {
namespace {

Result<double> parse_number(const std::string& text, const char* flag) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return input_error("{} \"{}\" is not a number", flag, text);
  return value;
}

// The step modifiers given as flags, as a rule's modifiers; empty: none given.
std::string modifiers(const GenerateOptions& o) {
  std::string text;
  const auto add = [&](const std::string& one) { text += (text.empty() ? "@" : ",") + one; };
  if (o.min_steps) add(fmt::format("min={}", *o.min_steps));
  if (o.patience) add(fmt::format("patience={}", *o.patience));
  if (o.check_every) add(fmt::format("every={}", *o.check_every));
  if (o.no_exit_in_prefill) add("phase=decode");
  return text;
}

Result<Rule> parse_criterion(const GenerateOptions& o) {
  CriterionFlags flags;
  flags.criterion = o.criterion;
  if (!o.threshold.empty() && o.threshold != "auto") {
    PLUMB_ASSIGN(flags.threshold, parse_number(o.threshold, "--threshold"));
  }
  flags.min_steps = o.min_steps.value_or(0);
  flags.patience = o.patience.value_or(1);
  flags.check_every = o.check_every.value_or(1);
  flags.no_exit_in_prefill = o.no_exit_in_prefill;
  return rule_from_criterion(flags);
}

// A pattern's depths repeat, which the lists of sweeps may not.
Result<std::vector<int>> parse_pattern(const std::string& text) {
  std::vector<int> depths;
  for (const std::string& item : split_list(text)) {
    const auto depth = parse_whole_number(item);
    if (!depth || *depth < 1 || *depth > kMaxDepth)
      return input_error("--depth-pattern: \"{}\" is not a depth from 1 to {}", item, kMaxDepth);
    depths.push_back(static_cast<int>(*depth));
  }
  return depths;
}

// `num_steps` is -1 when not given; a pattern then decides it.
Result<std::optional<Rule>> parse_rule(const GenerateOptions& o, int& num_steps) {
  const int given =
      (o.criterion.empty() ? 0 : 1) + (o.rule.empty() ? 0 : 1) + (o.depth_pattern.empty() ? 0 : 1);
  if (given > 1)
    return input_error(
        "--criterion, --rule and --depth-pattern each decide the depth: give one of them");
  if (!o.threshold.empty() && o.criterion.empty())
    return input_error("--threshold needs --criterion");
  const std::string flags = modifiers(o);
  if (!flags.empty() && o.criterion.empty() && o.rule.empty())
    return input_error(
        "--min-steps, --patience, --check-every and --no-exit-in-prefill need --criterion or "
        "--rule");
  if (given == 0) return std::optional<Rule>();
  if (!o.criterion.empty()) {
    PLUMB_ASSIGN(Rule rule, parse_criterion(o));
    return std::optional(std::move(rule));
  }
  if (!o.rule.empty()) {
    if (!flags.empty() && o.rule.find('@') != std::string::npos)
      return input_error("--rule \"{}\" has modifiers of its own: put all of them after its @",
                         o.rule);
    PLUMB_ASSIGN(Rule rule, Rule::parse(o.rule + (flags.empty() ? "" : " " + flags)));
    return std::optional(std::move(rule));
  }
  PLUMB_ASSIGN(const std::vector<int> pattern, parse_pattern(o.depth_pattern));
  const int deepest = *std::max_element(pattern.begin(), pattern.end());
  if (num_steps < 0) num_steps = deepest;
  if (num_steps < deepest)
    return input_error("--depth-pattern goes to {}, beyond --num-steps {}", deepest, num_steps);
  PLUMB_ASSIGN(Rule rule, rule_from_depth_pattern(pattern));
  return std::optional(std::move(rule));
}

Result<SamplerOptions> parse_sampler(const GenerateOptions& o, const ModelInfo& info) {
  SamplerOptions sampler = family_sampler(info);
  const bool asked = o.temperature || o.top_k || o.top_p || o.min_p || o.repetition_penalty ||
                     o.dry_multiplier > 0;
  // A family's own settings are those of its sampling, not of argmax.
  if (!asked || o.temperature == 0.0) sampler = {.rules = sampler.rules};
  sampler.sample = asked;
  sampler.temperature = o.temperature.value_or(sampler.temperature);
  sampler.top_k = o.top_k.value_or(sampler.top_k);
  sampler.top_p = o.top_p.value_or(sampler.top_p);
  sampler.min_p = o.min_p.value_or(sampler.min_p);
  sampler.repetition_penalty = o.repetition_penalty.value_or(sampler.repetition_penalty);
  sampler.dry_multiplier = o.dry_multiplier;
  sampler.dry_base = o.dry_base;
  sampler.dry_allowed_length = o.dry_allowed_length;
  sampler.seed = o.state.seed;
  PLUMB_RETURN_IF_ERROR(check_sampler(sampler));
  return sampler;
}

void add_depth_flags(CLI::App& verb, GenerateOptions& o) {
  verb.add_option(
      "--num-steps", o.num_steps,
      "depth on the family's own axis, or the most an exit rule may run (default: the config's)");
  verb.add_option("--criterion", o.criterion,
                  "exit when this scalar passes its threshold: kl, latent-diff, entropy-diff, ...");
  verb.add_option("--threshold", o.threshold,
                  "of --criterion (default, or \"auto\": the published one)");
  verb.add_option("--rule", o.rule, "exit rule, e.g. \"kl<5e-4 | fixed=16 @min=2\"");
  verb.add_option("--min-steps", o.min_steps, "steps before the first check (default 0)");
  verb.add_option("--patience", o.patience, "consecutive checks that must fire (default 1)");
  verb.add_option("--check-every", o.check_every, "steps between checks (default 1)");
  verb.add_flag("--no-exit-in-prefill", o.no_exit_in_prefill, "the prompt runs to full depth");
  verb.add_option("--depth-pattern", o.depth_pattern,
                  "forced depth of each forward in turn, e.g. 3,1,4");
  verb.add_option(
      "--prefill", o.prefill,
      "the prompt in one \"call\" (default) or a \"token\" at a time, each with its own exit");
  verb.add_option(
      "--segment-len", o.segment_len,
      "tokens between segment borders, families with segment memory (default: the config's)");
  verb.add_option(
      "--segment-mode", o.segment_mode,
      "aligned (default): borders at multiples; rolling: every generated token is a segment");
  verb.add_option("--cache", o.cache,
                  "cache strategy (default: full at fixed depth, latest when adaptive)");
  verb.add_option("--cache-index", o.cache_index,
                  "recurrence (default) or upstream: what the numbers of --cache count");
  verb.add_flag("--continuous-compute", o.continuous_compute,
                "begin each token from the last one's state");
  verb.add_option("--state", o.state.kind,
                  "initial state: like-init (default), zero, normal, embed, unit, prelude, torch, "
                  "torch-2.12, or a tape by position FILE.safetensors:NAME");
  verb.add_option("--init-scale", o.state.init_scale,
                  "multiplies the initial state's scale (default 1)");
  verb.add_option("--noise", o.noise,
                  "test-time noise KIND:AMOUNT; kinds geom, sqrt, line, chi, fixed");
}

void add_special_modes(CLI::App& verb, GenerateOptions& o) {
  verb.add_option(
      "--best-of", o.best_of,
      "try this many initial states (seeds SEED, SEED+1, ...), keep the likeliest text");
  verb.add_option("--draft-steps", o.draft_steps, "speculative decoding: depth of the drafts");
  verb.add_option("--lookahead", o.lookahead,
                  "speculative decoding: tokens drafted a round (default 8)");
  verb.add_option("--verify-threshold", o.verify_threshold,
                  "speculative decoding: 1 (default) accepts the argmax only, below 1 drafts with "
                  "p >= threshold * max p");
  verb.add_flag("--wavefront", o.wavefront, "refine a window of positions at once");
  verb.add_option("--inner-steps", o.wave.inner_steps, "wavefront: steps a round (default 4)");
  verb.add_option("--freeze", o.freeze, "wavefront: " + freeze_rule_names());
  verb.add_option("--freeze-threshold", o.wave.threshold,
                  "wavefront: of the latent rules (default 0.03)");
  verb.add_option("--headway", o.wave.headway,
                  "wavefront: positions the front moves on a round (default 1)");
  verb.add_option("--max-wave", o.wave.max_wave,
                  "wavefront: states at most, 0 no limit (default 128)");
  verb.add_option("--ema-embeds", o.wave.ema_embeds,
                  "wavefront: share of the last round's prelude output kept (default 0.1)");
  verb.add_option("--state-noise", o.wave.state_noise,
                  "wavefront: share of a fresh state mixed in a round (default 0.5)");
  verb.add_flag("--constant-noise", o.constant_noise,
                "wavefront: do not lower that share with the steps a position has had");
  verb.add_flag("--sqrt-mixer", o.wave.sqrt_mixer, "wavefront: mix by square roots");
  verb.add_flag("--no-full-prefill", o.no_full_prefill,
                "wavefront: the prompt is part of the first wave");
  verb.add_option("--max-rounds", o.wave.max_rounds, "wavefront: rounds at most (default 4096)");
}

void add_sampling_flags(CLI::App& verb, GenerateOptions& o) {
  verb.add_option("--temperature", o.temperature,
                  "0: argmax; sampling is on when this or a filter below is given");
  verb.add_option("--top-k", o.top_k, "keep the k likeliest tokens");
  verb.add_option("--top-p", o.top_p,
                  "keep the likeliest tokens up to this mass, as the family defines it");
  verb.add_option("--min-p", o.min_p, "keep tokens with p >= min-p * max p");
  verb.add_option("--repetition-penalty", o.repetition_penalty,
                  "for every token that is already there");
  verb.add_option("--dry-multiplier", o.dry_multiplier,
                  "n-gram repetition penalty instead (Raven families)");
  verb.add_option("--dry-base", o.dry_base, "its base (default 1.75)");
  verb.add_option("--dry-allowed-length", o.dry_allowed_length,
                  "its longest free match (default 2)");
}

}  // namespace

void GenerateOptions::add_settings_to(CLI::App& verb) {
  verb.add_option("--max-new-tokens", max_new_tokens,
                  fmt::format("new tokens at most (default {})", max_new_tokens));
  add_depth_flags(verb, *this);
  add_sampling_flags(verb, *this);
  verb.add_option("--seed", state.seed,
                  "seed of initial states, sampling, noise and randomised caches (default 0)");
  verb.add_option(
      "--eos", eos,
      "stop at these ids besides the model's own fixed ones, or \"none\" (default: the model's)");
  verb.add_option("--stop", stops, "stop when the new text contains this; again for more")
      ->allow_extra_args(false);
}

void GenerateOptions::add_to(CLI::App& verb) {
  model.add_to(verb);
  verb.add_option("--prompt", prompts, "text to continue; again for a batch")
      ->allow_extra_args(false);
  verb.add_option("--prompts", prompts_file, "UTF-8 file with a prompt a line: a batch");
  verb.add_option(
      "--in-flight", in_flight,
      "sequences of a batch computed together, each at its own depth; the next joins as "
      "one ends (default 0: all; 1: one after the other; the same result)");
  verb.add_option("--ids", ids,
                  "token ids instead, \"5,6,7\"; \";\" separates sequences of a batch");
  verb.add_option("--chat", messages,
                  "JSON file with the messages of a conversation instead: the model's next reply, "
                  "in its own template");
  chat.add_to(verb);
  verb.add_flag("--no-added-specials", no_added_specials,
                "encode --prompt without the tokens its tokenizer puts around a text");
  add_settings_to(verb);
  add_special_modes(verb, *this);
  verb.add_option("--emit", emit, "\"logits\": the rows the tokens were picked from, to --out");
  verb.add_option("--out", out, "safetensors file to write");
  verb.add_flag("--json", json, "machine-readable result on stdout");
}

Status set_noise(const GenerateOptions& options, RecurrentModel& model) {
  if (options.noise.empty()) return ok_status();
  PLUMB_ASSIGN(const StateNoise noise, parse_noise(options.noise, options.state.seed));
  return model.set_noise(noise);
}

Result<StateNoise> parse_noise(const std::string& text, uint64_t seed) {
  const size_t colon = text.find(':');
  const auto kind = parse_noise_kind(text.substr(0, colon));
  if (colon == std::string::npos || !kind) {
    std::string kinds;
    for (const auto& [value, name] : kNoiseKinds)
      kinds += (kinds.empty() ? "" : ", ") + std::string(name);
    return input_error("--noise \"{}\" is not KIND:AMOUNT; kinds are {}", text, kinds);
  }
  StateNoise noise{.kind = *kind, .seed = seed};
  PLUMB_ASSIGN(noise.amount, parse_number(text.substr(colon + 1), "--noise"));
  if (!(noise.amount >= 0 && noise.amount <= 1e6))
    return input_error("--noise amount is {}, expected a number from 0 to 1e6", noise.amount);
  return noise;
}

Result<std::vector<int32_t>> resolve_stop_ids(const GenerateOptions& options, const ModelInfo& info,
                                              const Tokenizer* tokenizer) {
  if (options.eos == "none") return std::vector<int32_t>();
  std::vector<int32_t> ids = info.stop_ids;
  if (!options.eos.empty()) {
    for (const std::string& item : split_list(options.eos)) {
      const auto id = parse_whole_number(item);
      if (!id || *id < 0 || *id >= info.vocab_size)
        return input_error("--eos \"{}\" is not a token id below {}, nor \"none\"", item,
                           info.vocab_size);
      ids.push_back(static_cast<int32_t>(*id));
    }
    return ids;
  }
  if (tokenizer == nullptr) return ids;
  const std::filesystem::path path(options.model.tokenizer.empty() ? options.model.model
                                                                   : options.model.tokenizer);
  PLUMB_ASSIGN(
      const SpecialTokens specials,
      special_tokens(std::filesystem::is_directory(path) ? path : path.parent_path(), *tokenizer));
  ids.insert(ids.end(), specials.eos_ids.begin(), specials.eos_ids.end());
  return ids;
}

Result<GenerateRequest> resolve_generate(const GenerateOptions& o, const ModelInfo& info) {
  GenerateRequest request;
  request.max_new_tokens = o.max_new_tokens;
  if (o.in_flight < 0) return input_error("--in-flight is {}, expected 0 or more", o.in_flight);
  request.max_in_flight = static_cast<size_t>(o.in_flight);
  if (!o.num_steps.empty()) {
    PLUMB_ASSIGN(const std::vector<int> depths,
                 parse_int_list(o.num_steps, "--num-steps", 0, kMaxDepth));
    if (depths.size() != 1)
      return input_error("--num-steps \"{}\": a generation runs at one depth", o.num_steps);
    request.num_steps = depths.front();
  }
  PLUMB_ASSIGN(request.rule, parse_rule(o, request.num_steps));
  // Without a depth or a rule a model that halts by itself does.
  if (request.num_steps < 0 && (request.rule || !info.halts_itself))
    request.num_steps = info.default_steps;
  if (o.prefill != "call" && o.prefill != "token")
    return input_error("--prefill \"{}\" is unknown; expected call or token", o.prefill);
  request.token_prefill = o.prefill == "token";
  request.continuous_compute = o.continuous_compute;
  request.cache = o.cache.empty() ? default_cache(info, request.rule.has_value()) : o.cache;
  if (o.cache_index != "recurrence" && o.cache_index != "upstream")
    return input_error("--cache-index \"{}\" is unknown; expected recurrence or upstream",
                       o.cache_index);
  request.cache_index =
      o.cache_index == "upstream" ? CacheIndex::kUpstream : CacheIndex::kRecurrence;
  request.segment_len = o.segment_len;
  const auto mode = parse_segment_mode(o.segment_mode);
  if (!mode)
    return input_error("--segment-mode \"{}\" is unknown; expected aligned or rolling",
                       o.segment_mode);
  request.segment_mode = *mode;
  request.state = o.state;
  PLUMB_ASSIGN(request.sampler, parse_sampler(o, info));
  if (o.speculative()) {
    if (!o.draft_steps)
      return input_error("speculative decoding needs --draft-steps, the depth of the drafts");
    request.speculative = {*o.draft_steps, o.lookahead.value_or(8), o.verify_threshold.value_or(1)};
  }
  if (!o.emit.empty() && o.emit != "logits")
    return input_error("--emit \"{}\" is unknown; expected logits", o.emit);
  if (o.emit.empty() != o.out.empty())
    return input_error("--emit logits and --out FILE go together");
  request.keep_logits = !o.emit.empty();
  return request;
}

Result<WavefrontRequest> resolve_wavefront(const GenerateOptions& o,
                                           const GenerateRequest& request) {
  if (request.rule || request.speculative || o.best_of > 0 || request.keep_logits ||
      request.token_prefill)
    return input_error(
        "--wavefront decides depths itself: it does not go with exit rules, speculative decoding, "
        "--best-of, --prefill token or --emit");
  if (!o.stops.empty())
    return input_error("--wavefront stops at token ids only, not at --stop texts");
  if (request.prompts.size() != 1)
    return input_error("--wavefront takes one prompt, there are {}", request.prompts.size());
  WavefrontRequest wave = o.wave;
  const auto freeze = parse_freeze_rule(o.freeze);
  if (!freeze)
    return input_error("--freeze \"{}\" is unknown; expected {}", o.freeze, freeze_rule_names());
  wave.freeze = *freeze;
  wave.prompt = request.prompts.front();
  wave.max_new_tokens = request.max_new_tokens;
  wave.num_steps = request.num_steps;
  wave.dampened_noise = !o.constant_noise;
  wave.full_prefill = !o.no_full_prefill;
  wave.continuous_compute = request.continuous_compute;
  if (!o.cache.empty()) wave.cache = o.cache;
  wave.cache_index = request.cache_index;
  wave.state = request.state;
  wave.sampler = request.sampler;
  wave.stop_ids = request.stop_ids;
  return wave;
}

}  // namespace plumb::cli
