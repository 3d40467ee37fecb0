#include "core/decode/wavefront.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "core/decode/think.h"

namespace plumb {
namespace {

constexpr std::array<std::pair<FreezeRule, std::string_view>, 5> kFreezeRules = {{
    {FreezeRule::kLatentDiff, "latent-diff"},
    {FreezeRule::kAcceleration1, "latent-acceleration-1"},
    {FreezeRule::kAcceleration2, "latent-acceleration-2"},
    {FreezeRule::kTokenStability, "token-stability"},
    {FreezeRule::kFixed, "fixed"},
}};

bool is_latent(FreezeRule rule) { return rule != FreezeRule::kTokenStability && rule != FreezeRule::kFixed; }

// Rows that may be appended to, cut and compared: states or embeddings of consecutive positions.
using Rows = std::vector<std::vector<float>>;

Rows rows_of(MatView<const float> mat) {
  Rows rows(mat.rows());
  for (size_t r = 0; r < mat.rows(); ++r) rows[r].assign(mat.row(r), mat.row(r) + mat.cols());
  return rows;
}
void fill_mat(const Rows& rows, Mat<float>& mat, size_t cols) {
  mat.resize(rows.size(), cols);
  for (size_t r = 0; r < rows.size(); ++r) std::copy(rows[r].begin(), rows[r].end(), mat.row(r));
}
// Rows from `begin` on; nothing when there are none.
Rows tail(const Rows& rows, size_t begin) {
  if (begin >= rows.size()) return {};
  return {rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.end()};
}

double norm(std::span<const float> v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(sum);
}
std::vector<float> minus(std::span<const float> a, std::span<const float> b) {
  std::vector<float> d(a.size());
  for (size_t i = 0; i < d.size(); ++i) d[i] = a[i] - b[i];
  return d;
}

Status check_request(const ModelInfo& info, const WavefrontRequest& r, int num_steps) {
  if (!info.random_state)
    return input_error("--wavefront refines drawn latent states; the family \"{}\" has none", info.family);
  if (r.prompt.empty()) return input_error("there is no prompt to continue");
  PLUMB_RETURN_IF_ERROR(check_tokens(info, r.prompt, 0));
  PLUMB_RETURN_IF_ERROR(check_depth(info, num_steps));
  PLUMB_RETURN_IF_ERROR(check_sampler(r.sampler));
  if (r.max_new_tokens < 0) return input_error("--max-new-tokens is {}, expected 0 or more", r.max_new_tokens);
  if (r.inner_steps < 1 || r.inner_steps > 100000)
    return input_error("--inner-steps is {}, expected 1 to 100000", r.inner_steps);
  if (r.headway < 1 || r.headway > 4096) return input_error("--headway is {}, expected 1 to 4096", r.headway);
  if (r.max_wave < 0) return input_error("--max-wave is {}, expected 0 (no limit) or more", r.max_wave);
  if (r.max_wave > 0 && r.max_wave < r.headway)
    return input_error("--max-wave is {}, expected --headway ({}) or more", r.max_wave, r.headway);
  if (!(r.ema_embeds >= 0 && r.ema_embeds < 1))
    return input_error("--ema-embeds is {}, expected a number from 0, below 1", r.ema_embeds);
  if (!(r.state_noise >= 0 && r.state_noise <= 1))
    return input_error("--state-noise is {}, expected a number from 0 to 1", r.state_noise);
  if (!(r.threshold >= 0)) return input_error("--freeze-threshold is {}, expected 0 or more", r.threshold);
  if (r.guess && (*r.guess < 0 || *r.guess >= info.vocab_size))
    return input_error("the guessed token {} is outside the vocabulary [0, {})", *r.guess, info.vocab_size);
  if (!r.full_prefill && r.max_wave > 0 && r.prompt.size() > static_cast<size_t>(r.max_wave))
    return input_error("a prompt of {} tokens does not fit into a wave of {}: raise --max-wave or take the prompt "
                       "in one call first", r.prompt.size(), r.max_wave);
  return ok_status();
}

class Wave {
 public:
  Wave(const RecurrentModel& model, Team& team, const WavefrontRequest& request, int num_steps)
      : model_(&model), team_(&team), request_(&request), num_steps_(num_steps), sampler_(request.sampler),
        workspace_(model.make_workspace(team)) {}

