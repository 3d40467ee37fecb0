#include "core/kernels/relative_position.h"

#include <algorithm>
#include <cmath>

namespace plumb {
namespace {

// scores[j] = query . rows[j] for j in [begin, end), 16 of a panel at once.
void panel_dots(const float* query, const float* panels, size_t panel_stride, size_t head_dim,
                size_t begin, size_t end, float* scores) {
  for (size_t panel = begin / kKeyPanel; panel * kKeyPanel < end; ++panel) {
    const float* rows = panels + panel * panel_stride;
    float sums[kKeyPanel] = {};
    for (size_t c = 0; c < head_dim; ++c)
      for (size_t lane = 0; lane < kKeyPanel; ++lane) sums[lane] += query[c] * rows[c * kKeyPanel + lane];
    std::copy(sums, sums + kKeyPanel, scores + panel * kKeyPanel);
  }
}

struct Scratch {
  std::vector<float> content, position;  // [head_dim] q + u, q + v
  std::vector<float> scores, distance_scores;
};

void attend_row(const AttentionShape& shape, const RelativeTerms& terms, const AttentionJob& job,
                size_t row, size_t head, Scratch& scratch) {
  const size_t d = shape.head_dim, at = head * d;
  const size_t end = job.n_before + row + 1, begin = first_key_of(job, end);
  PLUMB_CHECK(end - begin <= terms.n_distances);
  const auto padded = [](size_t n) { return (n + kKeyPanel - 1) / kKeyPanel * kKeyPanel; };
  scratch.content.resize(d);
  scratch.position.resize(d);
  scratch.scores.resize(padded(end));
  scratch.distance_scores.resize(padded(end - begin));
  const float* query = job.queries.row(row) + at;
  for (size_t c = 0; c < d; ++c) {
    scratch.content[c] = query[c] + terms.content_bias[at + c];
    scratch.position[c] = query[c] + terms.position_bias[at + c];
  }
  const size_t stride = job.kv.kv_dim * kKeyPanel;
  float* scores = scratch.scores.data();
  panel_dots(scratch.content.data(), job.kv.keys + at * kKeyPanel, stride, d, begin, end, scores);
  panel_dots(scratch.position.data(), terms.distances + at * kKeyPanel, stride, d, 0, end - begin,
             scratch.distance_scores.data());
  float largest = -INFINITY, sum = 0;
  for (size_t j = begin; j < end; ++j) {
    scores[j] = (scores[j] + scratch.distance_scores[end - 1 - j]) * shape.scale;
    largest = std::max(largest, scores[j]);
  }
  for (size_t j = begin; j < end; ++j) sum += scores[j] = std::exp(scores[j] - largest);
  float* out = job.out.row(row) + at;
  std::fill(out, out + d, 0.0F);
  for (size_t j = begin; j < end; ++j) {
    const float* value = job.kv.values + j * job.kv.value_stride + at;
    for (size_t c = 0; c < d; ++c) out[c] += scores[j] * value[c];
  }
  for (size_t c = 0; c < d; ++c) out[c] /= sum;
}

}  // namespace

void sinusoid(size_t k, std::span<float> out) {
  PLUMB_CHECK(out.size() % 2 == 0);
  const size_t half = out.size() / 2;
  for (size_t i = 0; i < half; ++i) {
    const double frequency = std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(out.size()));
    const double angle = static_cast<double>(k) * frequency;
    out[i] = static_cast<float>(std::sin(angle));
    out[half + i] = static_cast<float>(std::cos(angle));
  }
}

void attend_relative(Team& team, const AttentionShape& shape, const RelativeTerms& terms,
                     std::span<const AttentionJob> jobs) {
  PLUMB_CHECK(shape.n_heads == shape.n_kv_heads);
  const size_t width = shape.n_heads * shape.head_dim;
  PLUMB_CHECK(terms.content_bias.size() == width && terms.position_bias.size() == width);
  size_t n_rows = 0;
  for (const AttentionJob& job : jobs) {
    PLUMB_CHECK(job.kv.kv_dim == width && job.kv.head_rows == 0 && job.kv.keys != nullptr);
    n_rows += job.queries.rows();
  }
  team.run(n_rows * shape.n_heads, [&](size_t part) {
    thread_local Scratch scratch;
    size_t row = part / shape.n_heads;
    const AttentionJob* job = jobs.data();
    for (; row >= job->queries.rows(); ++job) row -= job->queries.rows();
    attend_row(shape, terms, *job, row, part % shape.n_heads, scratch);
  });
}

}  // namespace plumb
