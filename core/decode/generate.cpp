#include "core/decode/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/decode/generate_drivers.h"
#include "core/decode/think.h"
#include "core/kernels/distribution.h"

namespace plumb {
namespace {

double elapsed_ms(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

Status check_request(const GenerateContext& context) {
  const GenerateRequest& request = *context.request;
  const ModelInfo& info = context.model->info();
  if (request.prompts.empty()) return input_error("there is no prompt to continue");
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    const auto& prompt = request.prompts[i];
    if (prompt.empty()) return input_error("prompt {} has no tokens; at least one is needed", i);
    PLUMB_RETURN_IF_ERROR(check_tokens(info, prompt, 0).ok() || !info.crop_overflow
                              ? check_tokens(info, prompt, 0)
                              : check_tokens(info, std::span(prompt).last(std::min(
                                    prompt.size(), static_cast<size_t>(info.max_positions))), 0));
  }
  if (request.max_new_tokens < 0) return input_error("--max-new-tokens is {}, expected 0 or more", request.max_new_tokens);
  for (const int32_t id : request.stop_ids)
    if (id < 0) return input_error("stop id {} is negative", id);
  PLUMB_RETURN_IF_ERROR(check_depth(info, context.num_steps));
  PLUMB_RETURN_IF_ERROR(check_sampler(request.sampler));
  PLUMB_CHECK(request.state_seeds.empty() || request.state_seeds.size() == request.prompts.size());
  PLUMB_CHECK(request.sequence_ids.empty() || request.sequence_ids.size() == request.prompts.size());
  if (request.continuous_compute && !info.random_state)
    return input_error("--continuous-compute carries a drawn initial state along; the family \"{}\" defines its own",
                       info.family);
  if (request.rule) {
    Inputs available = Inputs::kState | Inputs::kLogits;
    if (info.gate_column >= 0) available = available | Inputs::kGate;
    PLUMB_RETURN_IF_ERROR(request.rule->usable_live(available));
  }
  if (!request.speculative) return ok_status();
  const SpeculativeOptions& speculative = *request.speculative;
  if (speculative.lookahead < 1 || speculative.lookahead > 4096)
    return input_error("--lookahead is {}, expected 1 to 4096", speculative.lookahead);
  if (!(speculative.verify_threshold > 0))
    return input_error("--verify-threshold is {}, expected a number above 0", speculative.verify_threshold);
  if (speculative.draft_steps < info.min_steps || (info.max_steps > 0 && speculative.draft_steps > info.max_steps))
    return input_error("--draft-steps {} is outside what this model can run: {} {} to {}", speculative.draft_steps,
                       info.axis, info.min_steps, info.max_steps > 0 ? std::to_string(info.max_steps) : "any");
  if (info.segments)
    return input_error("speculative decoding takes tokens back, which the segment memory of the family \"{}\" cannot",
                       info.family);
  if (request.rule) return input_error("speculative decoding checks at a fixed depth and takes no exit rule");
  if (request.token_prefill) return input_error("speculative decoding takes the prompt in one call");
  if (request.continuous_compute)
    return input_error("speculative decoding checks several tokens at once, so none can start from the state before "
                       "it: it does not go with --continuous-compute");
  return ok_status();
}

// The prompt in one call or a token at a time, then a token at a time.
class PlainSequence final : public GeneratingSequence {
 public:
  using GeneratingSequence::GeneratingSequence;

 protected:
  Result<TokenCall> first_call() override {
    if (info().crop_overflow && out_.n_prompt > static_cast<size_t>(info().max_positions))
      fed_ = out_.n_prompt - static_cast<size_t>(info().max_positions);
    return prompt_call();
  }

