#include "core/decode/wavefront.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/decode/wave_rows.h"

namespace plumb {
namespace {

bool is_latent(FreezeRule rule) {
  return rule != FreezeRule::kTokenStability && rule != FreezeRule::kFixed;
}

class Wave {
 public:
  Wave(const RecurrentModel& model, Team& team, const WavefrontRequest& request, int num_steps)
      : model_(&model),
        team_(&team),
        request_(&request),
        num_steps_(num_steps),
        sampler_(request.sampler),
        workspace_(model.make_workspace(team)),
        judge_(request.freeze, request.threshold) {}

  Result<WavefrontResult> run() {
    const auto begin = std::chrono::steady_clock::now();
    const auto elapsed = [&] {
      return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
          .count();
    };
    PLUMB_ASSIGN(const auto policy,
                 make_kv_policy(request_->cache, request_->cache_index, info().layers,
                                request_->state.seed, std::max(num_steps_, request_->inner_steps)));
    PLUMB_ASSIGN(cache_, model_->make_cache(policy));
    cache_->expect(request_->prompt.size() + static_cast<size_t>(request_->max_new_tokens));
    PLUMB_ASSIGN(source_,
                 StateSource::make(request_->state, info(), StateSource::FileRows::kPositions));
    PLUMB_RETURN_IF_ERROR(start());
    stats().prefill_ms = elapsed();
    while (wants_more()) {
      PLUMB_RETURN_IF_ERROR(round());
      if (stops()) break;
      remember();
      ++round_;
    }
    stats().rounds = round_;
    stats().sequence_length = static_cast<int>(current_.size());
    stats().kv_bytes = cache_->bytes();
    stats().elapsed_ms = elapsed();
    counters_.resize(frozen_.size());
    stable_.resize(frozen_.size());
    stats().steps_by_position = counters_;
    stats().stable_rounds_by_position = stable_;
    result_.tokens = frozen_;
    return std::move(result_);
  }

 private:
  const ModelInfo& info() const { return model_->info(); }
  WavefrontStats& stats() { return result_.stats; }
  size_t dim() const { return static_cast<size_t>(info().model_dim); }
  // States of positions [pos, pos + n) as drawn for this round; 0: the first draws.
  Result<Rows> draw(int pos, size_t n, int draw_round) const {
    std::vector<int32_t> ids(n, 0);
    Mat<float> injected(n, dim()), state(n, static_cast<size_t>(info().state_dim));
    // Schemes that look at the prelude output see the newest.
    for (size_t i = 0; i < n && !embeds_.empty(); ++i) {
      const auto at =
          std::min(static_cast<size_t>(std::max(pos - embeds_pos_, 0)) + i, embeds_.size() - 1);
      std::copy(embeds_[at].begin(), embeds_[at].end(), injected.row(i));
    }
    Batch batch{ids,
                {{.first_row = 0,
                  .n_rows = n,
                  .first_pos = pos,
                  .sequence = static_cast<uint32_t>(draw_round)}}};
    PLUMB_RETURN_IF_ERROR(source_->fill(batch, injected, state));
    return rows_of(state);
  }

  int32_t pick(std::span<const float> logits, uint32_t position) {
    return sampler_.pick(logits, frozen_, 0, position);
  }

  Status start() {
    current_ = request_->prompt;
    frozen_ = current_;
    if (request_->full_prefill) {
      PLUMB_RETURN_IF_ERROR(prefill());
      PLUMB_ASSIGN(states_, draw(static_cast<int>(current_.size()) - 1, 1, 0));
    } else {
      PLUMB_ASSIGN(states_, draw(0, current_.size(), 0));
    }
    judge_.start(states_);
    if (request_->ema_embeds > 0) {
      Batch batch{current_, {{.first_row = 0, .n_rows = current_.size()}}};
      Mat<float> embeds(current_.size(), dim());
      PLUMB_RETURN_IF_ERROR(model_->prelude(batch, *workspace_, embeds));
      old_embeds_ = rows_of(embeds);
    }
    return ok_status();
  }

