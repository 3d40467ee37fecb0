#include "core/io/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/io/byte_arena.h"
#include "core/io/mapped_file.h"
#include "core/io/name_map.h"
#include "core/io/safetensors.h"
#include "core/io/shards.h"
#include "core/io/torch_file.h"
#include "core/io/unique_json.h"
#include "core/io/weight_files.h"

namespace plumb {
namespace fs = std::filesystem;

struct Checkpoint::Content {
  std::vector<TensorInfo> tensors;
  Json config;
  std::string config_where;
  fs::path directory;
  std::string display_name;
  std::vector<fs::path> weight_files;
  std::vector<std::string> notes;

  // What the tensors point into.
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::vector<std::shared_ptr<ByteArena>> arenas;  // shared with renamed() copies

  std::shared_ptr<const Json> embedded_config;  // a .pt's "cfg"

  void add(SafetensorsFile file);
  Status load_torch(const fs::path& path, bool check_crc);
  Status load_weights(const WeightFiles& found, bool check_crc);
  Status load_config(const WeightFiles& found, const fs::path& override_path);
  Status rename(const NameMap& map);
};

namespace {

constexpr size_t kMaxConfigBytes = size_t{16} << 20;

Result<Json> read_config(const fs::path& path) {
  PLUMB_ASSIGN(Json config, read_unique_json_file(path, kMaxConfigBytes));
  if (!config.is_object())
    return input_error("{}: is not a JSON object, expected a model's config", path.string());
  return config;
}

}  // namespace

void Checkpoint::Content::add(SafetensorsFile file) {
  std::move(file.tensors.begin(), file.tensors.end(), std::back_inserter(tensors));
  files.push_back(std::move(file.file));
}

Status Checkpoint::Content::load_torch(const fs::path& path, bool check_crc) {
  PLUMB_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  PLUMB_ASSIGN(TorchFile torch,
               read_torch_file(file->bytes(), path.string(), {.check_crc = check_crc}));
  tensors = std::move(torch.tensors);
  embedded_config = std::move(torch.cfg);
  std::move(torch.notes.begin(), torch.notes.end(), std::back_inserter(notes));
  arenas.push_back(std::make_shared<ByteArena>(std::move(torch.arena)));
  files.push_back(std::move(file));
  return ok_status();
}

Status Checkpoint::Content::load_weights(const WeightFiles& found, bool check_crc) {
  if (found.format == WeightFormat::kTorch) {
    PLUMB_RETURN_IF_ERROR(load_torch(found.file, check_crc));
    weight_files = {found.file};
  } else if (found.format == WeightFormat::kSafetensors) {
    PLUMB_ASSIGN(SafetensorsFile file, open_safetensors(found.file));
    add(std::move(file));
    weight_files = {found.file};
  } else {
    PLUMB_ASSIGN(std::vector<SafetensorsFile> shards, open_shards(found.file));
    for (SafetensorsFile& shard : shards) {
      if (!shard.tensors.empty()) weight_files.emplace_back(shard.tensors[0].file);
      add(std::move(shard));
    }
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  if (tensors.empty()) return input_error("{}: holds no tensors", found.file.string());
  return ok_status();
}

Status Checkpoint::Content::load_config(const WeightFiles& found, const fs::path& override_path) {
  const fs::path beside = found.directory / "config.json";
  std::error_code code;
  const bool has_beside = fs::exists(beside, code);
  if (!override_path.empty()) {
    PLUMB_ASSIGN(config, read_config(override_path));
    config_where = override_path.string();
    if (embedded_config != nullptr)
      notes.push_back(
          fmt::format("{} replaces the cfg inside {}", config_where, found.file.string()));
  } else if (embedded_config != nullptr) {
    config = *embedded_config;
    config_where = found.file.string() + " (cfg)";
    if (has_beside)
      notes.push_back(fmt::format("the config is the cfg inside {}; {} is not used",
                                  found.file.string(), beside.string()));
  } else if (has_beside) {
    PLUMB_ASSIGN(config, read_config(beside));
    config_where = beside.string();
  } else {
    config_where = beside.string() + " (absent)";
  }
  return ok_status();
}

Status Checkpoint::Content::rename(const NameMap& map) {
  // Each source is transposed at most once, but several may be views of one storage.
  size_t file_bytes = 0;
  for (const auto& file : files) file_bytes += file->bytes().size();
  ByteArena arena(4 * file_bytes);
  PLUMB_ASSIGN(MappedNames mapped, apply_name_map(map, std::move(tensors), arena));
  tensors = std::move(mapped.tensors);
  std::move(mapped.notes.begin(), mapped.notes.end(), std::back_inserter(notes));
  arenas.push_back(std::make_shared<ByteArena>(std::move(arena)));
  return ok_status();
}

Result<Checkpoint> Checkpoint::open(const fs::path& model, const CheckpointOptions& options) {
  try {
    PLUMB_ASSIGN(WeightFiles found, find_weight_files(model));
    auto content = std::make_unique<Content>();
    content->display_name = model.string();
    content->directory = found.directory;
    content->notes = std::move(found.notes);
    PLUMB_RETURN_IF_ERROR(content->load_weights(found, options.check_crc));
    PLUMB_RETURN_IF_ERROR(content->load_config(found, options.config));
    if (!options.namemap.empty()) {
      PLUMB_ASSIGN(const NameMap map, read_name_map(options.namemap));
      PLUMB_RETURN_IF_ERROR(content->rename(map));
    }
    return Checkpoint(std::move(content));
  } catch (const std::exception& e) {
    return work_error("{}: cannot be opened: {}", model.string(), e.what());
  }
}

Result<Checkpoint> Checkpoint::renamed(const NameMap& map) const {
  try {
    auto content = std::make_unique<Content>(*content_);
    content->notes.clear();
    PLUMB_RETURN_IF_ERROR(content->rename(map));
    return Checkpoint(std::move(content));
  } catch (const std::exception& e) {
    return work_error("{}: cannot be renamed: {}", display_name(), e.what());
  }
}

Result<Checkpoint> Checkpoint::with_config(Json config, std::string where) const {
  if (!config.is_object())
    return input_error("{}: is not a JSON object, expected a model's config", where);
  auto content = std::make_unique<Content>(*content_);
  content->config = std::move(config);
  content->config_where = std::move(where);
  return Checkpoint(std::move(content));
}

Checkpoint::Checkpoint(std::unique_ptr<Content> content) : content_(std::move(content)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

std::span<const TensorInfo> Checkpoint::tensors() const { return content_->tensors; }
const Json& Checkpoint::config() const { return content_->config; }
std::string Checkpoint::config_where() const { return content_->config_where; }
const fs::path& Checkpoint::directory() const { return content_->directory; }
std::string Checkpoint::display_name() const { return content_->display_name; }
std::span<const fs::path> Checkpoint::weight_files() const { return content_->weight_files; }
std::span<const std::string> Checkpoint::notes() const { return content_->notes; }

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto& tensors = content_->tensors;
  const auto at =
      std::lower_bound(tensors.begin(), tensors.end(), name,
                       [](const TensorInfo& t, std::string_view n) { return t.name < n; });
  return at == tensors.end() || at->name != name ? nullptr : &*at;
}

}  // namespace plumb
