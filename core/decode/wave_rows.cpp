#include "core/decode/wave_rows.h"

#include <algorithm>
#include <cmath>

namespace plumb {
namespace {

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

}  // namespace

Rows rows_of(MatView<const float> mat) {
  Rows rows(mat.rows());
  for (size_t r = 0; r < mat.rows(); ++r) rows[r].assign(mat.row(r), mat.row(r) + mat.cols());
  return rows;
}

void fill_mat(const Rows& rows, size_t cols, Mat<float>& mat) {
  mat.resize(rows.size(), cols);
  for (size_t r = 0; r < rows.size(); ++r) std::copy(rows[r].begin(), rows[r].end(), mat.row(r));
}

Rows tail(const Rows& rows, size_t begin) {
  if (begin >= rows.size()) return {};
  return {rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.end()};
}

void FreezeJudge::start(const Rows& states) {
  previous_ = states;
  previous_delta_.assign(states.size(), std::vector<float>(states[0].size(), 0.0F));
  before_previous_ = previous_delta_;
}

int FreezeJudge::last_still(const Rows& states, int c) {
  if (!latent()) return -1;
  if (rule_ == FreezeRule::kAcceleration2) return second_difference(states, c);
  const Rows matching = tail(previous_, static_cast<size_t>(c - last_begin_));
  const size_t n = std::min(matching.size(), states.size());
  Rows deltas(n);
  for (size_t r = 0; r < n; ++r) deltas[r] = minus(states[r], matching[r]);
  const bool first = rule_ == FreezeRule::kLatentDiff;
  int last = -1;
  for (size_t r = 0; r < (first ? n : std::min(n, previous_delta_.size())); ++r) {
    const double moved = first ? norm(deltas[r]) : norm(minus(deltas[r], previous_delta_[r]));
    if (moved / norm(states[r]) < threshold_) last = static_cast<int>(r);
  }
  previous_delta_ = std::move(deltas);
  return last;
}

int FreezeJudge::second_difference(const Rows& states, int c) const {
  const int begin = std::max({c, last_begin_, before_last_begin_});
  const int end = std::min({c + static_cast<int>(states.size()),
                            last_begin_ + static_cast<int>(previous_.size()),
                            before_last_begin_ + static_cast<int>(before_previous_.size())});
  int last = -1;
  for (int p = begin; p < end; ++p) {
    const auto& now = states[static_cast<size_t>(p - c)];
    const auto& then = previous_[static_cast<size_t>(p - last_begin_)];
    const auto& before = before_previous_[static_cast<size_t>(p - before_last_begin_)];
    const double moved = norm(minus(minus(now, then), minus(then, before)));
    if (moved / (norm(now) + 1e-6) < threshold_) last = p - begin;
  }
  return last;
}

void FreezeJudge::remember(const Rows& states, int c) {
  if (latent()) {
    before_previous_ = std::move(previous_);
    before_last_begin_ = last_begin_;
    previous_ = states;
  }
  last_begin_ = c;
}

}  // namespace plumb
