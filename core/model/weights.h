// Weights out of a checkpoint: exact names and shapes, packed once, nothing left over.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/kernels/matmul.h"
#include "core/parallel/team.h"

namespace plumb {

// No width or count that a config gives is larger; vocabularies and lengths may be 16 times this.
inline constexpr int64_t kMaxDim = 1 << 20;

// --dtype.
enum class Precision {
  kF32,   // f32 arithmetic on weights as stored
  kBF16,  // bf16 weights and GEMM inputs, f32 accumulation and everything else
  kI8,    // weights as int8 with a scale per output, f32 elsewhere
};
const char* precision_name(Precision precision);
std::optional<Precision> parse_precision(std::string_view name);

// y = x W^T, optionally rounding x to bf16 first.
struct Linear {
  PackedMatrix w;
  bool round_inputs = false;

  void apply(Team& team, MatView<const float> x, MatView<float> y,
             MatmulMode mode = MatmulMode::kReplace) const;
};

// Reads tensors and remembers which were read; finish() names what is left.
class WeightLoader {
 public:
  WeightLoader(const Checkpoint& checkpoint, Precision precision, Team& team)
      : checkpoint_(&checkpoint), precision_(precision), team_(&team) {}

  bool has(const std::string& name) const { return checkpoint_->find(name) != nullptr; }
  // The error names file, tensor, found and expected shape.
  Result<const TensorInfo*> tensor(const std::string& name, std::initializer_list<int64_t> shape);
  Result<std::vector<float>> vector(const std::string& name, std::initializer_list<int64_t> shape);
  Result<Linear> linear(const std::string& name, int64_t n_out, int64_t n_in);
  // Rows of several [n_out_i, n_in] tensors under each other: a fused projection from parts.
  Result<Linear> stacked(const std::vector<std::pair<std::string, int64_t>>& names, int64_t n_in);
  void ignore(const std::string& name) { used_.insert(name); }
  // Error if a tensor was neither read nor ignored.
  Status finish() const;

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  Precision precision() const { return precision_; }
  Team& team() const { return *team_; }

 private:
  WeightType packed_type(const TensorInfo& tensor) const;

  const Checkpoint* checkpoint_;
  Precision precision_;
  Team* team_;
  std::set<std::string> used_;
};

// Embedding rows: out[i] = scale * row ids[i] of `table`. REQUIRES ids within the table.
void embed_rows(const PackedMatrix& table, std::span<const int32_t> ids, float scale, MatView<float> out);

}  // namespace plumb