  Result<WavefrontResult> run() {
    const auto begin = std::chrono::steady_clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(); };
    PLUMB_ASSIGN(const auto policy, make_kv_policy(request_->cache, request_->cache_index, info().layers,
                                                   request_->state.seed, std::max(num_steps_, request_->inner_steps)));
    PLUMB_ASSIGN(cache_, model_->make_cache(policy));
    PLUMB_ASSIGN(source_, StateSource::make(request_->state, info(), StateSource::FileRows::kPositions));
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
      const auto at = std::min(static_cast<size_t>(std::max(pos - embeds_pos_, 0)) + i, embeds_.size() - 1);
      std::copy(embeds_[at].begin(), embeds_[at].end(), injected.row(i));
    }
    Batch batch{ids, {{.first_row = 0, .n_rows = n, .first_pos = pos, .sequence = static_cast<uint32_t>(draw_round)}}};
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
    previous_ = states_;
    if (request_->freeze == FreezeRule::kAcceleration1 || request_->freeze == FreezeRule::kAcceleration2) {
      previous_delta_.assign(states_.size(), std::vector<float>(states_[0].size(), 0.0F));
      before_previous_ = previous_delta_;
    }
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
    Mat<float> injected(ids.size(), dim()), state(ids.size(), static_cast<size_t>(info().state_dim));
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
      const Batch body{ids.first(first), {{.first_row = 0, .n_rows = first, .first_pos = pos, .cache = cache_.get()}}};
      PLUMB_RETURN_IF_ERROR(model_->readout(body, *workspace_, state.rows_from(0, first), Readout::kKeep, {}, {}));
    }
    const size_t n = ids.size() - first;
    const Batch end{ids.last(n), {{.first_row = 0, .n_rows = n, .first_pos = pos + static_cast<int>(first), .cache = cache_.get()}}};
    logits_.resize(n, static_cast<size_t>(info().vocab_size));
    PLUMB_RETURN_IF_ERROR(model_->readout(end, *workspace_, state.rows_from(first, n), Readout::kKeep, logits_, {}));
    for (size_t r = 0; r < n; ++r)
      for (const float x : logits_.view().row_span(r))
        if (!std::isfinite(x))
          return work_error("logits are not finite at position {}, wavefront round {}", end.groups[0].first_pos + static_cast<int>(r), round_);
    return ok_status();
  }

  bool wants_more() const {
    return static_cast<int64_t>(frozen_.size() - request_->prompt.size()) < request_->max_new_tokens &&
           (info().max_positions == 0 || current_.size() <= static_cast<size_t>(info().max_positions));
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
    fill_mat(states_, state, static_cast<size_t>(info().state_dim));
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
    wave_c_ = c;
    return freeze(c);
  }

  void average_embeds(Mat<float>& embeds, int c) {
    const double alpha = request_->ema_embeds;
    if (alpha > 0) {
      const auto keep = static_cast<float>(1 - alpha), add = static_cast<float>(alpha);
      const Rows matching = tail(old_embeds_, static_cast<size_t>(c - old_c_));
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
      for (size_t j = 0; j < states_[r].size(); ++j) states_[r][j] = states_[r][j] * keep + fresh[r][j] * add;
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
    for (size_t p = 0; p < current_.size() && p + 1 < next.size(); ++p) stable_[p] += current_[p] == next[p] ? 1 : 0;
    for (int i = 1; i < request_->headway; ++i) next.push_back(guess(next.size()));
    current_ = std::move(next);
  }

  int32_t guess(size_t position) const {
    if (request_->guess) return *request_->guess;
    return static_cast<int32_t>(uniform_below({.seed = request_->sampler.seed, .stream = RngStream::kWavefront,
                                               .position = static_cast<uint32_t>(position), .step = static_cast<uint32_t>(round_)},
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
    if (request_->on_frozen && frozen_.size() > had) request_->on_frozen(std::span(frozen_).subspan(had));
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
        // `headway` even where the front stands: as published, nothing would ever move again.
        PLUMB_RETURN_IF_ERROR(forget(wave - request_->headway - headway_now_));
        states_ = tail(states_, static_cast<size_t>(request_->headway));
        const auto n = std::min(static_cast<std::ptrdiff_t>(request_->headway), static_cast<std::ptrdiff_t>(newest_.size()));
        frozen_.insert(frozen_.end(), newest_.begin(), newest_.begin() + n);
        if (request_->on_frozen) request_->on_frozen(std::span(frozen_).last(static_cast<size_t>(n)));
        return ok_status();
      }
      default: break;
    }
    const int last = last_still(c);
    if (last < 0) return forget(wave - headway_now_);
    k_ = c + last + 1;
    return freeze_to(k_, c);
  }

  // The last index of the compared rows whose measure is below the threshold; -1: none. Rows are
  // lined up as the published code does it, where the states kept from the round before begin at the
  // front of this one's wave and are shifted by the front's last move once more.
  int last_still(int c) {
    int last = -1;
    const auto judge = [&](size_t row, double moved, double size) {
      if (moved / size < request_->threshold) last = static_cast<int>(row);
    };
    if (request_->freeze == FreezeRule::kAcceleration2) {
      const int begin = std::max({c, old_c_, older_c_});
      const int end = std::min({c + static_cast<int>(states_.size()), old_c_ + static_cast<int>(previous_.size()),
                                older_c_ + static_cast<int>(before_previous_.size())});
      for (int p = begin; p < end; ++p) {
        const auto& now = states_[static_cast<size_t>(p - c)];
        const auto& then = previous_[static_cast<size_t>(p - old_c_)];
        const auto& before = before_previous_[static_cast<size_t>(p - older_c_)];
        judge(static_cast<size_t>(p - begin), norm(minus(minus(now, then), minus(then, before))), norm(now) + 1e-6);
      }
      return last;
    }
    const Rows matching = tail(previous_, static_cast<size_t>(c - old_c_));
    const size_t n = std::min(matching.size(), states_.size());
    Rows deltas(n);
    for (size_t r = 0; r < n; ++r) deltas[r] = minus(states_[r], matching[r]);
    if (request_->freeze == FreezeRule::kLatentDiff) {
      for (size_t r = 0; r < n; ++r) judge(r, norm(deltas[r]), norm(states_[r]));
      return last;
    }
    for (size_t r = 0; r < std::min(n, previous_delta_.size()); ++r)
      judge(r, norm(minus(deltas[r], previous_delta_[r])), norm(states_[r]));
    previous_delta_ = std::move(deltas);
    return last;
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
    if (is_latent(request_->freeze)) {
      before_previous_ = std::move(previous_);
      older_c_ = old_c_;
      previous_ = states_;
    }
    old_c_ = wave_c_;
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
  Rows states_;                                        // from position cache length on
  Rows previous_, before_previous_, previous_delta_;   // of the rounds before
  Rows embeds_, old_embeds_;
  int embeds_pos_ = 0;
  int old_c_ = 0, older_c_ = 0, wave_c_ = 0;           // where the waves of the rounds before began
  int k_ = 0, old_k_ = 0, round_ = 0, headway_now_ = 1;
  std::vector<int> counters_, stable_;                 // by position: steps had, rounds unchanged
  Mat<float> logits_;
  WavefrontResult result_;
};

}  // namespace

std::string_view freeze_rule_name(FreezeRule rule) {
  for (const auto& [value, name] : kFreezeRules)
    if (value == rule) return name;
  return "";
}

std::optional<FreezeRule> parse_freeze_rule(std::string_view name) {
  for (const auto& [value, text] : kFreezeRules)
    if (text == name) return value;
  return std::nullopt;
}

std::string freeze_rule_names() {
  std::string names;
  for (const auto& [value, text] : kFreezeRules) names += (names.empty() ? "" : ", ") + std::string(text);
  return names;
}

Result<WavefrontResult> generate_wavefront(const RecurrentModel& model, Team& team, const WavefrontRequest& request) {
  const int num_steps = request.num_steps >= 0 ? request.num_steps : model.info().default_steps;
  PLUMB_RETURN_IF_ERROR(check_request(model.info(), request, num_steps));
  return Wave(model, team, request, num_steps).run();
}

}  // namespace plumb
