#include "core/io/shards.h"

#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/io/unique_json.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxIndexBytes = size_t{64} << 20;

using WeightMap = std::map<std::string, std::map<std::string, bool>>;  // shard -> tensor -> found

bool stays_below(const fs::path& shard) {
  if (shard.empty() || shard.has_root_path() || !shard.has_filename()) return false;
  for (const fs::path& part : shard)
    if (part == ".." || part == ".") return false;
  return true;
}

Result<WeightMap> read_weight_map(const fs::path& index) {
  PLUMB_ASSIGN(const Json json, read_unique_json_file(index, kMaxIndexBytes));
  const std::string where = index.string();
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    return input_error("{}: no object \"weight_map\", expected tensor names and their shards",
                       where);
  WeightMap map;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string())
      return input_error("{}: weight_map entry {} is not a file name", where, quote_name(tensor));
    const auto& name = shard.get_ref<const std::string&>();
    if (!stays_below(name))
      return input_error("{}: weight_map entry {} names the shard {}, which leaves the directory",
                         where, quote_name(tensor), quote_name(name));
    map[name].emplace(tensor, false);
  }
  if (map.empty()) return input_error("{}: \"weight_map\" is empty, expected tensor names", where);
  return map;
}

Status check_shard(const SafetensorsFile& shard, std::map<std::string, bool>& listed,
                   const fs::path& index, const std::string& name) {
  for (const TensorInfo& tensor : shard.tensors) {
    const auto at = listed.find(tensor.name);
    if (at == listed.end())
      return input_error("{}: tensor {} is in the shard {} but weight_map does not place it there",
                         index.string(), quote_name(tensor.name), name);
    at->second = true;
  }
  for (const auto& [tensor, found] : listed)
    if (!found)
      return input_error("{}: weight_map places tensor {} in {}, which does not hold it",
                         index.string(), quote_name(tensor), name);
  return ok_status();
}

}  // namespace

Result<std::vector<SafetensorsFile>> open_shards(const fs::path& index) {
  PLUMB_ASSIGN(WeightMap map, read_weight_map(index));
  std::vector<SafetensorsFile> shards;
  for (auto& [name, listed] : map) {
    const fs::path path = index.parent_path() / name;
    std::error_code code;
    if (!fs::exists(path, code))
      return input_error("{}: the shard {} is missing from the directory", index.string(), name);
    PLUMB_ASSIGN(SafetensorsFile shard, open_safetensors(path));
    PLUMB_RETURN_IF_ERROR(check_shard(shard, listed, index, name));
    shards.push_back(std::move(shard));
  }
  return shards;
}

}  // namespace plumb