  Status prefill() {
    const std::vector<int32_t>& ids = request_->prompt;
    cache_->extend(ids);
    Batch batch{ids, {{.first_row = 0, .n_rows = ids.size(), .cache = cache_.get()}}};
    Mat<float> injected(ids.size(), dim()),
        state(ids.size(), static_cast<size_t>(info().state_dim));
    PLUMB_RETURN_IF_ERROR(model_->prelude(batch, *workspace_, injected));
    PLUMB_RETURN_IF_ERROR(source_->fill(batch, injected, state));
    for (int i = 0; i < num_steps_; ++i) {
      batch.groups[0].step = i;
      PLUMB_RETURN_IF_ERROR(model_->step(batch, *workspace_, injected, state));
    }
    PLUMB_RETURN_IF_ERROR(read(ids, 0, state, ids.size() - 1));
    ++stats().core_passes;
    stats().token_forwards += static_cast<int64_t>(ids.size());
    const int32_t token = pick(logits_.view().row_span(0), static_cast<uint32_t>(frozen_.size()));
    frozen_.push_back(token);
    if (request_->on_frozen) request_->on_frozen(std::span(frozen_).last(1));
    current_ = frozen_;
    counters_.assign(frozen_.size(), num_steps_);
    return ok_status();
  }

  // Logits of rows `first`.. of positions pos..; earlier rows only leave their coda entries.
  Status read(std::span<const int32_t> ids, int pos, MatView<const float> state, size_t first) {
    if (first > 0) {
      const Batch body{
          ids.first(first),
          {{.first_row = 0, .n_rows = first, .first_pos = pos, .cache = cache_.get()}}};
      PLUMB_RETURN_IF_ERROR(
          model_->readout(body, *workspace_, state.rows_from(0, first), Readout::kKeep, {}, {}));
    }
    const size_t n = ids.size() - first;
    const Batch end{ids.last(n),
                    {{.first_row = 0,
                      .n_rows = n,
                      .first_pos = pos + static_cast<int>(first),
                      .cache = cache_.get()}}};
    logits_.resize(n, static_cast<size_t>(info().vocab_size));
    if (n == 0) return ok_status();
    PLUMB_RETURN_IF_ERROR(
        model_->readout(end, *workspace_, state.rows_from(first, n), Readout::kKeep, logits_, {}));
    for (size_t r = 0; r < n; ++r)
      for (const float x : logits_.view().row_span(r))
        if (!std::isfinite(x))
          return work_error("logits are not finite at position {}, wavefront round {}",
                            end.groups[0].first_pos + static_cast<int>(r), round_);
    return ok_status();
  }

  bool wants_more() const {
    return static_cast<int64_t>(frozen_.size() - request_->prompt.size()) <
               request_->max_new_tokens &&
           (info().max_positions == 0 ||
            current_.size() <= static_cast<size_t>(info().max_positions));
  }

  Status round() {
    const int c = cache_->length();
    const size_t n = states_.size();
    PLUMB_CHECK(current_.size() == static_cast<size_t>(c) + n);
    const std::vector<int32_t> ids(current_.begin() + c, current_.end());
    cache_->extend(ids);
    Batch batch{ids, {{.first_row = 0, .n_rows = n, .first_pos = c, .cache = cache_.get()}}};
    Mat<float> embeds(n, dim()), state;
    PLUMB_RETURN_IF_ERROR(model_->prelude(batch, *workspace_, embeds));
    average_embeds(embeds, c);
    PLUMB_RETURN_IF_ERROR(mix_noise(c));
    fill_mat(states_, static_cast<size_t>(info().state_dim), state);
    for (int i = 0; i < request_->inner_steps; ++i) {
      batch.groups[0].step = i;
      PLUMB_RETURN_IF_ERROR(model_->step(batch, *workspace_, embeds, state));
    }
    grow(counters_, current_.size());
    for (size_t i = 0; i < n; ++i) counters_[static_cast<size_t>(c) + i] += request_->inner_steps;
    stats().core_passes += request_->inner_steps;
    stats().token_forwards += int64_t{request_->inner_steps} * static_cast<int64_t>(n);
    states_ = rows_of(state);

    const auto first = static_cast<size_t>(std::max(static_cast<int>(frozen_.size()) - 1 - c, 0));
    PLUMB_RETURN_IF_ERROR(read(ids, c, state, first));
    extend_text();
    PLUMB_RETURN_IF_ERROR(extend_states(c));
    wave_begin_ = c;
    return freeze(c);
  }

