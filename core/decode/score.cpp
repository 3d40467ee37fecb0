#include "core/decode/score.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "core/base/dtype.h"
#include "core/kernels/distribution.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;

class Stopwatch {
 public:
  explicit Stopwatch(StageTime& target) : target_(&target), start_(Clock::now()) {}
  ~Stopwatch() {
    target_->elapsed_ms += std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
    ++target_->calls;
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  StageTime* target_;
  Clock::time_point start_;
};

enum StageIndex { kPreludeTime, kCoreTime, kReadoutTime, kScalarsTime };

class WindowRun {
 public:
  WindowRun(DepthPass& pass, Team& team, std::span<const int32_t> tokens, const ScoreWindow& window,
            const ScoreRequest& request)
      : pass_(&pass), team_(&team), tokens_(tokens), window_(window), request_(&request),
        n_scored_(window.n_inputs - window.first_scored), largest_(request.depths.back()) {
    score_.timings = {{"prelude"}, {"core"}, {"readout"}, {"scalars"}};
    score_.nll.resize(request.depths.size());
  }

  Result<WindowScore> run(const StateSource& states, SequenceCache* cache) {
    {
      Stopwatch watch(score_.timings[kPreludeTime]);
      Batch batch;
      batch.ids = tokens_.first(window_.n_inputs);
      batch.groups.push_back({.n_rows = window_.n_inputs, .first_pos = cache != nullptr ? cache->length() : 0,
                              .own_halting = request_->own_halting, .cache = cache});
      if (cache != nullptr) cache->extend(batch.ids);
      PLUMB_RETURN_IF_ERROR(pass_->begin(std::move(batch), states));
    }
    if (request_->record_steps) {
      PLUMB_RETURN_IF_ERROR(run_recording());
    } else {
      PLUMB_RETURN_IF_ERROR(run_depths());
    }
    if (request_->own_halting) take_halting();
    return std::move(score_);
  }

 private:
  size_t model_dim() const { return static_cast<size_t>(pass_->model().info().model_dim); }
  size_t input_of(size_t scored) const { return window_.first_scored + scored; }
  int32_t target_of(size_t scored) const { return tokens_[input_of(scored) + 1]; }

  Status advance() {
    Stopwatch watch(score_.timings[kCoreTime]);
    return pass_->advance();
  }

  Status read_logits(MatView<const float> state) {
    Stopwatch watch(score_.timings[kReadoutTime]);
    logits_.resize(window_.n_inputs, static_cast<size_t>(pass_->model().info().vocab_size));
    PLUMB_RETURN_IF_ERROR(pass_->read_state(state, Readout::kPeek, logits_));
    if (request_->bf16_logits) team_->run(window_.n_inputs, [&](size_t r) { round_to_bf16(logits_.view().row_span(r)); });
    return ok_status();
  }

  void take_halting() {
    const int first = pass_->model().info().halting_column;
    PLUMB_CHECK(first >= 0);
    const auto column = static_cast<size_t>(first) + static_cast<size_t>(HaltingColumn::kSteps);
    const MatView<const float> state = pass_->state();
    for (size_t i = 0; i < n_scored_; ++i) score_.halted_at.push_back(static_cast<int>(state(input_of(i), column)));
  }

  Status run_depths() {
    PLUMB_RETURN_IF_ERROR(take_depth(0));
    for (int depth = 1; depth <= largest_; ++depth) {
      if (!pass_->settled()) PLUMB_RETURN_IF_ERROR(advance());
      PLUMB_RETURN_IF_ERROR(take_depth(depth));
    }
    return ok_status();
  }

  Status take_depth(int depth) {
    take_latents(depth, pass_->state());
    const auto listed = std::find(request_->depths.begin(), request_->depths.end(), depth);
    if (listed == request_->depths.end() || n_scored_ == 0) return ok_status();
    PLUMB_RETURN_IF_ERROR(read_logits(pass_->state()));
    return take_nll(static_cast<size_t>(listed - request_->depths.begin()), depth);
  }

