#include "core/base/json.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

namespace plumb {
namespace {

constexpr int kMaxDepth = 128;

// nlohmann's parser recurses per level when it destroys a value, so depth is bounded up front.
Status check_nesting(std::string_view text, const std::string& where) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      else if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth)
        return input_error("{}: JSON nested deeper than {} levels", where, kMaxDepth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return ok_status();
}

const Json* field_of(const Json& object, const char* field) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(field);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

bool is_whole(const Json& value) {
  if (value.is_number_integer()) return true;
  return value.is_number_float() && std::floor(value.get<double>()) == value.get<double>();
}

// Compared in their own types: near 2^63 a double cannot tell an int64 from one too large.
std::optional<int64_t> as_int64(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t whole = value.get<uint64_t>();
    return std::in_range<int64_t>(whole) ? std::optional<int64_t>(whole) : std::nullopt;
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  const double wide = value.get<double>();
  if (wide < -0x1p63 || wide >= 0x1p63) return std::nullopt;
  return static_cast<int64_t>(wide);
}

}  // namespace

Result<std::string> read_text_file(const std::filesystem::path& path, size_t max_bytes) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (code || status.type() == std::filesystem::file_type::not_found)
    return input_error("{}: no such file", path.string());
  if (status.type() == std::filesystem::file_type::directory)
    return input_error("{}: is a directory, expected a file", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in) return input_error("{}: cannot be opened for reading", path.string());
  std::string text;
  char buffer[1 << 16];
  while (in.read(buffer, sizeof(buffer)) || in.gcount() > 0) {
    text.append(buffer, static_cast<size_t>(in.gcount()));
    if (text.size() > max_bytes)
      return input_error("{}: larger than the limit of {} bytes", path.string(), max_bytes);
  }
  return text;
}

Result<Json> parse_json(std::string_view text, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(check_nesting(text, where));
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    return input_error("{}: not valid JSON: {}", where, e.what());
  }
}

Result<Json> read_json_file(const std::filesystem::path& path, size_t max_bytes) {
  PLUMB_ASSIGN(const std::string text, read_text_file(path, max_bytes));
  return parse_json(text, path.string());
}

bool JsonFields::has(const char* field) const { return field_of(*object_, field) != nullptr; }

Result<std::optional<int64_t>> JsonFields::integer(const char* field, int64_t min,
                                                   int64_t max) const {
  const Json* value = field_of(*object_, field);
  if (value == nullptr) return std::optional<int64_t>{};
  if (!is_whole(*value))
    return input_error("{}: field \"{}\" is {}, expected a whole number", where_, field,
                       value->dump());
  const std::optional<int64_t> whole = as_int64(*value);
  if (!whole.has_value() || *whole < min || *whole > max)
    return input_error("{}: field \"{}\" is {}, expected {} to {}", where_, field, value->dump(),
                       min, max);
  return whole;
}

Result<std::optional<double>> JsonFields::number(const char* field) const {
  const Json* value = field_of(*object_, field);
  if (value == nullptr) return std::optional<double>{};
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    return input_error("{}: field \"{}\" is {}, expected a finite number", where_, field, value->dump());
  return std::optional<double>{value->get<double>()};
}

Result<std::optional<bool>> JsonFields::boolean(const char* field) const {
  const Json* value = field_of(*object_, field);
  if (value == nullptr) return std::optional<bool>{};
  if (!value->is_boolean())
    return input_error("{}: field \"{}\" is {}, expected true or false", where_, field, value->dump());
  return std::optional<bool>{value->get<bool>()};
}

Result<std::optional<std::string>> JsonFields::text(const char* field) const {
  const Json* value = field_of(*object_, field);
  if (value == nullptr) return std::optional<std::string>{};
  if (!value->is_string())
    return input_error("{}: field \"{}\" is {}, expected a string", where_, field, value->dump());
  return std::optional<std::string>{value->get<std::string>()};
}

}  // namespace plumb