  Result<std::optional<TokenCall>> after(TokenAnswer& answer) override {
    record(answer, in_prompt_ && !request().token_prefill);
    if (fed_ < out_.n_prompt) {
      in_prompt_ = true;
      return std::optional(prompt_call());
    }
    in_prompt_ = false;
    const std::span<const float> logits(answer.logits.row(0), answer.logits.cols());
    const int32_t token = pick(logits, out_.tokens);
    if (append(token, logits)) return std::optional<TokenCall>();
    if (info().crop_overflow && cache_->length() >= info().max_positions) {
      // What is kept no longer sees what was dropped: everything is computed anew from position 0.
      PLUMB_RETURN_IF_ERROR(new_cache());
      return std::optional(call({out_.tokens.end() - info().max_positions, out_.tokens.end()}));
    }
    if (at_last_position()) return std::optional<TokenCall>();
    context_->borders.next_call(*cache_, 1, SegmentBorders::Phase::kGenerated);
    TokenCall made = call({token});
    if (request().continuous_compute) made.start = request().rule ? std::move(answer.state) : std::move(answer.latent);
    return std::optional(std::move(made));
  }

 private:
  // As much of the prompt as one call may hold.
  TokenCall prompt_call() {
    size_t n = context_->borders.next_call(*cache_, out_.n_prompt - fed_, SegmentBorders::Phase::kPrompt);
    if (request().token_prefill) n = 1;
    const auto first = out_.tokens.begin() + static_cast<std::ptrdiff_t>(fed_);
    TokenCall made = call({first, first + static_cast<std::ptrdiff_t>(n)});
    made.prefill = true;
    fed_ += n;
    return made;
  }

  size_t fed_ = 0;          // prompt tokens already given
  bool in_prompt_ = false;  // the call in flight is not the prompt's first
};

}  // namespace

const char* stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kMaxNewTokens: return "max-new-tokens";
    case StopReason::kStopId: return "stop-id";
    case StopReason::kCallback: return "stop-text";
    case StopReason::kLastPosition: return "last-position";
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

GeneratingSequence::GeneratingSequence(const GenerateContext& context, size_t index, const StateSource& states)
    : context_(&context), index_(index),
      sequence_(context.request->sequence_ids.empty() ? static_cast<uint32_t>(index) : context.request->sequence_ids[index]),
      states_(&states), sampler_(context.request->sampler) {
  out_.tokens = context.request->prompts[index];
  out_.n_prompt = out_.tokens.size();
}

Status GeneratingSequence::new_cache() {
  PLUMB_ASSIGN(cache_, context_->model->make_cache(context_->policy));
  return ok_status();
}

Result<std::optional<TokenCall>> GeneratingSequence::next(TokenAnswer* answer) {
  if (!started_) {
    started_ = true;
    start_ = std::chrono::steady_clock::now();
    if (request().max_new_tokens == 0) return std::optional<TokenCall>();
    PLUMB_RETURN_IF_ERROR(new_cache());
    PLUMB_ASSIGN(TokenCall first, first_call());
    return std::optional(std::move(first));
  }
  PLUMB_CHECK(answer != nullptr);
  out_.stats.core_passes += answer->passes;
  out_.stats.token_steps += answer->passes * static_cast<int64_t>(rows_in_call_);
  ++out_.stats.forwards;
  PLUMB_ASSIGN(std::optional<TokenCall> following, after(*answer));
  out_.stats.elapsed_ms = elapsed_ms(start_);
  return following;
}

TokenCall GeneratingSequence::call(std::vector<int32_t> ids) {
  rows_in_call_ = ids.size();
  TokenCall made;
  made.cache = cache_.get();
  made.ids = std::move(ids);
  made.sequence = sequence_;
  made.states = states_;
  made.num_steps = context_->num_steps;
  made.rule = request().rule ? &*request().rule : nullptr;
  made.own_halting = context_->own_halting;
  made.forward = static_cast<int>(out_.steps.size());
  made.want_latent = request().continuous_compute && !request().rule;
  return made;
}

void GeneratingSequence::record(const TokenAnswer& answer, bool more_of_last) {
  if (more_of_last) {
    out_.steps.back() = std::max(out_.steps.back(), answer.steps);
    out_.exit_values.back().insert(out_.exit_values.back().end(), answer.values.begin(), answer.values.end());
    out_.reasons.back() = answer.reason;
    return;
  }
  out_.steps.push_back(answer.steps);
  out_.exit_values.push_back(answer.values);
  out_.reasons.push_back(answer.reason);
}

int32_t GeneratingSequence::pick(std::span<const float> logits, std::span<const int32_t> history, RngStream stream) {
  return sampler_.pick(logits, history, sequence_, static_cast<uint32_t>(history.size()), stream);
}

bool GeneratingSequence::append(int32_t token, std::span<const float> logits) {
  std::vector<float> shifted(logits.size());
  const Distribution p = read_distribution(logits, shifted);
  out_.nll.push_back(p.log_z + p.max_logit - static_cast<double>(logits[static_cast<size_t>(token)]));
  if (request().keep_logits) {
    Mat<float> kept(1, logits.size());
    std::copy(logits.begin(), logits.end(), kept.row(0));
    out_.logits.push_back(std::move(kept));
  }
  out_.tokens.push_back(token);
  if (out_.nll.size() == 1) out_.stats.prefill_ms = elapsed_ms(start_);
  const bool told = request().after_token && request().after_token(index_, out_.new_tokens());
  const auto& stops = request().stop_ids;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) out_.stop = StopReason::kStopId;
  else if (told) out_.stop = StopReason::kCallback;
  else if (out_.new_tokens().size() >= static_cast<size_t>(request().max_new_tokens)) out_.stop = StopReason::kMaxNewTokens;
  else return false;
  return true;
}