  Status take_nll(size_t index, int depth) {
    Stopwatch watch(score_.timings[kScalarsTime]);
    std::vector<double>& nll = score_.nll[index];
    nll.resize(n_scored_);
    std::atomic<size_t> broken{n_scored_};  // the first row that is not finite
    team_->run(n_scored_, [&](size_t i) {
      const auto row = logits_.view().row_span(input_of(i));
      const float target_logit = row[static_cast<size_t>(target_of(i))];
      const Distribution p = read_distribution(row, row);
      // Shifted in double: the row itself is f32 and already shifted.
      nll[i] = p.log_z - (static_cast<double>(target_logit) - p.max_logit);
      if (p.finite) return;
      size_t first = broken.load();
      while (i < first && !broken.compare_exchange_weak(first, i)) {
      }
    });
    if (broken.load() < n_scored_) return not_finite(depth, broken.load());
    return ok_status();
  }

  Error not_finite(int depth, size_t scored) const {
    return work_error("logits at depth {} are not finite at position {} of the text", depth,
                      window_.first_token + input_of(scored));
  }

  Status run_recording() {
    std::vector<Mat<float>> states(static_cast<size_t>(largest_) + 1);
    keep_state(states[0]);
    for (int depth = 1; depth <= largest_; ++depth) {
      PLUMB_RETURN_IF_ERROR(advance());
      keep_state(states[static_cast<size_t>(depth)]);
    }
    for (int depth = 0; depth <= largest_; ++depth) take_latents(depth, states[static_cast<size_t>(depth)]);
    if (request_->own_halting) keep_halting(states);
    if (request_->depths.front() == 0) {
      PLUMB_RETURN_IF_ERROR(read_logits(states[0]));
      PLUMB_RETURN_IF_ERROR(take_nll(0, 0));
    }
    if (largest_ == 0) return ok_status();
    PLUMB_RETURN_IF_ERROR(read_logits(states[static_cast<size_t>(largest_)]));
    keep_final();
    start_histories(states[0]);
    for (int depth = 1; depth <= largest_; ++depth) {
      PLUMB_RETURN_IF_ERROR(read_logits(states[static_cast<size_t>(depth)]));
      PLUMB_RETURN_IF_ERROR(take_rows(depth, states[static_cast<size_t>(depth)]));
    }
    for (auto& rows : score_.steps) fill_hindsight(rows);
    return ok_status();
  }

  void keep_halting(const std::vector<Mat<float>>& states) {
    score_.halting.resize(n_scored_);
    for (size_t i = 0; i < n_scored_; ++i)
      for (size_t k = 1; k < states.size(); ++k)
        score_.halting[i].add(pass_->model().info(), states[k].view().row_span(input_of(i)));
  }

  void keep_state(Mat<float>& target) const {
    const MatView<const float> state = pass_->state();
    target.resize(state.rows(), state.cols());
    for (size_t r = 0; r < state.rows(); ++r) std::copy(state.row(r), state.row(r) + state.cols(), target.row(r));
  }

  void keep_final() {
    final_shifted_.resize(n_scored_, logits_.cols());
    final_.resize(n_scored_);
    team_->run(n_scored_, [&](size_t i) {
      final_[i] = read_distribution(logits_.view().row_span(input_of(i)), final_shifted_.view().row_span(i));
    });
  }

  void start_histories(MatView<const float> s0) {
    histories_.clear();
    for (size_t i = 0; i < n_scored_; ++i)
      histories_.emplace_back(request_->lags, s0.row_span(input_of(i)).first(model_dim()));
    score_.steps.assign(n_scored_, std::vector<StepRow>(static_cast<size_t>(largest_)));
    score_.lagged.assign(n_scored_, std::vector<Comparison>(static_cast<size_t>(largest_) * request_->lags.size()));
  }

