#include <algorithm>
#include <cmath>

#include "core/kernels/matmul.h"

namespace plumb {

const char* weight_type_name(WeightType type) {
  switch (type) {
    case WeightType::kF32: return "f32";
    case WeightType::kBF16: return "bf16";
    case WeightType::kI8: return "int8";
  }
  return "?";
}

PackedMatrix::PackedMatrix(WeightType type, size_t n_out, size_t n_in)
    : type_(type), n_out_(n_out), n_in_(n_in) {
  const size_t rows = panel_count();
  switch (type) {
    case WeightType::kF32: f32_ = Mat<float>::of_weights(rows, n_in * kPanel); break;
    case WeightType::kBF16: bf16_ = Mat<BF16>::of_weights(rows, padded_in() * kPanel); break;
    case WeightType::kI8:
      i8_ = Mat<int8_t>::of_weights(rows, n_in * kPanel);
      scales_ = Mat<float>(rows, kPanel);
      break;
  }
}

namespace {

// Elements from the first input of a row to input k.
size_t apart(size_t k) { return k * PackedMatrix::kPanel; }
size_t apart_in_pairs(size_t k) { return k / 2 * 2 * PackedMatrix::kPanel + k % 2; }

}  // namespace

// Where the first input of a row stands.
size_t PackedMatrix::row_start(size_t out) const {
  const size_t lane = out % kPanel, panel = out / kPanel;
  if (type_ == WeightType::kBF16) return panel * padded_in() * kPanel + lane * 2;
  return panel * n_in_ * kPanel + lane;
}

void PackedMatrix::set_row(size_t out, std::span<const float> row) {
  PLUMB_CHECK(out < n_out_ && row.size() == n_in_);
  const size_t start = row_start(out);
  switch (type_) {
    case WeightType::kF32: {
      float* target = f32_.data() + start;
      for (size_t k = 0; k < row.size(); ++k) target[apart(k)] = row[k];
      return;
    }
    case WeightType::kBF16: {
      BF16* target = bf16_.data() + start;
      for (size_t k = 0; k < row.size(); ++k) target[apart_in_pairs(k)] = bf16_from_f32(row[k]);
      return;
    }
    case WeightType::kI8: {
      float largest = 0;
      for (float w : row) largest = std::max(largest, std::fabs(w));
      const float scale = largest / 127.0F;
      scales_.data()[out] = scale;
      const float inverse = scale > 0 ? 1.0F / scale : 0.0F;
      int8_t* target = i8_.data() + start;
      for (size_t k = 0; k < row.size(); ++k)
        target[apart(k)] =
            static_cast<int8_t>(std::clamp(std::nearbyint(row[k] * inverse), -127.0F, 127.0F));
      return;
    }
  }
}

void PackedMatrix::get_row(size_t out, std::span<float> row) const {
  PLUMB_CHECK(out < n_out_ && row.size() == n_in_);
  const size_t start = row_start(out);
  switch (type_) {
    case WeightType::kF32: {
      const float* source = f32_.data() + start;
      for (size_t k = 0; k < row.size(); ++k) row[k] = source[apart(k)];
      return;
    }
    case WeightType::kBF16: {
      const BF16* source = bf16_.data() + start;
      for (size_t k = 0; k < row.size(); ++k) row[k] = f32_from_bf16(source[apart_in_pairs(k)]);
      return;
    }
    case WeightType::kI8: {
      const int8_t* source = i8_.data() + start;
      const float scale = scales_.data()[out];
      for (size_t k = 0; k < row.size(); ++k) row[k] = static_cast<float>(source[apart(k)]) * scale;
      return;
    }
  }
}

size_t PackedMatrix::bytes() const {
  return f32_.size() * sizeof(float) + bf16_.size() * sizeof(BF16) + i8_.size() +
         scales_.size() * sizeof(float);
}

void matmul_reference(MatView<const float> x, const PackedMatrix& w, MatView<float> y,
                      MatmulMode mode) {
  PLUMB_CHECK(x.cols() == w.n_in() && y.cols() == w.n_out() && x.rows() == y.rows());
  std::vector<float> row(w.n_in());
  for (size_t out = 0; out < w.n_out(); ++out) {
    w.get_row(out, row);
    const bool scaled = w.type() == WeightType::kI8;
    const float scale = scaled ? w.scales(out / PackedMatrix::kPanel)[out % PackedMatrix::kPanel] : 1;
    if (scaled)  // the chain runs over the integers; the scale multiplies the finished sum
      for (size_t k = 0; k < w.n_in(); ++k) row[k] = scale > 0 ? std::nearbyint(row[k] / scale) : 0;
    for (size_t r = 0; r < x.rows(); ++r) {
      float sum = 0;
      for (size_t k = 0; k < w.n_in(); ++k) sum = std::fma(x(r, k), row[k], sum);
      if (scaled) sum *= scale;
      y(r, out) = mode == MatmulMode::kAdd ? y(r, out) + sum : sum;
    }
  }
}

}  // namespace plumb
