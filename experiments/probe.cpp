#include "experiments/probe.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/decode/segments.h"
#include "core/model/families.h"

namespace plumb {
namespace {

constexpr int kSegmentLen = 256, kWindow = 1024;
constexpr int kMaxRounds = 8;
constexpr size_t kMaxRefusedKept = 20;

using Choice = std::vector<size_t>;

struct Score {
  bool runs = false;
  std::vector<float> nll;  // by token
  double nats = 0;
};

// b - a by token: mean and its standard error.
struct Paired {
  double mean = 0, error = 0;
};
Paired paired(const Score& a, const Score& b) {
  const auto n = static_cast<double>(a.nll.size());
  double sum = 0, squares = 0;
  for (size_t i = 0; i < a.nll.size(); ++i) {
    const double d = static_cast<double>(b.nll[i]) - a.nll[i];
    sum += d;
    squares += d * d;
  }
  Paired p;
  p.mean = sum / n;
  p.error = n > 1 ? std::sqrt(std::max(0.0, squares / n - p.mean * p.mean) / (n - 1)) : 0;
  return p;
}

// Is `b` worse than `a` by more than chance?
bool clearly_worse(const Score& a, const Score& b) {
  const Paired p = paired(a, b);
  return p.mean > 2 * p.error && p.mean > kProbeTie;
}

// "a.b.c" is nested.
void set_field(Json& config, const std::string& field, const Json& value) {
  Json* at = &config;
  size_t from = 0;
  for (size_t dot = field.find('.'); dot != std::string::npos; dot = field.find('.', from)) {
    at = &(*at)[field.substr(from, dot - from)];
    from = dot + 1;
  }
  (*at)[field.substr(from)] = value;
}

class Search {
 public:
  Search(const Checkpoint& checkpoint, Team& team, const ProbeRequest& request,
         const std::function<void(size_t, double)>& progress)
      : checkpoint_(&checkpoint), team_(&team), request_(&request), progress_(progress) {}

  Result<ProbeResult> run() {
    PLUMB_RETURN_IF_ERROR(prepare());
    const Choice assumed(n(), 0);
    PLUMB_ASSIGN(const Score* first, score(assumed));
    if (!first->runs)
      return input_error("the assumed switches cannot run: {}", result_.refused.front());
    PLUMB_ASSIGN(Choice winner, result_.n_combinations <= request_->budget
                                    ? all(assumed)
                                    : by_coordinates(assumed));
    PLUMB_ASSIGN(winner, prefer_assumed(std::move(winner)));
    PLUMB_RETURN_IF_ERROR(judge(winner));
    result_.method = describe();
    return std::move(result_);
  }

 private:
  size_t n() const { return result_.switches.size(); }
  size_t n_values(size_t i) const { return result_.switches[i].values.size(); }
  size_t tried() const { return scores_.size(); }
  bool spent() const { return tried() >= static_cast<size_t>(request_->budget); }

  Status prepare();
  Status plan_windows_of(const ModelInfo& info);
  Result<Json> config_of(const Choice& choice) const;
  Result<const Score*> score(const Choice& choice);
  Result<Score> measure(const RecurrentModel& model);
  Result<Choice> all(const Choice& assumed);
  Result<Choice> by_coordinates(Choice at);
  Result<Choice> prefer_assumed(Choice best);
  Result<bool> improve_one(Choice& at);
  Result<bool> improve_two(Choice& at);
  Result<bool> take_better(Choice& at, const std::vector<Choice>& others);
  Status judge(const Choice& winner);
  void rank(const Choice& winner);
  std::string describe() const;

