#include "core/decode/state_source.h"

#include <algorithm>

#include "core/base/initial_state.h"
#include "core/base/torch_rng.h"
#include "core/io/safetensors.h"

namespace plumb {
namespace {

bool is_torch(const std::string& kind) { return kind == "torch" || kind == "torch-2.12"; }

}  // namespace

Result<StateSource> StateSource::make(const StateOptions& options, const ModelInfo& info, FileRows file_rows) {
  StateSource source;
  source.options_ = options;
  source.file_rows_ = file_rows;
  source.std_ = info.state_std;
  source.scale_ = info.state_scale;
  source.model_dim_ = info.model_dim;
  if (!(options.init_scale >= 0) || options.init_scale > 1e6)
    return input_error("--init-scale is {}, expected a number from 0 to 1e6", options.init_scale);
  if (!info.random_state) {
    if (options.kind != "like-init")
      return input_error("--state {} does not apply: the family \"{}\" defines its own initial state",
                         options.kind, info.family);
    return source;
  }
  if (options.kind == "prelude" || is_torch(options.kind) || parse_initial_state(options.kind)) return source;
  if (options.kind.find(".safetensors:") == std::string::npos)
    return input_error("--state \"{}\" is unknown; expected {}, prelude, torch, torch-2.12 or FILE.safetensors:NAME",
                       options.kind, initial_state_names());
  PLUMB_ASSIGN(const LoadedTensor tensor, load_named_tensor(options.kind));
  const size_t rank = tensor.shape.size();
  const bool call = file_rows == FileRows::kCall;
  const bool right_rank = call ? rank == 3 : rank == 2 || (rank == 3 && tensor.shape[0] == 1);
  if (!right_rank || tensor.shape.back() != info.model_dim)
    return input_error("{}: shape is {}, expected {}", options.kind, shape_text(tensor.shape),
                       call ? fmt::format("[batch, tokens, {}]", info.model_dim)
                            : fmt::format("[positions, {}]", info.model_dim));
  auto rows = std::make_shared<Mat<float>>(tensor.data.size() / static_cast<size_t>(info.model_dim),
                                           static_cast<size_t>(info.model_dim));
  std::copy(tensor.data.begin(), tensor.data.end(), rows->data());
  source.file_ = std::move(rows);
  source.file_shape_ = tensor.shape;
  return source;
}

Status StateSource::fill_from_file(const Batch& batch, MatView<float> state) const {
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const Group& group = batch.groups[g];
    size_t first = 0;
    if (file_rows_ == FileRows::kCall) {
      const bool shared = file_shape_[0] == 1;
      if ((!shared && file_shape_[0] != static_cast<int64_t>(batch.groups.size())) ||
          file_shape_[1] != static_cast<int64_t>(group.n_rows))
        return input_error("{}: shape is {}, but the call has {} rows of {} tokens", options_.kind,
                           shape_text(file_shape_), batch.groups.size(), group.n_rows);
      first = shared ? 0 : g * group.n_rows;
    } else {
      first = static_cast<size_t>(group.first_pos);
      if (first + group.n_rows > file_->rows())
        return input_error("{}: has states for {} positions, position {} was asked for", options_.kind,
                           file_->rows(), first + group.n_rows - 1);
    }
    const auto scale = static_cast<float>(file_rows_ == FileRows::kPositions ? options_.init_scale : 1.0);
    for (size_t i = 0; i < group.n_rows; ++i)
      for (size_t c = 0; c < state.cols(); ++c)
        state(group.first_row + i, c) = (*file_)(first + i, c) * scale;
  }
  return ok_status();
}

Status StateSource::fill(const Batch& batch, MatView<const float> injected, MatView<float> state) const {
  if (file_) return fill_from_file(batch, state);
  const InitialStateScale scale{std_, scale_, options_.init_scale};
  if (options_.kind == "prelude") {
    const auto factor = static_cast<float>(options_.init_scale);
    for (size_t r = 0; r < state.rows(); ++r)
      for (size_t c = 0; c < state.cols(); ++c) state(r, c) = injected(r, c) * factor;
    return ok_status();
  }
  if (is_torch(options_.kind)) {
    const size_t n = batch.groups.front().n_rows;
    for (const Group& group : batch.groups)
      if (group.n_rows != n)
        return input_error("--state torch draws one tensor for a call, so all rows must be equally long");
    const auto method = options_.kind == "torch" ? TorchTruncNormal::kInverseCdf : TorchTruncNormal::kRejection;
    const Mat<float> drawn = torch_initial_state(options_.seed, batch.groups.size(), n, state.cols(), scale, method);
    for (size_t r = 0; r < state.rows(); ++r) std::copy(drawn.row(r), drawn.row(r) + state.cols(), state.row(r));
    return ok_status();
  }
  const auto kind = parse_initial_state(options_.kind);
  PLUMB_CHECK(kind.has_value());
  for (const Group& group : batch.groups)
    for (size_t i = 0; i < group.n_rows; ++i)
      fill_initial_row(*kind, options_.seed, group.sequence, static_cast<uint32_t>(group.first_pos) + static_cast<uint32_t>(i),
                       scale, state.row_span(group.first_row + i));
  return ok_status();
}

}  // namespace plumb
