#include "core/base/mat.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace plumb {
namespace {

// Entry (r, c) is 100 r + c.
Mat<float> numbered(size_t rows, size_t cols) {
  Mat<float> mat(rows, cols);
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < cols; ++c) mat(r, c) = static_cast<float>(100 * r + c);
  return mat;
}

TEST(Mat, IsZeroedContiguousAndAligned) {
  const Mat<float> mat(5, 7);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mat.data()) % 64, 0u);
  EXPECT_EQ(mat.size(), 35u);
  for (size_t i = 0; i < mat.size(); ++i) EXPECT_EQ(mat.data()[i], 0.0F);
  EXPECT_EQ(mat.row(3), mat.data() + 21);
  EXPECT_EQ(mat.view().stride(), 7u);
}

TEST(Mat, CopiesAreDeep) {
  Mat<float> original = numbered(2, 3);
  Mat<float> copy = original;
  copy(1, 2) = -1.0F;
  EXPECT_EQ(original(1, 2), 102.0F);
  Mat<float> assigned(9, 9);
  assigned = original;
  EXPECT_EQ(assigned.rows(), 2u);
  EXPECT_EQ(assigned(1, 1), 101.0F);
  Mat<float>& same = assigned;
  assigned = same;
  EXPECT_EQ(assigned(1, 1), 101.0F);
}

TEST(Mat, MovesTakeTheAllocation) {
  Mat<float> source = numbered(2, 3);
  const float* data = source.data();
  Mat<float> taken = std::move(source);
  EXPECT_EQ(taken.data(), data);
  Mat<float> assigned;
  assigned = std::move(taken);
  EXPECT_EQ(assigned.data(), data);
  EXPECT_EQ(assigned(1, 2), 102.0F);
}

TEST(Mat, ResizeKeepsAnAllocationThatSuffices) {
  Mat<float> mat(8, 8);
  const float* data = mat.data();
  mat.resize(2, 5);
  EXPECT_EQ(mat.data(), data);
  EXPECT_EQ(mat.row(1), data + 5);
  mat.resize(8, 8);
  EXPECT_EQ(mat.data(), data);
  mat.resize(9, 8);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mat.data()) % 64, 0u);
  EXPECT_EQ(mat.size(), 72u);
}

TEST(Mat, EmptyShapesAreLegal) {
  Mat<float> empty(0, 5), none;
  EXPECT_EQ(empty.size(), 0u);
  EXPECT_TRUE(empty.view().empty());
  const Mat<float> copy = empty;
  EXPECT_EQ(copy.cols(), 5u);
  empty.fill(1.0F);
  EXPECT_EQ(none.view().rows_from(0, 0).rows(), 0u);
}

TEST(MatView, SubviewsReferToTheSameNumbers) {
  Mat<float> mat = numbered(4, 6);
  const MatView<float> block = mat.view().rows_from(1, 2).cols_from(2, 3);
  EXPECT_EQ(block.rows(), 2u);
  EXPECT_EQ(block.cols(), 3u);
  EXPECT_EQ(block.stride(), 6u);
  EXPECT_EQ(block(0, 0), 102.0F);
  EXPECT_EQ(block(1, 2), 204.0F);
  EXPECT_EQ(block.row_span(1).size(), 3u);
  EXPECT_EQ(block.row_span(1)[0], 202.0F);
  block(1, 0) = 5.0F;
  EXPECT_EQ(mat(2, 2), 5.0F);
}

TEST(Mat, OfWeightsBehavesLikeAnyOther) {
  std::vector<Mat<float>> kept;
  const std::vector<size_t> sizes = {0, 1, 700, 40000, 3, 90000, 5};
  for (const size_t rows : sizes)
    for (int twice = 0; twice < 2; ++twice) {
      Mat<float> mat = Mat<float>::of_weights(rows, 16);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(mat.data()) % 64, 0u);
      for (size_t i = 0; i < mat.size(); ++i) ASSERT_EQ(mat.data()[i], 0.0F);
      mat.fill(static_cast<float>(rows + 1));
      if (twice == 0) kept.push_back(std::move(mat));
    }
  Mat<float> copy = kept[2];
  copy.fill(9);
  copy.resize(800, 17);
  kept[3].resize(2, 2);
  kept[4] = std::move(kept[1]);
  EXPECT_EQ(kept[2](699, 15), 701.0F);
  EXPECT_EQ(kept[4](0, 15), 2.0F);
  EXPECT_EQ(kept[6](4, 15), 6.0F);
  kept.erase(kept.begin(), kept.begin() + 3);
  EXPECT_EQ(kept.back()(4, 15), 6.0F);
}

TEST(MatView, BecomesConstButNeverTheReverse) {
  static_assert(std::is_convertible_v<MatView<float>, MatView<const float>>);
  static_assert(!std::is_convertible_v<MatView<const float>, MatView<float>>);
  static_assert(!std::is_convertible_v<MatView<float>, MatView<double>>);
  static_assert(std::is_convertible_v<Mat<float>&, MatView<float>>);
  static_assert(std::is_convertible_v<const Mat<float>&, ConstMat>);
  static_assert(!std::is_convertible_v<const Mat<float>&, MatView<float>>);
}

TEST(MatViewDeathTest, RangesOutsideTheMatrixStop) {
  Mat<float> mat(4, 6);
  const MatView<float> view = mat;
  EXPECT_DEATH(view.rows_from(3, 2), "CHECK");
  EXPECT_DEATH(view.cols_from(7, 0), "CHECK");
  // The sum of the two would wrap round to 0.
  EXPECT_DEATH(view.rows_from(1, SIZE_MAX), "CHECK");
}

}  // namespace
}  // namespace plumb
