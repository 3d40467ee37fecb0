#include "core/chat/tool_schema.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/chat/jinja_text.h"

namespace plumb {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr int kMaxSchemaDepth = 32;
constexpr std::string_view kTypes[] = {"object",  "array",   "string", "number",
                                       "integer", "boolean", "null"};
constexpr std::string_view kLimits[] = {"minimum", "maximum", "exclusiveMinimum",
                                        "exclusiveMaximum"};
constexpr std::string_view kCounts[] = {"minLength", "maxLength", "minItems", "maxItems"};
constexpr std::string_view kAnnotations[] = {"title",    "description", "default",  "examples",
                                             "format",   "deprecated",  "$schema",  "$id",
                                             "$comment", "nullable",    "readOnly", "writeOnly"};

template <class Table>
bool listed(const Table& table, std::string_view name) {
  return std::find(std::begin(table), std::end(table), name) != std::end(table);
}

Status check_types(const OrderedJson& types, const std::string& where) {
  const auto known = [](const OrderedJson& type) {
    return type.is_string() && listed(kTypes, type.get_ref<const std::string&>());
  };
  const bool fine = types.is_array()
                        ? !types.empty() && std::all_of(types.begin(), types.end(), known)
                        : known(types);
  if (!fine)
    return input_error("{}.type is {}, expected a JSON type or a list of them", where,
                       types.dump());
  return ok_status();
}

Status check_at(const OrderedJson& schema, const std::string& where, int depth);

Status check_properties(const OrderedJson& properties, const std::string& where, int depth) {
  if (!properties.is_object())
    return input_error("{}.properties is {}, expected an object", where, properties.type_name());
  for (const auto& [name, schema] : properties.items())
    PLUMB_RETURN_IF_ERROR(check_at(schema, fmt::format("{}.{}", where, name), depth + 1));
  return ok_status();
}

Status check_keyword(const std::string& keyword, const OrderedJson& rule, const std::string& where,
                     int depth) {
  if (listed(kAnnotations, keyword) || keyword == "const") return ok_status();
  if (keyword == "type") return check_types(rule, where);
  if (keyword == "properties") return check_properties(rule, where, depth);
  if (keyword == "items") return check_at(rule, where + "[]", depth + 1);
  if (keyword == "additionalProperties")
    return rule.is_boolean() ? ok_status() : check_at(rule, where + ".*", depth + 1);
  if (keyword == "required") {
    const bool names = rule.is_array() && std::all_of(rule.begin(), rule.end(),
                                                      [](const auto& n) { return n.is_string(); });
    return names ? ok_status() : Status(input_error("{}.required is not a list of names", where));
  }
  if (keyword == "enum")
    return rule.is_array()
               ? ok_status()
               : Status(input_error("{}.enum is {}, expected an array", where, rule.type_name()));
  if (keyword == "anyOf") {
    if (!rule.is_array() || rule.empty())
      return input_error("{}.anyOf is not a list of schemas", where);
    for (const OrderedJson& option : rule)
      PLUMB_RETURN_IF_ERROR(check_at(option, where, depth + 1));
    return ok_status();
  }
  if (listed(kLimits, keyword))
    return rule.is_number() ? ok_status()
                            : Status(input_error("{}.{} is {}, expected a number", where, keyword,
                                                 rule.type_name()));
  if (listed(kCounts, keyword))
    return rule.is_number_unsigned()
               ? ok_status()
               : Status(input_error("{}.{} is {}, expected a whole number from 0 on", where,
                                    keyword, rule.dump()));
  return input_error("{}: the schema keyword \"{}\" is not supported", where, keyword);
}

Status check_at(const OrderedJson& schema, const std::string& where, int depth) {
  if (depth > kMaxSchemaDepth)
    return input_error("{}: schemas nested deeper than {} levels", where, kMaxSchemaDepth);
  if (!schema.is_object())
    return input_error("{} is {}, expected a schema object", where, schema.type_name());
  for (const auto& [keyword, rule] : schema.items())
    PLUMB_RETURN_IF_ERROR(check_keyword(keyword, rule, where, depth));
  return ok_status();
}

bool has_type(const OrderedJson& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  // 2.0 is an integer to JSON schema.
  return value.is_number_integer() ||
         (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
}

Status validate_type(const OrderedJson& types, const OrderedJson& value, const std::string& path) {
  const auto matches = [&](const OrderedJson& type) {
    return has_type(value, type.get_ref<const std::string&>());
  };
  const bool fine =
      types.is_array() ? std::any_of(types.begin(), types.end(), matches) : matches(types);
  if (!fine) return input_error("{} is {}, expected type {}", path, value.dump(), types.dump());
  return ok_status();
}

Status validate_number(const OrderedJson& schema, const OrderedJson& value,
                       const std::string& path) {
  const double number = value.get<double>();
  const auto limit = [&](const char* keyword, auto holds) -> Status {
    const auto rule = schema.find(keyword);
    if (rule == schema.end() || holds(number, rule->get<double>())) return ok_status();
    return input_error("{} is {}, expected {} {}", path, value.dump(), keyword, rule->dump());
  };
  PLUMB_RETURN_IF_ERROR(limit("minimum", [](double a, double b) { return a >= b; }));
  PLUMB_RETURN_IF_ERROR(limit("maximum", [](double a, double b) { return a <= b; }));
  PLUMB_RETURN_IF_ERROR(limit("exclusiveMinimum", [](double a, double b) { return a > b; }));
  return limit("exclusiveMaximum", [](double a, double b) { return a < b; });
}

Status validate_count(const OrderedJson& schema, const char* least, const char* most, size_t count,
                      const char* unit, const std::string& path) {
  const auto low = schema.find(least), high = schema.find(most);
  if (low != schema.end() && count < low->get<uint64_t>())
    return input_error("{} has {} {}, expected at least {}", path, count, unit, low->dump());
  if (high != schema.end() && count > high->get<uint64_t>())
    return input_error("{} has {} {}, expected at most {}", path, count, unit, high->dump());
  return ok_status();
}

Status validate_array(const OrderedJson& schema, const OrderedJson& value,
                      const std::string& path) {
  PLUMB_RETURN_IF_ERROR(
      validate_count(schema, "minItems", "maxItems", value.size(), "items", path));
  const auto items = schema.find("items");
  if (items == schema.end()) return ok_status();
  for (size_t i = 0; i < value.size(); ++i)
    PLUMB_RETURN_IF_ERROR(validate_value(*items, value[i], fmt::format("{}[{}]", path, i)));
  return ok_status();
}

Status validate_object(const OrderedJson& schema, const OrderedJson& value,
                       const std::string& path) {
  if (const auto required = schema.find("required"); required != schema.end())
    for (const OrderedJson& name : *required)
      if (!value.contains(name.get_ref<const std::string&>()))
        return input_error("{}: the argument \"{}\" is missing", path,
                           name.get_ref<const std::string&>());
  const OrderedJson none = OrderedJson::object();
  const auto properties = schema.find("properties");
  const OrderedJson& known = properties == schema.end() ? none : *properties;
  const auto others = schema.find("additionalProperties");
  for (const auto& [name, item] : value.items()) {
    const std::string place = fmt::format("{}.{}", path, name);
    if (const auto rule = known.find(name); rule != known.end()) {
      PLUMB_RETURN_IF_ERROR(validate_value(*rule, item, place));
    } else if (others != schema.end() && others->is_object()) {
      PLUMB_RETURN_IF_ERROR(validate_value(*others, item, place));
    } else if (others != schema.end() && !others->get<bool>()) {
      return input_error("{}: the argument \"{}\" is not one of the schema's", path, name);
    }
  }
  return ok_status();
}

Status validate_choice(const OrderedJson& schema, const OrderedJson& value,
                       const std::string& path) {
  if (const auto rule = schema.find("enum"); rule != schema.end())
    if (std::find(rule->begin(), rule->end(), value) == rule->end())
      return input_error("{} is {}, expected one of {}", path, value.dump(), rule->dump());
  if (const auto rule = schema.find("const"); rule != schema.end() && *rule != value)
    return input_error("{} is {}, expected {}", path, value.dump(), rule->dump());
  const auto options = schema.find("anyOf");
  if (options == schema.end()) return ok_status();
  for (const OrderedJson& option : *options)
    if (validate_value(option, value, path).ok()) return ok_status();
  return input_error("{} is {}, which fits none of its {} schemas", path, value.dump(),
                     options->size());
}

}  // namespace

Status check_schema(const OrderedJson& schema, const std::string& where) {
  return check_at(schema, where, 0);
}

Status validate_value(const OrderedJson& schema, const OrderedJson& value,
                      const std::string& path) {
  if (const auto types = schema.find("type"); types != schema.end()) {
    // OpenAPI's way of adding null to a type.
    const bool null_allowed = schema.value("nullable", OrderedJson(false)) == OrderedJson(true);
    if (!(null_allowed && value.is_null()))
      PLUMB_RETURN_IF_ERROR(validate_type(*types, value, path));
  }
  PLUMB_RETURN_IF_ERROR(validate_choice(schema, value, path));
  if (value.is_number()) return validate_number(schema, value, path);
  if (value.is_string())
    return validate_count(schema, "minLength", "maxLength",
                          jinja::count_points(value.get_ref<const std::string&>()), "characters",
                          path);
  if (value.is_array()) return validate_array(schema, value, path);
  if (value.is_object()) return validate_object(schema, value, path);
  return ok_status();
}

}  // namespace plumb