  void average_embeds(Mat<float>& embeds, int c) {
    const double alpha = request_->ema_embeds;
    if (alpha > 0) {
      const auto keep = static_cast<float>(1 - alpha), add = static_cast<float>(alpha);
      const Rows matching = tail(old_embeds_, static_cast<size_t>(c - judge_.last_begin()));
      for (size_t r = 0; r < embeds.rows(); ++r)
        for (size_t j = 0; j < embeds.cols(); ++j) {
          float x = embeds(r, j) * keep;
          if (r < matching.size()) x += matching[r][j] * add;
          embeds(r, j) = x;
        }
      old_embeds_ = rows_of(embeds);
    }
    embeds_ = rows_of(embeds);
    embeds_pos_ = c;
  }

  Status mix_noise(int c) {
    const double beta = request_->state_noise;
    if (beta == 0) return ok_status();
    PLUMB_ASSIGN(const Rows fresh, draw(c, states_.size(), 1 + round_));
    grow(counters_, static_cast<size_t>(c) + states_.size());
    for (size_t r = 0; r < states_.size(); ++r) {
      const int had = counters_[static_cast<size_t>(c) + r];
      const auto share = static_cast<float>(request_->dampened_noise ? beta / (1 + had) : beta);
      const float keep = request_->sqrt_mixer ? std::sqrt(std::max(1 - share, 0.0F)) : 1 - share;
      const float add = request_->sqrt_mixer ? std::sqrt(share) : share;
      for (size_t j = 0; j < states_[r].size(); ++j)
        states_[r][j] = states_[r][j] * keep + fresh[r][j] * add;
    }
    return ok_status();
  }

  // current = frozen, then a new token for every position after it, then guesses.
  void extend_text() {
    std::vector<int32_t> next = frozen_;
    for (size_t r = 0; r < logits_.rows(); ++r)
      next.push_back(pick(logits_.view().row_span(r), static_cast<uint32_t>(frozen_.size() + r)));
    newest_.assign(next.begin() + static_cast<std::ptrdiff_t>(frozen_.size()), next.end());
    grow(stable_, current_.size());
    for (size_t p = 0; p < current_.size() && p + 1 < next.size(); ++p)
      stable_[p] += current_[p] == next[p] ? 1 : 0;
    for (int i = 1; i < request_->headway; ++i) next.push_back(guess(next.size()));
    current_ = std::move(next);
  }

  int32_t guess(size_t position) const {
    if (request_->guess) return *request_->guess;
    return static_cast<int32_t>(uniform_below({.seed = request_->sampler.seed,
                                               .stream = RngStream::kWavefront,
                                               .position = static_cast<uint32_t>(position),
                                               .step = static_cast<uint32_t>(round_)},
                                              0, static_cast<uint64_t>(info().vocab_size)));
  }

  Status extend_states(int c) {
    const auto h = static_cast<size_t>(request_->headway);
    const size_t before = states_.size();
    Rows fresh;
    if (request_->continuous_compute && before >= h) {
      fresh = tail(states_, before - h);
    } else {
      PLUMB_ASSIGN(fresh, draw(c + static_cast<int>(before), h, 0));
    }
    states_.insert(states_.end(), fresh.begin(), fresh.end());
    headway_now_ = request_->headway;
    const auto limit = static_cast<size_t>(request_->max_wave);
    if (limit == 0 || states_.size() <= limit) return ok_status();
    // A standing wave: the front stays where it is until something freezes.
    headway_now_ = static_cast<int>(limit) - static_cast<int>(before);
    states_.resize(limit);
    current_.resize(std::min(current_.size(), static_cast<size_t>(c) + limit));
    ++stats().standing_waves;
    return ok_status();
  }

