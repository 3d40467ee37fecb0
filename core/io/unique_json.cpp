#include "core/io/unique_json.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "core/io/tensor_info.h"

namespace plumb {
namespace {

// The first key that occurs twice in one object; empty when there is none.
// REQUIRES `text` is valid JSON.
std::optional<std::string> repeated_key(std::string_view text) {
  std::vector<std::unordered_set<std::string>> open_objects;
  std::optional<std::string> repeated;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second && !repeated) repeated = key;
    }
    return true;
  };
  const Json ignored = Json::parse(text, watch);
  return repeated;
}

}  // namespace

Result<Json> read_unique_json_file(const std::filesystem::path& path, size_t max_bytes) {
  PLUMB_ASSIGN(const std::string text, read_text_file(path, max_bytes));
  PLUMB_ASSIGN(Json json, parse_json(text, path.string()));
  if (const auto key = repeated_key(text))
    return input_error("{}: the key {} appears twice in one object", path.string(),
                       quote_name(*key));
  return json;
}

}  // namespace plumb
