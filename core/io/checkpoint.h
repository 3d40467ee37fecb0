// Checkpoint: named tensors of a model on disk, memory-mapped, with the files beside them.
//
//   MODEL is a directory (config.json; model.safetensors, or shards with
//   model.safetensors.index.json), or one weights file (.safetensors, .pt) whose directory holds
//   the rest. Nothing is copied until a tensor is read.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/io/tensor_info.h"

namespace plumb {

struct NameMap;  // core/io/name_map.h

struct CheckpointOptions {
  std::filesystem::path config;   // replaces every other config; empty: see config()
  std::filesystem::path namemap;  // a namemap-1 file applied to the tensor names; empty: none
  bool check_crc = true;          // off: accept a .pt whose checksums were left out
};

class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::filesystem::path& model,
                                 const CheckpointOptions& options = {});

  // The same bytes under other names; notes() then tells of the renaming alone.
  Result<Checkpoint> renamed(const NameMap& map) const;

  // The same weights with `config` in place of config(); `where` names it in messages.
  Result<Checkpoint> with_config(Json config, std::string where) const;

  // Sorted by name.
  std::span<const TensorInfo> tensors() const;
  // Null when absent. Lives as long as the Checkpoint.
  const TensorInfo* find(std::string_view name) const;

  // The first of: the override; the "cfg" inside a .pt, which was saved with these very weights;
  // config.json in directory(). Null JSON when there is none. Otherwise always an object.
  const Json& config() const;
  std::string config_where() const;  // names the config's source in messages

  const std::filesystem::path& directory() const;  // where tokenizer files are looked for
  std::string display_name() const;                // MODEL as given
  std::span<const std::filesystem::path> weight_files() const;  // every file with tensors, sorted

  // What was done to load this, that a user should know: names mapped, tensors gathered, a config
  // left aside. One sentence each.
  std::span<const std::string> notes() const;

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

 private:
  struct Content;
  explicit Checkpoint(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

// Reads every floating-point tensor once. A sentence that names those with NaN or infinity (the
// first few of them); nothing when all numbers are finite.
std::optional<std::string> non_finite_report(const Checkpoint& checkpoint);

}  // namespace plumb
