// Rotary position embedding. The two published layouts rotate the same angles over other pairs:
//   interleaved: (x[2j], x[2j+1])      half-split: (x[j], x[j + dim/2])
//   (a, b) -> (a cos - b sin, b cos + a sin),  angle = pos * inv_freq[j]
#pragma once

#include <span>
#include <vector>

#include "core/base/mat.h"

namespace plumb {

enum class RopeLayout { kInterleaved, kHalfSplit };

// Llama-3 rope scaling (raven.md 3.1); factor 1 is none.
struct RopeScaling {
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_context = 8192;
};

// theta^(-2j/dim) for j < dim/2, in f32 as the reference code forms it, then scaled.
std::vector<float> rope_frequencies(size_t rope_dim, double theta, const RopeScaling& scaling = {});

// cos and sin by position: tabulated for the first positions, computed alike beyond them.
class RopeTable {
 public:
  // As many positions as families tabulate at the most; a table costs rope_dim * 4 bytes a position.
  static constexpr size_t kMostTabulated = 8192;

  RopeTable() = default;
  RopeTable(std::vector<float> frequencies, size_t n_tabulated);
  // Stored tables, [n_positions, rope_dim / 2] each; positions past the end are refused by the
  // model before they come here.
  RopeTable(Mat<float> cos, Mat<float> sin);

  size_t half_dim() const { return half_dim_; }
  size_t n_tabulated() const { return cos_.rows(); }
  // cos and sin of one position, [half_dim] each. `scratch` [2 * half_dim] is used past the table.
  void at(size_t pos, std::span<float> scratch, const float** cos, const float** sin) const;

 private:
  size_t half_dim_ = 0;
  std::vector<float> frequencies_;
  Mat<float> cos_, sin_;
};

// Rotates, in place, the last 2 * half_dim numbers of every head of one row; head h starts at
// row[h * head_dim].
void apply_rope(std::span<float> row, size_t n_heads, size_t head_dim, RopeLayout layout,
                const float* cos, const float* sin, size_t half_dim);

}  // namespace plumb
