#include "core/kernels/relative_position.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/random.h"

namespace plumb {
namespace {

using test::random_mat;

struct Data {
  static constexpr size_t kKeys = 70, kRows = 9, kHeads = 3, kDim = 8, kWidth = kHeads * kDim;
  Mat<float> queries = random_mat(kRows, kWidth, 1), keys = random_mat(kKeys, kWidth, 2), values = random_mat(kKeys, kWidth, 3);
  Mat<float> distances = random_mat(kKeys, kWidth, 4), biases = random_mat(2, kWidth, 5), out{kRows, kWidth};
  Mat<float> key_panels = in_panels(keys, 0), distance_panels = in_panels(distances, 0);
  AttentionShape shape{kHeads, kHeads, kDim, 0.35F};

  // The rows from `first` on, in panels.
  static Mat<float> in_panels(const Mat<float>& rows, size_t first) {
    Mat<float> panels((rows.rows() - first + kKeyPanel - 1) / kKeyPanel, kWidth * kKeyPanel);
    for (size_t i = first; i < rows.rows(); ++i) put_key(panels.data(), kWidth, i - first, {rows.row(i), kWidth});
    return panels;
  }
  AttentionJob job() {
    return {queries, out, {key_panels.data(), values.data(), kWidth, kWidth}, kKeys - kRows, 0, 0};
  }
  RelativeTerms terms() { return {{biases.row(0), kWidth}, {biases.row(1), kWidth}, distance_panels.data(), kKeys}; }
};

// The formula of the header, in double.
double expected(const Data& data, size_t row, size_t column, size_t begin) {
  const size_t head = column / Data::kDim * Data::kDim, own = Data::kKeys - Data::kRows + row;
  double sum = 0, weighted = 0;
  for (size_t j = begin; j <= own; ++j) {
    double score = 0;
    for (size_t c = head; c < head + Data::kDim; ++c)
      score += (static_cast<double>(data.queries(row, c)) + data.biases(0, c)) * data.keys(j, c) +
               (static_cast<double>(data.queries(row, c)) + data.biases(1, c)) * data.distances(own - j, c);
    const double weight = std::exp(score * data.shape.scale);
    sum += weight;
    weighted += weight * data.values(j, column);
  }
  return weighted / sum;
}

TEST(RelativePosition, ScoresContentAndDistance) {
  Team team(2);
  for (const size_t first_key : {size_t{0}, size_t{21}}) {
    Data data;
    AttentionJob job = data.job();
    job.first_key = first_key;
    attend_relative(team, data.shape, data.terms(), {&job, 1});
    for (size_t r = 0; r < Data::kRows; ++r)
      for (size_t c = 0; c < Data::kWidth; ++c) EXPECT_NEAR(data.out(r, c), expected(data, r, c, first_key), 2e-5);
  }
}

TEST(RelativePosition, AWindowHidesDistantKeys) {
  Team team(1);
  Data data;
  AttentionJob job = data.job();
  job.window = 13;
  attend_relative(team, data.shape, data.terms(), {&job, 1});
  for (size_t r = 0; r < Data::kRows; ++r)
    EXPECT_NEAR(data.out(r, 5), expected(data, r, 5, Data::kKeys - Data::kRows + r + 1 - 13), 2e-5);
}

TEST(RelativePosition, SinusoidsAreSinesThenCosines) {
  std::vector<float> wave(6);
  sinusoid(3, wave);
  for (size_t i = 0; i < 3; ++i) {
    const double angle = 3 * std::pow(10000.0, -2.0 * static_cast<double>(i) / 6);
    EXPECT_FLOAT_EQ(wave[i], static_cast<float>(std::sin(angle)));
    EXPECT_FLOAT_EQ(wave[3 + i], static_cast<float>(std::cos(angle)));
  }
}

TEST(Attend, KeysBeforeTheFirstAreSeenByNobody) {
  Team team(2);
  Data data;
  AttentionJob job = data.job();
  job.first_key = 21;
  attend(team, data.shape, {&job, 1});
  Mat<float> definition(Data::kRows, Data::kWidth);
  AttentionJob slow = job;
  slow.out = definition;
  attend_reference(data.shape, slow);
  for (size_t i = 0; i < definition.size(); ++i) EXPECT_NEAR(data.out.data()[i], definition.data()[i], 1e-5);

  // Whether hidden keys are there at all changes no bit, as long as whole panels are gone.
  const Mat<float> panels = Data::in_panels(data.keys, kKeyPanel);
  Mat<float> out(Data::kRows, Data::kWidth);
  AttentionJob shorter = job;
  shorter.out = out;
  shorter.kv = {panels.data(), data.values.row(kKeyPanel), Data::kWidth, Data::kWidth};
  shorter.n_before -= kKeyPanel;
  shorter.first_key -= kKeyPanel;
  attend(team, data.shape, {&shorter, 1});
  EXPECT_TRUE(test::same_bits(out, data.out));
}

}  // namespace
}  // namespace plumb
