#include <nlohmann/json.hpp>

#include "core/io/safetensors.h"
#include "experiments/cli/generate_options.h"
#include "experiments/cli/generate_text.h"
#include "experiments/cli/verbs.h"
#include "experiments/spec.h"

namespace plumb::cli {
namespace {

Json describe_sampler(const SamplerOptions& s) {
  if (s.greedy()) return {{"mode", "greedy"}, {"repetition_penalty", s.repetition_penalty}};
  return {{"mode", "sample"},
          {"filters", sampler_rules_name(s.rules)},
          {"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"repetition_penalty", s.repetition_penalty},
          {"dry_multiplier", s.dry_multiplier},
          {"seed", s.seed}};
}

Json describe(const GenerateOptions& options, const GenerateRequest& request, const ModelInfo& info,
              const TextOutput& text) {
  Json settings = {
      {"family", info.family},
      {"num_steps", request.num_steps >= 0 ? Json(request.num_steps) : Json("own halting")},
      {"rule", nullptr},
      {"cache", options.wavefront && options.cache.empty() ? options.wave.cache : request.cache},
      {"cache_index", options.cache_index},
      {"continuous_compute", request.continuous_compute},
      {"prefill", options.prefill},
      {"state", info.random_state ? Json(request.state.kind) : Json()},
      {"seed", request.state.seed},
      {"init_scale", request.state.init_scale},
      {"noise", options.noise.empty() ? Json() : Json(options.noise)},
      {"dtype", options.model.dtype},
      {"stop_ids", request.stop_ids},
      {"sampling", describe_sampler(request.sampler)}};
  if (!text.has_text()) settings["no_text"] = text.why_none();
  if (info.segments) {
    settings["segment_len"] = request.segment_len > 0 ? request.segment_len : info.segment_len;
    settings["segment_mode"] = segment_mode_name(request.segment_mode);
  }
  if (request.rule) {
    Rule rule = *request.rule;
    rule.resolve_max(request.num_steps);
    settings["rule"] = rule.canonical();
  }
  if (request.speculative)
    settings["speculative"] = {{"draft_steps", request.speculative->draft_steps},
                               {"lookahead", request.speculative->lookahead},
                               {"verify_threshold", request.speculative->verify_threshold}};
  return settings;
}

Json describe_stats(const Generated& one) {
  const GenerateStats& s = one.stats;
  Json stats = {{"new_tokens", one.new_tokens().size()},
                {"core_passes", s.core_passes},
                {"token_steps", s.token_steps},
                {"forwards", s.forwards},
                {"kv_bytes", s.kv_bytes},
                {"prefill_ms", s.prefill_ms},
                {"elapsed_ms", s.elapsed_ms},
                {"accepted_drafts", s.accepted},
                {"mean_nll", one.mean_nll()}};
  if (s.rounds > 0) {
    stats["drafted"] = s.drafted;
    stats["rounds"] = s.rounds;
    stats["accepted_per_round"] = s.accepted_per_round;
  }
  return stats;
}

// Fields of one sequence, or of several nested one level.
Json describe_all(const std::vector<Generated>& all, bool batch, const TextOutput& text) {
  Json json = Json::object();
  const auto put = [&](const char* name, const Json& value) {
    if (batch)
      json[name].push_back(value);
    else
      json[name] = value;
  };
  for (const Generated& one : all) {
    put("tokens", one.tokens);
    put("text", text.whole(one.tokens));
    put("new_text", text.continuation(one.tokens, one.n_prompt));
    put("steps", one.steps);
    put("exit_values", one.exit_values);
    Json reasons = Json::array();
    for (const DepthReason reason : one.reasons) reasons.push_back(depth_reason_name(reason));
    put("exit_reasons", reasons);
    put("nll", one.nll);
    put("stopped_by", stop_reason_name(one.stop));
    put("stats", describe_stats(one));
  }
  return json;
}

Status write_logits(const std::string& path, const std::vector<Generated>& all) {
  std::vector<Mat<float>> stacked;
  std::vector<NamedTensor> tensors;
  stacked.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const auto& rows = all[i].logits;
    Mat<float>& mat = stacked.emplace_back(rows.size(), rows.empty() ? 0 : rows[0].cols());
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy(rows[r].row(0), rows[r].row(0) + mat.cols(), mat.row(r));
    tensors.push_back(
        f32_tensor(all.size() == 1 ? "logits" : fmt::format("logits.{}", i),
                   {static_cast<int64_t>(mat.rows()), static_cast<int64_t>(mat.cols())},
                   {mat.data(), mat.size()}));
  }
  return write_safetensors(path, tensors);
}

void print_json(const Json& json) {
  // Tokens may be parts of a UTF-8 character: shown with the replacement character.
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

void print_summary(const GenerateStats& stats, size_t n_new) {
  std::fprintf(
      stderr, "%zu tokens, %.1f steps a token, %.0f ms, %.1f KiB of keys and values\n", n_new,
      n_new == 0 ? 0.0 : static_cast<double>(stats.core_passes) / static_cast<double>(n_new),
      stats.elapsed_ms, static_cast<double>(stats.kv_bytes) / 1024);
}

Status run_wavefront(const GenerateOptions& options, const GenerateRequest& request,
                     const OpenModel& open, const TextOutput& text) {
  PLUMB_ASSIGN(const WavefrontRequest wave, resolve_wavefront(options, request));
  PLUMB_ASSIGN(WavefrontResult result, generate_wavefront(*open.model, *open.team, wave));
  const size_t n_prompt = wave.prompt.size();
  // The last round may freeze more than was asked for.
  result.tokens.resize(
      std::min(result.tokens.size(), n_prompt + static_cast<size_t>(wave.max_new_tokens)));
  const WavefrontStats& s = result.stats;
  if (!options.json) {
    std::printf("%s\n", text.continuation_or_ids(result.tokens, n_prompt).c_str());
    std::fprintf(stderr, "%zu tokens, %d rounds, %ld joint steps, %.0f ms\n",
                 result.tokens.size() - n_prompt, s.rounds, static_cast<long>(s.core_passes),
                 s.elapsed_ms);
    return ok_status();
  }
  std::vector<int> steps = {wave.num_steps};
  for (size_t p = n_prompt + 1; p < result.tokens.size(); ++p)
    steps.push_back(s.steps_by_position[p]);
  Json settings = describe(options, request, open.model->info(), text);
  settings["wavefront"] = {
      {"inner_steps", wave.inner_steps},    {"freeze", freeze_rule_name(wave.freeze)},
      {"freeze_threshold", wave.threshold}, {"headway", wave.headway},
      {"max_wave", wave.max_wave},          {"ema_embeds", wave.ema_embeds},
      {"state_noise", wave.state_noise},    {"dampened_noise", wave.dampened_noise},
      {"sqrt_mixer", wave.sqrt_mixer},      {"full_prefill", wave.full_prefill},
      {"max_rounds", wave.max_rounds}};
  print_json({{"tokens", result.tokens},
              {"text", text.whole(result.tokens)},
              {"new_text", text.continuation(result.tokens, n_prompt)},
              {"steps", steps},
              {"exit_values", std::vector<std::vector<double>>(steps.size())},
              {"stats",
               {{"core_passes", s.core_passes},
                {"token_steps", s.token_forwards},
                {"cache_clears", s.cache_clears},
                {"standing_waves", s.standing_waves},
                {"rounds", s.rounds},
                {"sequence_length", s.sequence_length},
                {"steps_by_position", s.steps_by_position},
                {"stable_rounds_by_position", s.stable_rounds_by_position},
                {"kv_bytes", s.kv_bytes},
                {"prefill_ms", s.prefill_ms},
                {"elapsed_ms", s.elapsed_ms},
                {"accepted_drafts", 0}}},
              {"settings", settings}});
  return ok_status();
}

Status run_best_of(const GenerateOptions& options, const GenerateRequest& request,
                   const OpenModel& open, const TextOutput& text) {
  if (request.prompts.size() != 1)
    return input_error("--best-of takes one prompt, there are {}", request.prompts.size());
  PLUMB_ASSIGN(const BestOf best,
               generate_best_of(*open.model, *open.team, request, options.best_of));
  const std::vector<Generated> chosen = {best.all[best.best]};
  if (request.keep_logits) PLUMB_RETURN_IF_ERROR(write_logits(options.out, chosen));
  Json candidates = Json::array();
  for (size_t i = 0; i < best.all.size(); ++i) {
    const Generated& one = best.all[i];
    candidates.push_back({{"seed", request.state.seed + i},
                          {"mean_nll", one.mean_nll()},
                          {"tokens", one.tokens},
                          {"new_text", text.continuation(one.tokens, one.n_prompt)},
                          {"steps", one.steps}});
  }
  if (!options.json) {
    for (size_t i = 0; i < best.all.size(); ++i)
      std::fprintf(stderr, "seed %llu: %.4f nats a token%s\n",
                   static_cast<unsigned long long>(request.state.seed + i), best.all[i].mean_nll(),
                   i == best.best ? "  <- kept" : "");
    std::printf("%s\n", text.continuation_or_ids(chosen[0].tokens, chosen[0].n_prompt).c_str());
    return ok_status();
  }
  Json json = describe_all(chosen, false, text);
  json["best"] = best.best;
  json["best_of"] = candidates;
  json["settings"] = describe(options, request, open.model->info(), text);
  print_json(json);
  return ok_status();
}

Status run_plain(const GenerateOptions& options, GenerateRequest request, const OpenModel& open,
                 const TextOutput& text) {
  const bool batch = request.prompts.size() > 1;
  TextStream stream(text, request.prompts, options.stops, !options.json && !batch);
  if (!options.stops.empty() || stream.prints())
    request.after_token = [&stream](size_t prompt, std::span<const int32_t> tokens) {
      return stream.after_token(prompt, tokens);
    };
  PLUMB_ASSIGN(const std::vector<Generated> all, generate(*open.model, *open.team, request));
  stream.finish();
  if (request.keep_logits) PLUMB_RETURN_IF_ERROR(write_logits(options.out, all));
  for (const Generated& one : all)
    if (one.stop == StopReason::kLastPosition)
      std::fprintf(stderr, "plumb: note: stopped at the model's last position, %d\n",
                   open.model->info().max_positions);
  if (options.json) {
    Json json = describe_all(all, batch, text);
    json["settings"] = describe(options, request, open.model->info(), text);
    print_json(json);
    return ok_status();
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (batch)
      std::printf("[%zu] %s\n", i,
                  text.continuation_or_ids(all[i].tokens, all[i].n_prompt).c_str());
    print_summary(all[i].stats, all[i].new_tokens().size());
  }
  return ok_status();
}

Status read_prompts(const GenerateOptions& options, const Tokenizer* tokenizer,
                    GenerateRequest& request) {
  if (options.prompts.empty() == options.ids.empty())
    return input_error("give the text to continue with --prompt S or --ids L");
  for (const std::string& text : options.prompts)
    request.prompts.push_back(
        tokenizer->encode(text, {.add_specials = !options.no_added_specials}));
  if (options.ids.empty()) return ok_status();
  // Sequences of a batch need not be equally long here: each has its own cache.
  for (const std::string& row : split_list(options.ids, ';')) {
    PLUMB_ASSIGN(auto rows, parse_id_rows(row));
    request.prompts.push_back(std::move(rows.front()));
  }
  return ok_status();
}

Status run(const GenerateOptions& options) {
  PLUMB_ASSIGN(const OpenModel open, open_model(options.model));
  const ModelInfo& info = open.model->info();
  PLUMB_ASSIGN(GenerateRequest request, resolve_generate(options, info));
  if (!options.noise.empty()) {
    PLUMB_ASSIGN(const StateNoise noise, parse_noise(options.noise, options.state.seed));
    PLUMB_RETURN_IF_ERROR(open.model->set_noise(noise));
  }
  auto tokenizer = open_tokenizer(options.model);
  const bool needed =
      !options.prompts.empty() || !options.stops.empty() || !options.model.tokenizer.empty();
  if (!tokenizer.ok() && needed) return tokenizer.error();
  const Tokenizer* words = tokenizer.ok() ? tokenizer.value().get() : nullptr;
  PLUMB_RETURN_IF_ERROR(read_prompts(options, words, request));
  PLUMB_ASSIGN(request.stop_ids, resolve_stop_ids(options, info, words));
  const TextOutput text(words, tokenizer.ok() ? "" : tokenizer.error().message);
  if (options.wavefront) return run_wavefront(options, request, open, text);
  if (options.best_of > 0) return run_best_of(options, request, open, text);
  return run_plain(options, std::move(request), open, text);
}

}  // namespace

void add_generate(CLI::App& program, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* verb = program.add_subcommand(
      "generate", "continue a prompt: fixed, adaptive or forced depth, speculative, wavefront");
  options->add_to(*verb);
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace plumb::cli