  Status take_rows(int depth, MatView<const float> state) {
    Stopwatch watch(score_.timings[kScalarsTime]);
    const auto listed = std::find(request_->depths.begin(), request_->depths.end(), depth);
    std::vector<double>* nll = nullptr;
    if (listed != request_->depths.end()) {
      nll = &score_.nll[static_cast<size_t>(listed - request_->depths.begin())];
      nll->resize(n_scored_);
    }
    const int gate = pass_->model().info().gate_column;
    const size_t n_lags = request_->lags.size();
    std::atomic<int64_t> broken{-1};
    team_->run(n_scored_, [&](size_t i) {
      thread_local StepScratch scratch;
      const size_t input = input_of(i);
      StepInput step;
      step.step = depth;
      step.state = state.row_span(input).first(model_dim());
      step.logits = logits_.view().row_span(input);
      step.target = target_of(i);
      if (gate >= 0) step.gate = state(input, static_cast<size_t>(gate));
      StepRow& row = score_.steps[i][static_cast<size_t>(depth - 1)];
      row = histories_[i].next(step, scratch, std::span(score_.lagged[i]).subspan(static_cast<size_t>(depth - 1) * n_lags, n_lags));
      const DistributionView last{final_shifted_.view().row_span(i), final_[i].log_z, final_[i].kept_sum, final_[i].kept_count};
      row.kl_final = compare_distributions(last, histories_[i].last_distribution().view()).kl;
      if (nll != nullptr) (*nll)[i] = row.nll;
      if (!row.finite) broken.store(static_cast<int64_t>(i));
    });
    if (broken.load() >= 0) return not_finite(depth, static_cast<size_t>(broken.load()));
    return ok_status();
  }

  void take_latents(int depth, MatView<const float> state) {
    const LatentSelection& want = request_->latents;
    if (!want.wanted) return;
    if (!want.steps.empty() && std::find(want.steps.begin(), want.steps.end(), depth) == want.steps.end()) return;
    for (size_t i = 0; i < n_scored_; ++i) {
      const size_t input = input_of(i);
      const int pos = static_cast<int>(window_.first_token + input);
      if (!want.positions.empty() && std::find(want.positions.begin(), want.positions.end(), pos) == want.positions.end()) continue;
      score_.latents.push_back({input, depth, {state.row(input), state.row(input) + model_dim()}});
    }
  }

  DepthPass* pass_;
  Team* team_;
  std::span<const int32_t> tokens_;
  ScoreWindow window_;
  const ScoreRequest* request_;
  size_t n_scored_;
  int largest_;
  Mat<float> logits_;         // [n_inputs, vocab_size]
  Mat<float> final_shifted_;  // [n_scored, vocab_size] ln p_R, shifted
  std::vector<Distribution> final_;
  std::vector<RowHistory> histories_;
  WindowScore score_;
};

}  // namespace

std::vector<ScoreWindow> plan_windows(size_t n_tokens, size_t window, size_t stride) {
  PLUMB_CHECK(n_tokens >= 2 && window >= 1 && stride >= 1 && stride <= window);
  std::vector<ScoreWindow> windows;
  const size_t n_inputs = n_tokens - 1;
  size_t scored_to = 0;  // inputs before this are done
  for (size_t begin = 0; scored_to < n_inputs; begin += stride) {
    const size_t end = std::min(begin + window, n_inputs);
    if (end <= scored_to) continue;
    windows.push_back({begin, end - begin, scored_to - begin});
    scored_to = end;
  }
  return windows;
}

Result<WindowScore> score_window(DepthPass& pass, const StateSource& states, Team& team,
                                 std::span<const int32_t> tokens, const ScoreWindow& window,
                                 const ScoreRequest& request, SequenceCache* cache) {
  PLUMB_CHECK(tokens.size() == window.n_inputs + 1 && !request.depths.empty());
  PLUMB_RETURN_IF_ERROR(check_tokens(pass.model().info(), tokens.last(1), 0));
  return WindowRun(pass, team, tokens, window, request).run(states, cache);
}

}  // namespace plumb
