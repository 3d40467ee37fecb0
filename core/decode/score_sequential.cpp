#include "core/decode/score_sequential.h"

#include <algorithm>

#include "core/decode/generate.h"
#include "core/decode/segments.h"
#include "core/decode/sequence_driver.h"
#include "core/decode/think.h"
#include "core/kernels/distribution.h"

namespace plumb {
namespace {

class WindowDriver final : public SequenceDriver {
 public:
  WindowDriver(const RecurrentModel& model, std::shared_ptr<const KvPolicy> policy,
               const StateSource& states, const SequentialWindow& window,
               const SequentialRequest& request, int segment_len)
      : model_(&model),
        policy_(std::move(policy)),
        states_(&states),
        window_(&window),
        request_(&request),
        borders_(segment_len, SegmentMode::kAligned) {}

  Result<std::optional<TokenCall>> next(TokenAnswer* answer) override {
    if (answer == nullptr) {
      PLUMB_ASSIGN(cache_, model_->make_cache(policy_));
      cache_->expect(window_->window.n_inputs);
    } else {
      take(*answer);
      ++input_;
    }
    if (input_ == window_->window.n_inputs) {
      score_.kv_bytes = cache_->bytes();
      cache_.reset();
      return std::optional<TokenCall>();
    }
    borders_.next_call(*cache_, 1, SegmentBorders::Phase::kGenerated);
    return std::optional(call(answer));
  }

  SequentialScore score() { return std::move(score_); }

 private:
  bool scored() const { return input_ >= window_->window.first_scored; }

  TokenCall call(TokenAnswer* before) const {
    TokenCall made;
    made.cache = cache_.get();
    made.ids = {window_->tokens[input_]};
    made.states = states_;
    made.num_steps = request_->num_steps;
    made.rule = request_->rule;
    made.own_halting = request_->own_halting;
    made.forward = static_cast<int>(input_);
    made.bf16_logits = request_->bf16_logits;
    made.record = request_->record_steps && scored();
    made.lags = request_->lags;
    made.run_ahead = request_->run_ahead;
    made.target = window_->tokens[input_ + 1];
    if (request_->continuous_compute) {
      made.want_latent = request_->rule == nullptr;
      if (before != nullptr)
        made.start =
            request_->rule != nullptr ? std::move(before->state) : std::move(before->latent);
    }
    return made;
  }

  void take(TokenAnswer& answer) {
    score_.core_passes += answer.passes;
    if (!scored()) return;
    const std::span<float> row(answer.logits.row(0), answer.logits.cols());
    const float target = row[static_cast<size_t>(window_->tokens[input_ + 1])];
    const Distribution p = read_distribution(row, row);
    score_.nll.push_back(p.log_z - (static_cast<double>(target) - p.max_logit));
    score_.exit_steps.push_back(answer.steps);
    score_.reasons.push_back(answer.reason);
    if (!request_->record_steps) return;
    score_.steps.push_back(std::move(answer.record.rows));
    score_.lagged.push_back(std::move(answer.record.lagged));
    if (request_->own_halting) score_.halting.push_back(std::move(answer.record.halting));
  }

  const RecurrentModel* model_;
  std::shared_ptr<const KvPolicy> policy_;
  const StateSource* states_;
  const SequentialWindow* window_;
  const SequentialRequest* request_;
  SegmentBorders borders_;
  std::unique_ptr<SequenceCache> cache_;
  size_t input_ = 0;
  SequentialScore score_;
};

}  // namespace

Result<std::vector<SequentialScore>> score_sequential(const RecurrentModel& model, Team& team,
                                                      const StateSource& states,
                                                      std::span<const SequentialWindow> windows,
                                                      const SequentialRequest& request) {
  const ModelInfo& info = model.info();
  PLUMB_RETURN_IF_ERROR(check_depth(info, request.num_steps));
  for (const SequentialWindow& window : windows) {
    PLUMB_CHECK(window.tokens.size() == window.window.n_inputs + 1 && window.window.n_inputs > 0);
    PLUMB_RETURN_IF_ERROR(check_tokens(info, window.tokens.last(1), 0));
  }
  if (request.continuous_compute && !info.random_state)
    return input_error(
        "a warm start carries a drawn initial state along; the family \"{}\" defines its own",
        info.family);
  if (request.rule != nullptr) {
    Inputs available = Inputs::kState | Inputs::kLogits;
    if (info.gate_column >= 0) available = available | Inputs::kGate;
    PLUMB_RETURN_IF_ERROR(request.rule->usable_live(available));
  }
  PLUMB_ASSIGN(const int segment_len, resolve_segment_len(info, request.segment_len));
  if (request.own_halting && (!info.halts_itself || request.rule != nullptr))
    return input_error(
        "own halting needs a family that halts by itself and no exit rule; this is \"{}\"",
        info.family);
  const std::string cache =
      request.cache.empty() ? default_cache(info, request.rule != nullptr) : request.cache;
  PLUMB_ASSIGN(const auto policy,
               make_kv_policy(cache, request.cache_index, info.layers, request.cache_seed,
                              std::max(request.num_steps, 1)));
  std::vector<std::unique_ptr<WindowDriver>> windows_running;
  std::vector<SequenceDriver*> drivers;
  for (const SequentialWindow& window : windows) {
    windows_running.push_back(
        std::make_unique<WindowDriver>(model, policy, states, window, request, segment_len));
    drivers.push_back(windows_running.back().get());
  }
  PLUMB_RETURN_IF_ERROR(run_drivers(model, team, drivers, request.max_in_flight));
  std::vector<SequentialScore> scores;
  for (const auto& driver : windows_running) scores.push_back(driver->score());
  return scores;
}

}  // namespace plumb
