#include "core/decode/generate.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "core/decode/generate_drivers.h"
#include "core/decode/think.h"

namespace plumb {
namespace {

Status check_request(const GenerateContext& context) {
  const GenerateRequest& request = *context.request;
  const ModelInfo& info = context.model->info();
  if (request.prompts.empty()) return input_error("there is no prompt to continue");
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    const auto& prompt = request.prompts[i];
    if (prompt.empty()) return input_error("prompt {} has no tokens; at least one is needed", i);
    size_t seen = prompt.size();
    if (info.crop_overflow) seen = std::min(seen, static_cast<size_t>(info.max_positions));
    PLUMB_RETURN_IF_ERROR(check_tokens(info, std::span(prompt).last(seen), 0));
  }
  if (request.max_new_tokens < 0)
    return input_error("--max-new-tokens is {}, expected 0 or more", request.max_new_tokens);
  for (const int32_t id : request.stop_ids)
    if (id < 0) return input_error("stop id {} is negative", id);
  PLUMB_RETURN_IF_ERROR(check_depth(info, context.num_steps));
  PLUMB_RETURN_IF_ERROR(check_sampler(request.sampler));
  PLUMB_CHECK(request.state_seeds.empty() || request.state_seeds.size() == request.prompts.size());
  PLUMB_CHECK(request.sequence_ids.empty() ||
              request.sequence_ids.size() == request.prompts.size());
  if (request.continuous_compute && !info.random_state)
    return input_error(
        "--continuous-compute carries a drawn initial state along; the family \"{}\" defines its "
        "own",
        info.family);
  if (request.rule) {
    Inputs available = Inputs::kState | Inputs::kLogits;
    if (info.gate_column >= 0) available = available | Inputs::kGate;
    PLUMB_RETURN_IF_ERROR(request.rule->usable_live(available));
  }
  PLUMB_CHECK(request.kept == nullptr || (request.prompts.size() == 1 && !request.speculative));
  if (!request.speculative) return ok_status();
  const SpeculativeOptions& speculative = *request.speculative;
  if (speculative.lookahead < 1 || speculative.lookahead > 4096)
    return input_error("--lookahead is {}, expected 1 to 4096", speculative.lookahead);
  if (!(speculative.verify_threshold > 0))
    return input_error("--verify-threshold is {}, expected a number above 0",
                       speculative.verify_threshold);
  if (speculative.draft_steps < info.min_steps ||
      (info.max_steps > 0 && speculative.draft_steps > info.max_steps))
    return input_error("--draft-steps {} is outside what this model can run: {} {} to {}",
                       speculative.draft_steps, info.axis, info.min_steps,
                       info.max_steps > 0 ? std::to_string(info.max_steps) : "any");
  if (info.segments)
    return input_error(
        "speculative decoding takes tokens back, which the segment memory of the family \"{}\" "
        "cannot",
        info.family);
  if (request.rule)
    return input_error("speculative decoding checks at a fixed depth and takes no exit rule");
  if (request.token_prefill)
    return input_error("speculative decoding takes the prompt in one call");
  if (request.continuous_compute)
    return input_error(
        "speculative decoding checks several tokens at once, so none can start from the state "
        "before "
        "it: it does not go with --continuous-compute");
  return ok_status();
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kMaxNewTokens:
      return "max-new-tokens";
    case StopReason::kStopId:
      return "stop-id";
    case StopReason::kCallback:
      return "stop-text";
    case StopReason::kLastPosition:
      return "last-position";
  }
  return "";
}

std::string default_cache(const ModelInfo& info, bool adaptive) {
  return adaptive && info.random_state ? "latest" : "full";
}

double Generated::mean_nll() const {
  if (nll.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

Result<std::vector<Generated>> generate(const RecurrentModel& model, Team& team,
                                        const GenerateRequest& request) {
  const ModelInfo& info = model.info();
  GenerateContext context{&model, &request, nullptr,
                          request.num_steps >= 0 ? request.num_steps : info.default_steps};
  PLUMB_RETURN_IF_ERROR(check_request(context));
  context.own_halting = info.halts_itself && request.num_steps < 0 && !request.rule;
  PLUMB_ASSIGN(const int segment_len, resolve_segment_len(info, request.segment_len));
  context.borders = SegmentBorders(segment_len, request.segment_mode);
  const std::string cache =
      request.cache.empty() ? default_cache(info, request.rule.has_value()) : request.cache;
  PLUMB_ASSIGN(context.policy, make_kv_policy(cache, request.cache_index, info.layers,
                                              request.state.seed, std::max(context.num_steps, 1)));
  const size_t n = request.prompts.size();
  std::vector<StateSource> sources;
  for (size_t i = 0; i < (request.state_seeds.empty() ? 1 : n); ++i) {
    StateOptions options = request.state;
    if (!request.state_seeds.empty()) options.seed = request.state_seeds[i];
    PLUMB_ASSIGN(StateSource source,
                 StateSource::make(options, info, StateSource::FileRows::kPositions));
    sources.push_back(std::move(source));
  }
  std::vector<std::unique_ptr<GeneratingSequence>> sequences;
  std::vector<SequenceDriver*> drivers;
  for (size_t i = 0; i < n; ++i) {
    const StateSource& states = sources[sources.size() == 1 ? 0 : i];
    sequences.push_back(request.speculative ? make_speculative_sequence(context, i, states)
                                            : make_plain_sequence(context, i, states));
    drivers.push_back(sequences.back().get());
  }
  PLUMB_RETURN_IF_ERROR(run_drivers(model, team, drivers, request.max_in_flight));
  std::vector<Generated> all;
  for (const auto& sequence : sequences) all.push_back(sequence->take());
  return all;
}

Result<BestOf> generate_best_of(const RecurrentModel& model, Team& team, GenerateRequest request,
                                int n) {
  PLUMB_CHECK(request.prompts.size() == 1);
  if (n < 1 || n > 4096) return input_error("--best-of is {}, expected 1 to 4096", n);
  if (!model.info().random_state && request.sampler.greedy())
    return input_error(
        "--best-of differs by initial state, and the family \"{}\" has only one; sample instead "
        "(--temperature)",
        model.info().family);
  request.prompts.resize(static_cast<size_t>(n), request.prompts.front());
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    request.state_seeds.push_back(request.state.seed + i);
    // Under greedy picks only the state differs; samples differ by sequence as well.
    request.sequence_ids.push_back(request.sampler.greedy() ? 0 : static_cast<uint32_t>(i));
  }
  BestOf result;
  PLUMB_ASSIGN(result.all, generate(model, team, request));
  for (size_t i = 1; i < result.all.size(); ++i)
    if (result.all[i].mean_nll() < result.all[result.best].mean_nll()) result.best = i;
  return result;
}

}  // namespace plumb