  const Checkpoint* checkpoint_;
  Team* team_;
  const ProbeRequest* request_;
  const std::function<void(size_t, double)>& progress_;
  Json base_;
  std::vector<ScoreWindow> windows_;
  std::map<Choice, Score> scores_;
  bool pairs_done_ = false;
  double best_ = INFINITY;
  ProbeResult result_;
};

Status Search::prepare() {
  base_ = checkpoint_->config();
  PLUMB_ASSIGN(const auto model, load_model(*checkpoint_, request_->precision, *team_));
  const ModelInfo& info = model->info();
  std::vector<OpenSwitch> open = info.open_switches;
  for (const OpenSwitch& asked : request_->switches) {
    const auto same = std::find_if(open.begin(), open.end(),
                                   [&](const OpenSwitch& s) { return s.field == asked.field; });
    if (same == open.end())
      open.push_back(asked);
    else
      *same = asked;
  }
  for (OpenSwitch& one : open)
    (one.values.size() > 1 ? result_.switches : result_.unsearched).push_back(std::move(one));
  if (result_.switches.empty())
    return input_error(
        "{}: config and tensors leave no switch of family {} open; --switch FIELD=A,B names one to "
        "vary",
        checkpoint_->display_name(), info.family);
  // Families that take a config whole or not at all get it whole.
  if (base_.is_null()) {
    PLUMB_ASSIGN(base_, minimal_config(*checkpoint_));
  }
  result_.n_combinations = 1;
  for (const OpenSwitch& one : result_.switches)
    result_.n_combinations *= static_cast<double>(one.values.size());
  return plan_windows_of(info);
}

Status Search::plan_windows_of(const ModelInfo& info) {
  if (request_->window < 0 || request_->segment_len < 0 || request_->budget < 1)
    return input_error(
        "--window {}, --segment-len {} and --budget {}: expected at least 0, 0 and 1",
        request_->window, request_->segment_len, request_->budget);
  if (info.segments) {
    PLUMB_ASSIGN(result_.segment_len, resolve_segment_len(info, request_->segment_len));
    if (result_.segment_len == 0) result_.segment_len = kSegmentLen;
  } else {
    PLUMB_ASSIGN(result_.segment_len, resolve_segment_len(info, request_->segment_len));
  }
  int window = request_->window;
  if (window == 0) {
    window = std::max(kWindow, 4 * result_.segment_len);
    for (const int sliding : info.block_windows) window = std::max(window, 3 * sliding);
    if (info.max_positions > 0) window = std::min(window, info.max_positions);
  }
  if (info.max_positions > 0 && window > info.max_positions)
    return input_error("--window {} exceeds the {} positions of {}", window, info.max_positions,
                       checkpoint_->display_name());
  if (request_->ids.size() < 2)
    return input_error("the text has {} token(s), expected at least 2 so that one can be predicted",
                       request_->ids.size());
  result_.window = window;
  result_.n_tokens = request_->ids.size() - 1;
  windows_ =
      plan_windows(request_->ids.size(), static_cast<size_t>(window), static_cast<size_t>(window));
  PLUMB_RETURN_IF_ERROR(
      check_tokens(info, std::span(request_->ids).last(1), 0));  // fed to no window
  return ok_status();
}

Result<Json> Search::config_of(const Choice& choice) const {
  Json config = base_;
  for (size_t i = 0; i < n(); ++i) {
    PLUMB_ASSIGN(const Json value,
                 parse_json(result_.switches[i].values[choice[i]], result_.switches[i].field));
    set_field(config, result_.switches[i].field, value);
  }
  return config;
}

Result<const Score*> Search::score(const Choice& choice) {
  if (const auto known = scores_.find(choice); known != scores_.end()) return &known->second;
  PLUMB_ASSIGN(Json config, config_of(choice));
  PLUMB_ASSIGN(const Checkpoint candidate,
               checkpoint_->with_config(std::move(config), "the probed config"));
  auto model = load_model(candidate, request_->precision, *team_);
  Score score;
  if (model.ok()) {
    auto measured = measure(*model.value());
    // Numbers that overflow are as good as a refusal; anything else is a failure of ours.
    if (measured.ok())
      score = std::move(measured).value();
    else if (result_.refused.size() < kMaxRefusedKept)
      result_.refused.push_back(measured.error().message);
  } else if (result_.refused.size() < kMaxRefusedKept) {
    result_.refused.push_back(model.error().message);
  }
  if (score.runs) best_ = std::min(best_, score.nats);
  const Score* kept = &(scores_[choice] = std::move(score));
  if (progress_) progress_(tried(), best_);
  return kept;
}

Result<Score> Search::measure(const RecurrentModel& model) {
  const ModelInfo& info = model.info();
  PLUMB_ASSIGN(const StateSource states,
               StateSource::make({}, info, StateSource::FileRows::kPositions));
  ScoreRequest request;
  request.own_halting = info.halts_itself;
  request.depths = {info.halts_itself ? info.max_steps : info.default_steps};
  DepthPass pass(model, *team_);
  Score score;
  for (const ScoreWindow& window : windows_) {
    const std::span<const int32_t> tokens(request_->ids.data() + window.first_token,
                                          window.n_inputs + 1);
    PLUMB_ASSIGN(const WindowScore part, score_segments(pass, states, *team_, tokens, window,
                                                        request, result_.segment_len));
    score.nll.insert(score.nll.end(), part.nll[0].begin(), part.nll[0].end());
  }
  score.runs = true;
  score.nats = std::accumulate(score.nll.begin(), score.nll.end(), 0.0) /
               static_cast<double>(score.nll.size());
  return score;
}

Result<Choice> Search::all(const Choice& assumed) {
  Choice at = assumed, best = assumed;
  for (bool more = true; more;) {
    PLUMB_ASSIGN(const Score* here, score(at));
    if (here->runs && here->nats < scores_.at(best).nats) best = at;
    more = false;
    for (size_t i = 0; i < n() && !more; ++i) {
      if (++at[i] < n_values(i))
        more = true;
      else
        at[i] = 0;
    }
  }
  return best;
}

// Back to what is assumed, switch by switch, wherever that is as good.
Result<Choice> Search::prefer_assumed(Choice best) {
  const double limit = scores_.at(best).nats + kProbeTie;
  for (size_t i = 0; i < n(); ++i) {
    if (best[i] == 0) continue;
    Choice plain = best;
    plain[i] = 0;
    PLUMB_ASSIGN(const Score* other, score(plain));
    if (other->runs && other->nats <= limit) best = plain;
  }
  return best;
}

Result<Choice> Search::by_coordinates(Choice at) {
  for (int round = 0; round < kMaxRounds && !spent(); ++round) {
    PLUMB_ASSIGN(const bool one, improve_one(at));
    if (one) continue;
    PLUMB_ASSIGN(const bool two, improve_two(at));
    if (!two) break;
  }
  return at;
}

std::string Search::describe() const {
  if (result_.n_combinations <= request_->budget)
    return fmt::format("all {} combinations were tried", result_.n_combinations);
  const std::string how =
      pairs_done_
          ? "until nothing improved, then every pair of switches around the winner; changes of "
            "three and more"
          : fmt::format(
                "and pairs of them, until --budget {} was spent; other changes of two and more",
                request_->budget);
  return fmt::format(
      "{} of {} combinations were tried: one switch at a time to its best value {} switches at "
      "once were not searched",
      tried(), result_.n_combinations, how);
}

// The best of `others`, if it is better than what we have.
Result<bool> Search::take_better(Choice& at, const std::vector<Choice>& others) {
  PLUMB_ASSIGN(const Score* here, score(at));
  const Choice* best = nullptr;
  double lowest = here->nats - kProbeTie;
  for (const Choice& other : others) {
    if (spent() && !scores_.contains(other)) continue;
    PLUMB_ASSIGN(const Score* there, score(other));
    if (!there->runs || !(there->nats < lowest)) continue;
    lowest = there->nats;
    best = &other;
  }
  if (best == nullptr) return false;
  at = *best;
  return true;
}

Result<bool> Search::improve_one(Choice& at) {
  bool any = false;
  for (size_t i = 0; i < n(); ++i) {
    std::vector<Choice> others;
    for (size_t v = 0; v < n_values(i); ++v) {
      if (v == at[i]) continue;
      others.push_back(at);
      others.back()[i] = v;
    }
    PLUMB_ASSIGN(const bool better, take_better(at, others));
    any = any || better;
  }
  return any;
}

Result<bool> Search::improve_two(Choice& at) {
  for (size_t i = 0; i < n(); ++i) {
    for (size_t j = i + 1; j < n(); ++j) {
      std::vector<Choice> others;
      for (size_t v = 0; v < n_values(i); ++v)
        for (size_t w = 0; w < n_values(j); ++w) {
          if (v == at[i] || w == at[j]) continue;
          others.push_back(at);
          others.back()[i] = v;
          others.back()[j] = w;
        }
      PLUMB_ASSIGN(const bool better, take_better(at, others));
      if (better) return true;
      if (spent()) return false;
    }
  }
  pairs_done_ = true;
  return false;
}

Status Search::judge(const Choice& winner) {
  const Score& best = scores_.at(winner);
  for (size_t i = 0; i < n(); ++i) {
    ProbeVerdict verdict{.decided = true, .no_effect = true, .margin = INFINITY};
    for (size_t v = 0; v < n_values(i); ++v) {
      if (v == winner[i]) continue;
      Choice other = winner;
      other[i] = v;
      PLUMB_ASSIGN(const Score* there, score(other));
      if (!there->runs) continue;
      const Paired p = paired(best, *there);
      verdict.no_effect = verdict.no_effect && there->nll == best.nll;
      verdict.decided = verdict.decided && clearly_worse(best, *there);
      verdict.margin = std::min(verdict.margin, p.mean);
    }
    result_.verdicts.push_back(verdict);
  }
  rank(winner);
  PLUMB_ASSIGN(Json config, config_of(winner));
  PLUMB_ASSIGN(const Checkpoint chosen,
               checkpoint_->with_config(std::move(config), "the probed config"));
  PLUMB_ASSIGN(result_.config, complete_config(chosen));
  return ok_status();
}

void Search::rank(const Choice& winner) {
  std::vector<std::pair<const Choice*, const Score*>> order;
  for (const auto& [choice, score] : scores_)
    if (score.runs) order.emplace_back(&choice, &score);
  const auto changed = [](const Choice& choice) {
    return static_cast<int>(
        std::count_if(choice.begin(), choice.end(), [](size_t v) { return v != 0; }));
  };
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return std::pair(a.second->nats, changed(*a.first)) <
           std::pair(b.second->nats, changed(*b.first));
  });
  for (const auto& [choice, score] : order) {
    const Paired p = paired(*order.front().second, *score);
    if (*choice == winner) result_.winner = result_.rows.size();
    result_.rows.push_back({*choice, score->nats, p.mean, p.error, changed(*choice)});
  }
}

}  // namespace

Result<ProbeResult> run_probe(const Checkpoint& checkpoint, Team& team, const ProbeRequest& request,
                              const std::function<void(size_t, double)>& progress) {
  return Search(checkpoint, team, request, progress).run();
}

Result<OpenSwitch> parse_switch(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
    return input_error("--switch \"{}\" is not FIELD=VALUE,VALUE,...", text);
  OpenSwitch result{text.substr(0, equals), {}};
  for (size_t from = equals + 1; from <= text.size();) {
    const size_t comma = std::min(text.find(',', from), text.size());
    const std::string item = text.substr(from, comma - from);
    if (item.empty()) return input_error("--switch \"{}\" has an empty value", text);
    const Json value = Json::parse(item, nullptr, false);
    const bool plain =
        !value.is_discarded() && (value.is_number() || value.is_boolean() || value.is_null());
    result.values.push_back(plain ? value.dump() : Json(item).dump());
    from = comma + 1;
  }
  return result;
}

}  // namespace plumb
