#include "core/decode/generate_drivers.h"

#include <algorithm>

#include "core/kernels/distribution.h"

namespace plumb {
namespace {

double elapsed_ms(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since)
      .count();
}

// The prompt in one call or a token at a time, then a token at a time.
class PlainSequence final : public GeneratingSequence {
 public:
  using GeneratingSequence::GeneratingSequence;

 protected:
  Result<TokenCall> first_call() override {
    if (info().crop_overflow && out_.n_prompt > static_cast<size_t>(info().max_positions)) {
      fed_ = out_.n_prompt - static_cast<size_t>(info().max_positions);
    } else if (request().kept != nullptr) {
      PLUMB_ASSIGN(fed_, take_over_cache());
    }
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
    if (request().continuous_compute)
      made.start = request().rule ? std::move(answer.state) : std::move(answer.latent);
    return std::optional(std::move(made));
  }

 private:
  // As much of the prompt as one call may hold.
  TokenCall prompt_call() {
    size_t n =
        context_->borders.next_call(*cache_, out_.n_prompt - fed_, SegmentBorders::Phase::kPrompt);
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

GeneratingSequence::GeneratingSequence(const GenerateContext& context, size_t index,
                                       const StateSource& states)
    : context_(&context),
      index_(index),
      sequence_(context.request->sequence_ids.empty() ? static_cast<uint32_t>(index)
                                                      : context.request->sequence_ids[index]),
      states_(&states),
      sampler_(context.request->sampler) {
  out_.tokens = context.request->prompts[index];
  out_.n_prompt = out_.tokens.size();
}

Status GeneratingSequence::new_cache() {
  PLUMB_ASSIGN(cache_, context_->model->make_cache(context_->policy));
  return ok_status();
}

Result<size_t> GeneratingSequence::take_over_cache() {
  std::unique_ptr<SequenceCache> kept = std::move(request().kept->cache);
  request().kept->n_reused = 0;
  if (kept == nullptr) return size_t{0};
  const std::span<const int32_t> ids = kept->ids();
  const auto same = static_cast<size_t>(
      std::mismatch(ids.begin(), ids.end(), out_.tokens.begin(), out_.tokens.end()).first -
      ids.begin());
  // The last token of a prompt is always computed: its logits give the first new one.
  const size_t n = std::min(same, out_.n_prompt - 1);
  if (n < ids.size() && !kept->truncate(static_cast<int>(n)).ok()) return size_t{0};
  cache_ = std::move(kept);
  request().kept->n_reused = n;
  return n;
}

Result<std::optional<TokenCall>> GeneratingSequence::next(TokenAnswer* answer) {
  if (!started_) {
    started_ = true;
    start_ = std::chrono::steady_clock::now();
    if (request().max_new_tokens == 0) return std::optional<TokenCall>();
    PLUMB_RETURN_IF_ERROR(new_cache());
    PLUMB_ASSIGN(TokenCall first, first_call());
    cache_->expect(out_.n_prompt + static_cast<size_t>(request().max_new_tokens));
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
  made.run_ahead = request().run_ahead;
  return made;
}

void GeneratingSequence::record(const TokenAnswer& answer, bool more_of_last) {
  if (more_of_last) {
    out_.steps.back() = std::max(out_.steps.back(), answer.steps);
    out_.exit_values.back().insert(out_.exit_values.back().end(), answer.values.begin(),
                                   answer.values.end());
    out_.reasons.back() = answer.reason;
    return;
  }
  out_.steps.push_back(answer.steps);
  out_.exit_values.push_back(answer.values);
  out_.reasons.push_back(answer.reason);
}

int32_t GeneratingSequence::pick(std::span<const float> logits, std::span<const int32_t> history,
                                 RngStream stream) {
  return sampler_.pick(logits, history, sequence_, static_cast<uint32_t>(history.size()), stream);
}

bool GeneratingSequence::append(int32_t token, std::span<const float> logits) {
  shifted_.resize(logits.size());
  const Distribution p = read_distribution(logits, shifted_);
  out_.nll.push_back(p.log_z + p.max_logit -
                     static_cast<double>(logits[static_cast<size_t>(token)]));
  if (request().keep_logits) {
    Mat<float> kept(1, logits.size());
    std::copy(logits.begin(), logits.end(), kept.row(0));
    out_.logits.push_back(std::move(kept));
  }
  out_.tokens.push_back(token);
  if (out_.nll.size() == 1) out_.stats.prefill_ms = elapsed_ms(start_);
  const bool told = request().after_token && request().after_token(index_, out_.new_tokens());
  const auto& stops = request().stop_ids;
  if (std::find(stops.begin(), stops.end(), token) != stops.end())
    out_.stop = StopReason::kStopId;
  else if (told)
    out_.stop = StopReason::kCallback;
  else if (out_.new_tokens().size() >= static_cast<size_t>(request().max_new_tokens))
    out_.stop = StopReason::kMaxNewTokens;
  else
    return false;
  return true;
}

bool GeneratingSequence::at_last_position() {
  if (info().max_positions == 0 || cache_->length() < info().max_positions) return false;
  out_.stop = StopReason::kLastPosition;
  return true;
}

Generated GeneratingSequence::take() {
  if (cache_) out_.stats.kv_bytes = cache_->bytes();
  if (request().kept != nullptr) request().kept->cache = std::move(cache_);
  return std::move(out_);
}

std::unique_ptr<GeneratingSequence> make_plain_sequence(const GenerateContext& context,
                                                        size_t index, const StateSource& states) {
  return std::make_unique<PlainSequence>(context, index, states);
}

}  // namespace plumb