bool GeneratingSequence::at_last_position() {
  if (info().max_positions == 0 || cache_->length() < info().max_positions) return false;
  out_.stop = StopReason::kLastPosition;
  return true;
}

Generated GeneratingSequence::take() {
  if (cache_) out_.stats.kv_bytes = cache_->bytes();
  return std::move(out_);
}

std::unique_ptr<GeneratingSequence> make_plain_sequence(const GenerateContext& context, size_t index,
                                                        const StateSource& states) {
  return std::make_unique<PlainSequence>(context, index, states);
}

Result<std::vector<Generated>> generate(const RecurrentModel& model, Team& team, const GenerateRequest& request) {
  const ModelInfo& info = model.info();
  GenerateContext context{&model, &request, nullptr, request.num_steps >= 0 ? request.num_steps : info.default_steps};
  PLUMB_RETURN_IF_ERROR(check_request(context));
  context.own_halting = info.halts_itself && request.num_steps < 0 && !request.rule;
  PLUMB_ASSIGN(const int segment_len, resolve_segment_len(info, request.segment_len));
  context.borders = SegmentBorders(segment_len, request.segment_mode);
  const std::string cache = request.cache.empty() ? default_cache(info, request.rule.has_value()) : request.cache;
  PLUMB_ASSIGN(context.policy, make_kv_policy(cache, request.cache_index, info.layers, request.state.seed,
                                              std::max(context.num_steps, 1)));
  const size_t n = request.prompts.size();
  std::vector<StateSource> sources;
  for (size_t i = 0; i < (request.state_seeds.empty() ? 1 : n); ++i) {
    StateOptions options = request.state;
    if (!request.state_seeds.empty()) options.seed = request.state_seeds[i];
    PLUMB_ASSIGN(StateSource source, StateSource::make(options, info, StateSource::FileRows::kPositions));
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
  PLUMB_RETURN_IF_ERROR(run_drivers(model, team, drivers));
  std::vector<Generated> all;
  for (const auto& sequence : sequences) all.push_back(sequence->take());
  return all;
}

Result<BestOf> generate_best_of(const RecurrentModel& model, Team& team, GenerateRequest request, int n) {
  PLUMB_CHECK(request.prompts.size() == 1);
  if (n < 1 || n > 4096) return input_error("--best-of is {}, expected 1 to 4096", n);
  if (!model.info().random_state && request.sampler.greedy())
    return input_error("--best-of differs by initial state, and the family \"{}\" has only one; sample instead "
                       "(--temperature)", model.info().family);
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
