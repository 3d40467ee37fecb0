// Row-major matrices. Mat owns, MatView refers; neither ever converts a type or allocates behind
// the caller's back. Rows are tokens nearly everywhere: [n_tokens, model_dim].
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "core/base/check.h"

namespace plumb {

template <class T>
class MatView {
 public:
  MatView() = default;
  MatView(T* data, size_t rows, size_t cols, size_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
  MatView(T* data, size_t rows, size_t cols) : MatView(data, rows, cols, cols) {}
  // MatView<float> is a MatView<const float>.
  template <class U, class = std::enable_if_t<std::is_convertible_v<U (*)[], T (*)[]>>>
  MatView(const MatView<U>& other)
      : MatView(other.data(), other.rows(), other.cols(), other.stride()) {}

  T* data() const { return data_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t stride() const { return stride_; }  // elements between the starts of two rows
  bool empty() const { return rows_ == 0 || cols_ == 0; }

  T* row(size_t r) const { return data_ + r * stride_; }
  std::span<T> row_span(size_t r) const { return {row(r), cols_}; }
  T& operator()(size_t r, size_t c) const { return data_[r * stride_ + c]; }

  // REQUIRES first + count <= rows().
  MatView rows_from(size_t first, size_t count) const {
    PLUMB_CHECK(first <= rows_ && count <= rows_ - first);
    return {data_ + first * stride_, count, cols_, stride_};
  }
  // REQUIRES first + count <= cols().
  MatView cols_from(size_t first, size_t count) const {
    PLUMB_CHECK(first <= cols_ && count <= cols_ - first);
    return {data_ + first, rows_, count, stride_};
  }

 private:
  T* data_ = nullptr;
  size_t rows_ = 0, cols_ = 0, stride_ = 0;
};

// `bytes` of memory for matrices, aligned to a cache line, large ones in large pages where the system
// has them: weights are read from end to end over and over, and small pages make that a walk
// through page tables. Free with std::free. Throws std::bad_alloc.
void* allocate_matrix(size_t bytes);

// The same for weights, which stay as long as their model: small ones share large pages. From any
// thread; nullptr for 0 bytes. free_weights() wants the same number of bytes again.
void* allocate_weights(size_t bytes);
void free_weights(void* data, size_t bytes);

// Aligned to 64 bytes, contiguous (stride == cols), zeroed when made. `resize` keeps the allocation
// when it is large enough and leaves the content unspecified.
template <class T>
class Mat {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Mat() = default;
  Mat(size_t rows, size_t cols) {
    resize(rows, cols);
    fill(T{});
  }
  // A matrix that stays: see allocate_weights().
  static Mat of_weights(size_t rows, size_t cols) {
    Mat made;
    made.capacity_bytes_ = rounded_bytes(rows, cols);
    made.data_ = static_cast<T*>(allocate_weights(made.capacity_bytes_));
    made.weights_ = true;
    made.rows_ = rows;
    made.cols_ = cols;
    if (made.data_ != nullptr) std::memset(static_cast<void*>(made.data_), 0, made.capacity_bytes_);
    return made;
  }
  Mat(const Mat& other) { *this = other; }
  Mat& operator=(const Mat& other) {
    if (this == &other) return *this;
    resize(other.rows_, other.cols_);
    if (size() > 0) std::memcpy(data_, other.data_, size() * sizeof(T));
    return *this;
  }
  Mat(Mat&& other) noexcept { swap(other); }
  Mat& operator=(Mat&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Mat() { release(); }

  void resize(size_t rows, size_t cols) {
    if (rows * cols * sizeof(T) > capacity_bytes_) {
      const size_t bytes = rounded_bytes(rows, cols);
      release();
      data_ = static_cast<T*>(allocate_matrix(bytes));
      capacity_bytes_ = bytes;
    }
    rows_ = rows;
    cols_ = cols;
  }
  void fill(T value) {
    for (size_t i = 0; i < size(); ++i) data_[i] = value;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t size() const { return rows_ * cols_; }
  T* row(size_t r) { return data_ + r * cols_; }
  const T* row(size_t r) const { return data_ + r * cols_; }
  T& operator()(size_t r, size_t c) { return data_[r * cols_ + c]; }
  const T& operator()(size_t r, size_t c) const { return data_[r * cols_ + c]; }

  MatView<T> view() { return {data_, rows_, cols_}; }
  MatView<const T> view() const { return {data_, rows_, cols_}; }
  operator MatView<T>() { return view(); }
  operator MatView<const T>() const { return view(); }

 private:
  static size_t rounded_bytes(size_t rows, size_t cols) {
    return (rows * cols * sizeof(T) + 63) / 64 * 64;
  }
  void release() {
    if (weights_)
      free_weights(data_, capacity_bytes_);
    else
      std::free(data_);
    data_ = nullptr;
    weights_ = false;
  }
  void swap(Mat& other) {
    std::swap(weights_, other.weights_);
    std::swap(data_, other.data_);
    std::swap(rows_, other.rows_);
    std::swap(cols_, other.cols_);
    std::swap(capacity_bytes_, other.capacity_bytes_);
  }

  T* data_ = nullptr;
  size_t rows_ = 0, cols_ = 0, capacity_bytes_ = 0;
  bool weights_ = false;  // whose memory it is
};

using ConstMat = MatView<const float>;

}  // namespace plumb
