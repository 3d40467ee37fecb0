// JSON from outside: bounded, and every access names the file and the field when it fails.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace plumb {

using Json = nlohmann::json;

// Reads and parses a file of at most `max_bytes`. Nesting deeper than 128 is refused.
Result<Json> read_json_file(const std::filesystem::path& path, size_t max_bytes = size_t{256} << 20);
// `where` names the source in error sentences.
Result<Json> parse_json(std::string_view text, const std::string& where);

// Typed fields of one JSON object. A missing or null field is nullopt; one of the wrong type, or
// an integer outside [min, max], is an error that names file and field.
class JsonFields {
 public:
  // REQUIRES `object` outlives this.
  JsonFields(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  Result<std::optional<int64_t>> integer(const char* field, int64_t min, int64_t max) const;
  Result<std::optional<double>> number(const char* field) const;  // finite
  Result<std::optional<bool>> boolean(const char* field) const;
  Result<std::optional<std::string>> text(const char* field) const;
  bool has(const char* field) const;  // present and not null

  const std::string& where() const { return where_; }

 private:
  const Json* object_;
  std::string where_;
};

// A whole file as bytes, of at most `max_bytes`.
Result<std::string> read_text_file(const std::filesystem::path& path, size_t max_bytes);

}  // namespace plumb
