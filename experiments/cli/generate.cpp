#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/cli/generate_options.h"
#include "experiments/cli/generate_report.h"
#include "experiments/cli/generate_text.h"
#include "experiments/cli/verbs.h"
#include "experiments/spec.h"

namespace plumb::cli {
namespace {

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
  print_generated({{"tokens", result.tokens},
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
  print_generated(json);
  return ok_status();
}

Status run_plain(const GenerateOptions& options, GenerateRequest request, const OpenModel& open,
                 const TextOutput& text) {
  // A file of one line is a batch of one: its reader need not look twice.
  const bool batch = request.prompts.size() > 1 || !options.prompts_file.empty();
  TextStream stream(text, request.prompts, options.stops, !options.json && !batch);
  if (!options.stops.empty() || stream.prints())
    request.after_token = [&stream](size_t prompt, std::span<const int32_t> tokens) {
      return stream.after_token(prompt, tokens);
    };
  PLUMB_ASSIGN(const std::vector<Generated> all, generate(*open.model, *open.team, request));
  stream.finish();
  if (request.keep_logits) PLUMB_RETURN_IF_ERROR(write_logits(options.out, all));
  for (const Generated& one : all) warn_of_length(open.model->info(), one.tokens.size());
  for (const Generated& one : all)
    if (one.stop == StopReason::kLastPosition)
      std::fprintf(stderr, "plumb: note: stopped at the model's last position, %d\n",
                   open.model->info().max_positions);
  if (options.json) {
    Json json = describe_all(all, batch, text);
    json["settings"] = describe(options, request, open.model->info(), text);
    print_generated(json);
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

Json describe_reply(const Reply& reply, const Conversation& conversation,
                    const std::string& prompt) {
  Json calls = Json::array();
  for (size_t i = 0; i < reply.parts.calls.size(); ++i) {
    const ToolCall& call = reply.parts.calls[i];
    calls.push_back({{"name", call.name},
                     {"arguments", *call.arguments},
                     {"error", reply.refusals[i].empty() ? Json() : Json(reply.refusals[i])}});
  }
  return {{"prompt", prompt},
          {"content", reply.parts.content},
          {"tool_calls", calls},
          {"tool_errors", reply.errors()},
          {"messages", conversation.messages()}};
}

// The model's next reply to a conversation, and what it says. A reply whose tool calls cannot be
// used is printed all the same; the exit status tells.
Status run_chat(const GenerateOptions& options, GenerateRequest request, const OpenModel& open,
                const Tokenizer& tokenizer, const TextOutput& text) {
  PLUMB_ASSIGN(Conversation conversation,
               open_conversation(options.model, options.chat, tokenizer));
  PLUMB_RETURN_IF_ERROR(conversation.read(options.messages));
  PLUMB_ASSIGN(const Conversation::Prompt prompt, conversation.prompt());
  request.prompts = {prompt.ids};
  if (options.eos.empty())
    request.stop_ids.insert(request.stop_ids.end(), conversation.end_ids().begin(),
                            conversation.end_ids().end());
  TextStream stream(text, request.prompts, options.stops, false);
  if (!options.stops.empty())
    request.after_token = [&stream](size_t, std::span<const int32_t> tokens) {
      return stream.after_token(0, tokens);
    };
  PLUMB_ASSIGN(const std::vector<Generated> all, generate(*open.model, *open.team, request));
  if (request.keep_logits) PLUMB_RETURN_IF_ERROR(write_logits(options.out, all));
  warn_of_length(open.model->info(), all.front().tokens.size());
  const Reply reply = conversation.judge(reply_text(text, all.front()));
  conversation.add_reply(reply);
  if (options.json) {
    Json json = describe_all(all, false, text);
    json["settings"] = describe(options, request, open.model->info(), text);
    json["chat"] = describe_reply(reply, conversation, prompt.text);
    print_generated(json);
  } else {
    std::printf("%s\n", reply.text.c_str());
    print_summary(all.front().stats, all.front().new_tokens().size());
  }
  if (const auto errors = reply.errors(); !errors.empty())
    return work_error("the reply's tool call cannot be used: {}", fmt::join(errors, "; "));
  return ok_status();
}

Status check_prompts(const GenerateOptions& options) {
  const int given = (options.prompts.empty() ? 0 : 1) + (options.prompts_file.empty() ? 0 : 1) +
                    (options.ids.empty() ? 0 : 1) + (options.messages.empty() ? 0 : 1);
  if (given != 1)
    return input_error(
        "give the text to continue with one of --prompt S, --prompts FILE, --ids L and --chat "
        "MESSAGES.json");
  if (options.messages.empty() && options.chat.any())
    return input_error("--tools, --template and --template-vars need --chat MESSAGES.json");
  if (!options.messages.empty() && (options.wavefront || options.best_of > 0))
    return input_error("--chat goes with neither --wavefront nor --best-of");
  return ok_status();
}

// A prompt a line. An empty line is more likely a mistake than an empty prompt.
Result<std::vector<std::string>> read_prompt_lines(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return input_error("{}: cannot be read", path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty())
      return input_error("{}: line {} is empty, expected a prompt", path, lines.size() + 1);
    lines.push_back(std::move(line));
  }
  if (lines.empty()) return input_error("{}: found no line, expected a prompt a line", path);
  return lines;
}

Status read_prompts(const GenerateOptions& options, const Tokenizer* tokenizer,
                    GenerateRequest& request) {
  std::vector<std::string> texts = options.prompts;
  if (!options.prompts_file.empty()) {
    PLUMB_ASSIGN(texts, read_prompt_lines(options.prompts_file));
  }
  for (const std::string& text : texts)
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
  PLUMB_RETURN_IF_ERROR(check_prompts(options));
  PLUMB_ASSIGN(const OpenModel open, open_model(options.model));
  const ModelInfo& info = open.model->info();
  PLUMB_ASSIGN(GenerateRequest request, resolve_generate(options, info));
  PLUMB_RETURN_IF_ERROR(set_noise(options, *open.model));
  auto tokenizer = open_tokenizer(options.model);
  const bool needed = !options.prompts.empty() || !options.prompts_file.empty() ||
                      !options.messages.empty() || !options.stops.empty() ||
                      !options.model.tokenizer.empty();
  if (!tokenizer.ok() && needed) return tokenizer.error();
  const Tokenizer* words = tokenizer.ok() ? tokenizer.value().get() : nullptr;
  PLUMB_RETURN_IF_ERROR(read_prompts(options, words, request));
  PLUMB_ASSIGN(request.stop_ids, resolve_stop_ids(options, info, words));
  const TextOutput text(words, tokenizer.ok() ? "" : tokenizer.error().message);
  if (!options.messages.empty()) return run_chat(options, std::move(request), open, *words, text);
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
