#include "experiments/bench/model_cost.h"

#include <algorithm>

#include "core/model/families.h"

namespace plumb {
namespace {

// Where the matrices of a family lie. Tables that are only looked up, and heads that only training
// uses, are in no row; the output head is known from vocabulary and width.
struct Row {
  const char* family;
  const char* prefix;  // of tensor names
  StageWeights ModelCost::*stage;
};
constexpr Row kRows[] = {
    {"raven-huginn", "transformer.prelude.", &ModelCost::prelude},
    {"raven-huginn", "transformer.adapter.", &ModelCost::core},
    {"raven-huginn", "transformer.core_block.", &ModelCost::core},
    {"raven-huginn", "transformer.coda.", &ModelCost::coda},
    {"raven-llama", "transformer.prelude.", &ModelCost::prelude},
    {"raven-llama", "transformer.adapter.", &ModelCost::core},
    {"raven-llama", "transformer.core_block.", &ModelCost::core},
    {"raven-llama", "transformer.coda.", &ModelCost::coda},
    {"llama", "model.layers.", &ModelCost::core},
    {"act", "block.", &ModelCost::core},
    {"act", "halt.", &ModelCost::core},
    {"spikewhale", "model.layers.", &ModelCost::prelude},
    {"spikewhale", "model.engram.compressor.", &ModelCost::prelude},
    {"spikewhale", "model.engram.gate.proj.", &ModelCost::prelude},
    {"spikewhale", "model.hrm_refine.", &ModelCost::core},
    {"crowfeather", "layers.", &ModelCost::core},
};

bool is_matrix(const TensorInfo& tensor) {
  return tensor.shape.size() == 2 && is_floating(tensor.dtype) && tensor.name.ends_with(".weight");
}

void count_tensors(const Checkpoint& checkpoint, const ModelInfo& info, ModelCost& cost) {
  int64_t widest = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (!is_matrix(tensor)) continue;
    for (const Row& row : kRows) {
      if (info.family != row.family || !tensor.name.starts_with(row.prefix)) continue;
      (cost.*row.stage).numbers += tensor.shape[0] * tensor.shape[1];
      (cost.*row.stage).outputs += tensor.shape[0];
      if (row.stage == &ModelCost::core && tensor.shape[0] * tensor.shape[1] > widest) {
        widest = tensor.shape[0] * tensor.shape[1];
        cost.stored_bytes = tensor.dtype == DType::kBF16 ? 2 : 4;
      }
    }
  }
}

}  // namespace

Result<ModelCost> count_cost(const Checkpoint& checkpoint, const ModelInfo& info) {
  ModelCost cost;
  PLUMB_ASSIGN(const CanonicalNames names, canonical_names(checkpoint));
  count_tensors(names.renamed ? *names.renamed : checkpoint, info, cost);
  if (cost.core.numbers == 0)
    return input_error("{}: no matrices of a core were found to count; the family is \"{}\"",
                       checkpoint.display_name(), info.family);
  cost.head = {int64_t{info.vocab_size} * info.model_dim, info.vocab_size};
  cost.attention_width = int64_t{info.n_heads} * info.head_dim;
  cost.layers = info.layers;
  if (info.family == "spikewhale") cost.layers.n_core = 0;  // a refinement pass mixes no positions
  if (info.distinct_blocks) {
    const int64_t n_blocks = std::max(1, info.max_steps);
    cost.core.numbers /= n_blocks;
    cost.core.outputs /= n_blocks;
    cost.layers.n_core = 1;
    cost.windows = info.block_windows;
  }
  return cost;
}

double ModelCost::flops(int64_t n_tokens, int64_t steps) const {
  const auto seen = [&](int64_t window) {  // keys, by all tokens of one layer
    const int64_t w = window > 0 ? std::min(window, n_tokens) : n_tokens;
    return w * (w + 1) / 2 + (n_tokens - w) * w;
  };
  int64_t keys =
      (layers.n_prelude + layers.n_coda + (windows.empty() ? steps * layers.n_core : 0)) * seen(0);
  for (int64_t step = 0; step < std::min(steps, static_cast<int64_t>(windows.size())); ++step)
    keys += seen(windows[static_cast<size_t>(step)]);
  const int64_t numbers = prelude.numbers + steps * core.numbers + coda.numbers + head.numbers;
  return 2.0 * static_cast<double>(n_tokens) * static_cast<double>(numbers) +
         4.0 * static_cast<double>(attention_width) * static_cast<double>(keys);
}

double ModelCost::bytes(const StageWeights& stage, Precision precision) const {
  const auto numbers = static_cast<double>(stage.numbers);
  if (precision == Precision::kI8) return numbers + 4.0 * static_cast<double>(stage.outputs);
  return numbers * (precision == Precision::kBF16 ? 2 : stored_bytes);
}

}  // namespace plumb
