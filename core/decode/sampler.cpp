#include "core/decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

namespace plumb {
namespace {

// The reference's limits of its n-gram penalty.
constexpr size_t kDryContext = 128, kDryMatch = 32;

}  // namespace

const char* sampler_rules_name(SamplerRules rules) {
  return rules == SamplerRules::kRaven ? "raven" : "usual";
}

SamplerOptions family_sampler(const ModelInfo& info) {
  SamplerOptions options;
  if (info.family.starts_with("raven")) options.rules = SamplerRules::kRaven;
  if (info.family == "act") options.temperature = 0.8;
  if (info.family == "crowfeather") {
    options.temperature = 0.8;
    options.top_p = 0.9;
    options.repetition_penalty = 1.3;
  }
  return options;
}

Status check_sampler(const SamplerOptions& o) {
  if (!(o.temperature >= 0 && o.temperature <= 1e6))
    return input_error("--temperature is {}, expected a number from 0 to 1e6", o.temperature);
  if (o.top_k < 0) return input_error("--top-k is {}, expected 0 (all) or more", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1))
    return input_error("--top-p is {}, expected a number above 0, up to 1", o.top_p);
  if (!(o.min_p >= 0 && o.min_p <= 1))
    return input_error("--min-p is {}, expected a number from 0 to 1", o.min_p);
  if (!(o.repetition_penalty > 0 && o.repetition_penalty <= 1e6))
    return input_error("--repetition-penalty is {}, expected a number above 0, up to 1e6",
                       o.repetition_penalty);
  if (!(o.dry_multiplier >= 0 && o.dry_multiplier <= 1e6))
    return input_error("--dry-multiplier is {}, expected a number from 0 to 1e6", o.dry_multiplier);
  if (!(o.dry_base >= 1 && o.dry_base <= 100))
    return input_error("--dry-base is {}, expected a number from 1 to 100", o.dry_base);
  if (o.dry_allowed_length < 1)
    return input_error("--dry-allowed-length is {}, expected 1 or more", o.dry_allowed_length);
  if (o.dry_multiplier > 0 && o.rules != SamplerRules::kRaven)
    return input_error("--dry-multiplier belongs to the Raven families' sampling rules");
  return ok_status();
}

int32_t argmax(std::span<const float> row) {
  return static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

std::span<const float> Sampler::penalised(std::span<const float> logits,
                                          std::span<const int32_t> history) {
  logits_.assign(logits.begin(), logits.end());
  if (options_.dry_multiplier > 0)
    penalise_ngrams(history);
  else if (options_.repetition_penalty != 1)
    penalise_repeats(history);
  return logits_;
}

void Sampler::penalise_repeats(std::span<const int32_t> history) {
  seen_.assign(history.begin(), history.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (const int32_t id : seen_) {
    float& logit = logits_[static_cast<size_t>(id)];
    logit = logit < 0 ? logit * penalty : logit / penalty;
  }
}

// The reference reads the text forwards from each of the last 128 positions and backwards from its
// end, as long as both agree; the token after a match of length m >= 1 is a candidate of m + 1.
void Sampler::penalise_ngrams(std::span<const int32_t> history) {
  const size_t n = history.size();
  std::unordered_map<int32_t, int> longest;
  for (size_t i = n - std::min(n, kDryContext); i + 1 < n; ++i) {
    size_t m = 0;
    while (m < kDryMatch && i + m < n && history[i + m] == history[n - 1 - m]) ++m;
    if (m == 0 || i + m >= n) continue;
    int& length = longest[history[i + m]];
    length = std::max(length, static_cast<int>(m) + 1);
  }
  for (const auto& [id, length] : longest) {
    if (length < options_.dry_allowed_length) continue;
    const double loss =
        options_.dry_multiplier * std::pow(options_.dry_base, length - options_.dry_allowed_length);
    logits_[static_cast<size_t>(id)] -= static_cast<float>(loss);
  }
}

std::span<const double> Sampler::probabilities(std::span<const float> logits,
                                               std::span<const int32_t> history) {
  PLUMB_CHECK(!options_.greedy());
  penalised(logits, history);
  const double largest = static_cast<double>(*std::max_element(logits_.begin(), logits_.end()));
  probs_.resize(logits_.size());
  for (size_t i = 0; i < probs_.size(); ++i)
    probs_[i] = std::exp((static_cast<double>(logits_[i]) - largest) / options_.temperature);
  const auto renormalise = [this] {
    const double sum = std::accumulate(probs_.begin(), probs_.end(), 0.0);
    for (double& p : probs_) p /= sum;
  };
  const bool raven = options_.rules == SamplerRules::kRaven;
  renormalise();
  if (options_.top_k > 0) {
    keep_top_k();
    if (!raven) renormalise();
  }
  if (options_.top_p < 1) {
    keep_top_p();
    if (!raven) renormalise();
  }
  if (options_.min_p > 0) keep_min_p();
  renormalise();
  return probs_;
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k >= probs_.size()) return;
  std::vector<double> sorted = probs_;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(k - 1),
                   sorted.end(), std::greater<>());
  const double kth = sorted[k - 1];
  for (double& p : probs_)
    if (p < kth) p = 0;
}

void Sampler::keep_top_p() {
  order_.clear();
  for (size_t i = 0; i < probs_.size(); ++i)
    if (probs_[i] > 0) order_.push_back(static_cast<int32_t>(i));
  std::stable_sort(order_.begin(), order_.end(), [this](int32_t a, int32_t b) {
    return probs_[static_cast<size_t>(a)] > probs_[static_cast<size_t>(b)];
  });
  double mass = 0;
  for (size_t rank = 0; rank < order_.size(); ++rank) {
    double& p = probs_[static_cast<size_t>(order_[rank])];
    const double before = mass;
    mass += p;
    const double judged = options_.rules == SamplerRules::kRaven ? mass : before;
    if (rank > 0 && judged > options_.top_p) p = 0;
  }
}

void Sampler::keep_min_p() {
  const double least = options_.min_p * *std::max_element(probs_.begin(), probs_.end());
  for (double& p : probs_)
    if (p < least) p = 0;
}

int32_t Sampler::pick(std::span<const float> logits, std::span<const int32_t> history, uint32_t row,
                      uint32_t position, RngStream stream) {
  if (options_.greedy()) return argmax(penalised(logits, history));
  const auto probs = probabilities(logits, history);
  const double u = uniform_double(
      {.seed = options_.seed, .stream = stream, .row = row, .position = position}, 0);
  double cumulative = 0;
  int32_t last = -1;
  for (size_t i = 0; i < probs.size(); ++i) {
    if (probs[i] == 0) continue;
    last = static_cast<int32_t>(i);
    cumulative += probs[i];
    if (cumulative > u) break;
  }
  return last;
}

}  // namespace plumb