  // Freezes up to (not including) position k; the cache keeps k - 1 positions, so that the last
  // frozen token is the first of the next wave.
  Status freeze_to(int k, int c) {
    PLUMB_RETURN_IF_ERROR(forget(static_cast<int>(current_.size()) - headway_now_ - k + 1));
    states_ = tail(states_, static_cast<size_t>(k - c - 1));
    const size_t had = frozen_.size();
    frozen_.assign(current_.begin(), current_.begin() + k);
    if (request_->on_frozen && frozen_.size() > had)
      request_->on_frozen(std::span(frozen_).subspan(had));
    return ok_status();
  }
  Status forget(int n) {
    stats().cache_clears += n;
    return cache_->truncate(cache_->length() - n);
  }

  Status freeze(int c) {
    const int patience = num_steps_ / request_->inner_steps;
    const auto wave = static_cast<int>(states_.size());
    switch (request_->freeze) {
      case FreezeRule::kTokenStability: {
        k_ = 0;
        for (size_t p = 0; p < stable_.size(); ++p)
          if (stable_[p] > patience) k_ = static_cast<int>(p) + 1;
        return k_ > c ? freeze_to(k_, c) : forget(wave - headway_now_);
      }
      case FreezeRule::kFixed: {
        if (round_ <= patience) return forget(wave - headway_now_);
        // `headway` tokens even where the front stands (as published, nothing would ever move
        // again), but no more than were computed.
        const int n =
            std::min({request_->headway, wave - headway_now_, static_cast<int>(newest_.size())});
        PLUMB_RETURN_IF_ERROR(forget(wave - headway_now_ - n));
        states_ = tail(states_, static_cast<size_t>(n));
        frozen_.insert(frozen_.end(), newest_.begin(), newest_.begin() + n);
        if (request_->on_frozen)
          request_->on_frozen(std::span(frozen_).last(static_cast<size_t>(n)));
        return ok_status();
      }
      default:
        break;
    }
    const int last = judge_.last_still(states_, c);
    if (last < 0) return forget(wave - headway_now_);
    k_ = c + last + 1;
    return freeze_to(k_, c);
  }

  bool stops() const {
    if (round_ > request_->max_rounds) return true;
    if (round_ <= num_steps_) return false;
    size_t from = 0, to = frozen_.size();
    if (is_latent(request_->freeze)) {
      from = static_cast<size_t>(old_k_);
      to = static_cast<size_t>(k_);
    } else {
      from = to - std::min(to, static_cast<size_t>(request_->headway));
    }
    const auto& stops = request_->stop_ids;
    for (size_t p = from; p < std::min(to, frozen_.size()); ++p)
      if (std::find(stops.begin(), stops.end(), frozen_[p]) != stops.end()) return true;
    return false;
  }

  void remember() {
    judge_.remember(states_, wave_begin_);
    old_k_ = k_;
  }

  static void grow(std::vector<int>& counts, size_t size) {
    if (counts.size() < size) counts.resize(size, 0);
  }

  const RecurrentModel* model_;
  Team* team_;
  const WavefrontRequest* request_;
  int num_steps_;
  Sampler sampler_;
  std::unique_ptr<Workspace> workspace_;
  std::unique_ptr<SequenceCache> cache_;
  std::optional<StateSource> source_;
  std::vector<int32_t> frozen_, current_, newest_;
  Rows states_;  // from position cache length on
  Rows embeds_, old_embeds_;
  int embeds_pos_ = 0;
  FreezeJudge judge_;
  int wave_begin_ = 0;  // position of the first state
  int k_ = 0, old_k_ = 0, round_ = 0, headway_now_ = 1;
  std::vector<int> counters_, stable_;  // by position: steps had, rounds unchanged
  Mat<float> logits_;
  WavefrontResult result_;
};

}  // namespace

Result<WavefrontResult> generate_wavefront(const RecurrentModel& model, Team& team,
                                           const WavefrontRequest& request) {
  const int num_steps = request.num_steps >= 0 ? request.num_steps : model.info().default_steps;
  PLUMB_RETURN_IF_ERROR(check_wavefront(model.info(), request, num_steps));
  return Wave(model, team, request, num_steps).run();
}

}  // namespace plumb
