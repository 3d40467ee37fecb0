// Where s_0 comes from (--state): the contract's schemes, a file, or what PyTorch would draw.
#pragma once

#include <memory>
#include <string>

#include "core/base/mat.h"
#include "core/base/result.h"
#include "core/model/recurrent_model.h"

namespace plumb {

struct StateOptions {
  // like-init, zero, normal, embed, unit, prelude, torch, torch-2.12, or FILE.safetensors:NAME.
  std::string kind = "like-init";
  uint64_t seed = 0;
  double init_scale = 1;
};

class StateSource {
 public:
  // What a file's rows stand for.
  enum class FileRows {
    kCall,       // [B, T, E] or [1, T, E]: s_0 of the call, verbatim
    kPositions,  // [P, E] or [1, P, E]: a tape, row p is the state of absolute position p, times init_scale
  };

  static Result<StateSource> make(const StateOptions& options, const ModelInfo& info, FileRows file_rows);

  // s_0 of every row of the call. Families whose model defines s_0 never ask. `torch` depends on
  // the shape of the call, by definition; all other draws are functions of (seed, sequence,
  // position) alone. An error if a file does not cover the call.
  Status fill(const Batch& batch, MatView<const float> injected, MatView<float> state) const;

  const StateOptions& options() const { return options_; }

 private:
  Status fill_from_file(const Batch& batch, MatView<float> state) const;

  StateOptions options_;
  FileRows file_rows_ = FileRows::kCall;
  double std_ = 0, scale_ = 1;
  int model_dim_ = 0;
  std::shared_ptr<const Mat<float>> file_;  // [rows, model_dim]
  std::vector<int64_t> file_shape_;
};

}  // namespace plumb
