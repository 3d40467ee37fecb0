// Synthetic trajectories for the tests of core/exit, with the obvious double versions beside them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "core/exit/step_scalars.h"

namespace plumb {

// A state spiralling towards a fixed point, and logits that follow with a little noise.
class Walk {
 public:
  Walk(size_t seed, size_t dim, size_t vocab, int steps) {
    std::mt19937 generator(static_cast<uint32_t>(seed));
    std::normal_distribution<float> normal(0, 1);
    const auto draw = [&](size_t n, float scale) {
      std::vector<float> out(n);
      for (float& x : out) x = scale * normal(generator);
      return out;
    };
    const auto goal = draw(dim, 1), logits_goal = draw(vocab, 2);
    states_.push_back(draw(dim, 1));
    logits_.emplace_back(vocab, 0.0F);  // step 0: uniform
    for (int k = 1; k <= steps; ++k) {
      const float decay = std::pow(0.6F, static_cast<float>(k));
      auto state = draw(dim, decay), logits = draw(vocab, 2 * decay);
      for (size_t i = 0; i < dim; ++i) state[i] += goal[i];
      for (size_t i = 0; i < vocab; ++i) logits[i] += logits_goal[i];
      states_.push_back(state);
      logits_.push_back(logits);
    }
  }

  int steps() const { return static_cast<int>(states_.size()) - 1; }
  std::span<const float> state(int k) const { return states_[static_cast<size_t>(k)]; }
  std::span<const float> logits(int k) const { return logits_[static_cast<size_t>(k)]; }
  StepInput input(int k) const {
    return {.step = k, .state = state(k), .logits = logits(k), .target = 5};
  }

  // Checked at every step.
  std::vector<StepRow> rows() const {
    RowMemory memory;
    StepScratch scratch;
    memory.start(state(0));
    std::vector<StepRow> out;
    for (int k = 1; k <= steps(); ++k) out.push_back(next_row(input(k), memory, scratch));
    return out;
  }

  double norm(int k) const { return std::sqrt(dot(k, k)); }
  double cosine(int a, int b) const { return dot(a, b) / (norm(a) * norm(b)); }
  double distance(int a, int b) const {
    double sum = 0;
    for (size_t i = 0; i < state(0).size(); ++i) sum += std::pow(at(a, i) - at(b, i), 2);
    return std::sqrt(sum);
  }
  double acceleration(int k, int lag) const {
    double sum = 0;
    for (size_t i = 0; i < state(0).size(); ++i) {
      sum += std::pow(at(k, i) - 2 * at(k - lag, i) + at(k - 2 * lag, i), 2);
    }
    return std::sqrt(sum);
  }
  std::vector<double> probability(int k) const {
    std::vector<double> p(logits(k).begin(), logits(k).end());
    double z = 0;
    for (double& x : p) z += x = std::exp(x);
    for (double& x : p) x /= z;
    return p;
  }
  double kl(int old, int now) const {
    const auto p = probability(old), q = probability(now);
    double sum = 0;
    for (size_t i = 0; i < p.size(); ++i) sum += p[i] * (std::log(p[i]) - std::log(q[i]));
    return sum;
  }

 private:
  double at(int k, size_t i) const { return state(k)[i]; }
  double dot(int a, int b) const {
    double sum = 0;
    for (size_t i = 0; i < state(0).size(); ++i) sum += at(a, i) * at(b, i);
    return sum;
  }

  std::vector<std::vector<float>> states_, logits_;
};

// Bit for bit, NaN equal to NaN.
inline void expect_same(double a, double b, const char* what) {
  EXPECT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << what << ": " << a << " and " << b;
}
inline void expect_same(const Comparison& a, const Comparison& b) {
  EXPECT_EQ(a.lag, b.lag);
  expect_same(a.delta_norm, b.delta_norm, "delta_norm");
  expect_same(a.accel_norm, b.accel_norm, "accel_norm");
  expect_same(a.cos, b.cos, "cos");
  expect_same(a.kl, b.kl, "kl");
  expect_same(a.minp_kl, b.minp_kl, "minp_kl");
  expect_same(a.entropy_diff, b.entropy_diff, "entropy_diff");
  expect_same(a.latent_diff, b.latent_diff, "latent_diff");
  expect_same(a.accel_rel, b.accel_rel, "accel_rel");
  expect_same(a.contraction, b.contraction, "contraction");
  expect_same(a.deq_rel, b.deq_rel, "deq_rel");
}
inline void expect_same(const StepRow& a, const StepRow& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.top1, b.top1);
  EXPECT_EQ(a.argmax_run, b.argmax_run);
  EXPECT_EQ(a.target_rank, b.target_rank);
  expect_same(a.state_norm, b.state_norm, "state_norm");
  expect_same(a.entropy, b.entropy, "entropy");
  expect_same(a.p1, b.p1, "p1");
  expect_same(a.p2, b.p2, "p2");
  expect_same(a.nll, b.nll, "nll");
  expect_same(a.prev, b.prev);
}

}  // namespace plumb
