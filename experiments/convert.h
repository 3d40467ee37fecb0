// Making checkpoints out of checkpoints: a Llama retrofitted into prelude / looped core / coda
// (raven.md section 7), and any readable checkpoint written as one safetensors file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/dtype.h"
#include "core/base/result.h"
#include "core/io/checkpoint.h"

namespace plumb {

// Which source layers become which blocks; layers in no list are dropped.
struct LayerSplit {
  std::vector<int> prelude, core, coda;
};

// "0-3,10-17,18-21": prelude, core and coda as one range each; or with ";" between them, each a list
// of layers and ranges: "0,2-3;10-17;21". The coda may be empty.
Result<LayerSplit> parse_layer_split(std::string_view text);
// The first `prelude` layers, the next `core`, the last `coda`. They must be all of them: to leave
// layers out is never guessed.
Result<LayerSplit> split_by_counts(int prelude, int core, int coda, int n_layers, const std::string& source);

// How the adapter, which a Llama does not have, is made: its input is [state ; prelude output].
enum class AdapterInit {
  kIdentity,         // [0 | I]: the core's input is the prelude output, so every depth gives the source's answer
  kIdentityOnState,  // [I | 0]: the core's input is the state; the prelude output is ignored
  kRandom,           // truncated normal within 3 standard deviations of sqrt(2 / (5 model_dim))
};
Result<AdapterInit> parse_adapter_init(std::string_view name);

struct StoreOptions {
  std::optional<DType> dtype;  // of floating tensors: F32, F16 or BF16; absent: as stored
  bool overwrite = false;      // else weights or a config already in the folder are an error
};

struct RetrofitOptions {
  LayerSplit layers;
  AdapterInit adapter = AdapterInit::kIdentity;
  uint64_t seed = 0;         // of a random adapter
  int mean_recurrence = 32;  // the depth the config names; 32 is what the public converter leaves
  StoreOptions store;
};

struct ConvertReport {
  std::filesystem::path weights;  // what was written
  size_t n_tensors = 0;
  size_t bytes = 0;
  int64_t parameters = 0;
  std::vector<std::string> copied;  // tokenizer files
  std::vector<std::string> notes;
};

// Writes config.json and model.safetensors into `out` and copies the tokenizer beside them. The
// head is untied: a tied source's embedding is stored twice. At one step the result gives the
// source's logits to the bit when no layer is left out and the dtype is the source's.
Result<ConvertReport> convert_retrofit(const Checkpoint& llama, const RetrofitOptions& options,
                                       const std::filesystem::path& out);

// The same weights (shards, .pt, foreign names) as one model.safetensors under canonical names with a
// complete config.json. Buffers that are recomputed anyway are left out.
Result<ConvertReport> convert_to_safetensors(const Checkpoint& checkpoint, const StoreOptions& options,
                                             const std::filesystem::path& out);

}  // namespace plumb
