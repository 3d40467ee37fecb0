#include <nlohmann/json.hpp>

#include "core/io/name_map.h"
#include "core/io/unique_json.h"

namespace plumb {
namespace {

constexpr size_t kMaxFileBytes = size_t{16} << 20;

size_t count_numbers(std::string_view name) {
  size_t count = 0;
  for (size_t at = name.find(kNumberMark); at != std::string_view::npos;
       at = name.find(kNumberMark, at + 1))
    ++count;
  return count;
}

Result<std::vector<std::string>> target_names(const Json& value, const std::string& where) {
  if (!value.is_array() || value.empty())
    return input_error("{}: \"split0\" is not a list of names", where);
  std::vector<std::string> names;
  for (const Json& name : value) {
    if (!name.is_string()) return input_error("{}: \"split0\" is not a list of names", where);
    names.push_back(name.get<std::string>());
  }
  return names;
}

Status read_action(const std::string& key, const Json& value, const std::string& where,
                   NameRule& rule) {
  if (key == "drop") {
    rule.action = NameRule::Action::kDrop;
    if (value != true) return input_error("{}: \"drop\" can only be true", where);
    return ok_status();
  }
  if (key == "split0") {
    rule.action = NameRule::Action::kSplit0;
    PLUMB_ASSIGN(rule.targets, target_names(value, where));
    return ok_status();
  }
  rule.action = key == "to" ? NameRule::Action::kTo : NameRule::Action::kTiedTo;
  if (!value.is_string()) return input_error("{}: \"{}\" is not a name", where, key);
  rule.targets = {value.get<std::string>()};
  return ok_status();
}

Status check_rule(const NameRule& rule, int n_actions, const std::string& where) {
  if (rule.from.empty()) return input_error("{}: no name \"from\"", where);
  if (n_actions != 1)
    return input_error(
        "{} (from {}): has {} actions, expected exactly one of to, split0, tied_to, drop", where,
        quote_name(rule.from), n_actions);
  if (rule.transpose && rule.action != NameRule::Action::kTo)
    return input_error("{} (from {}): \"transpose\" goes with \"to\" only", where,
                       quote_name(rule.from));
  const size_t numbers = count_numbers(rule.from);
  if (numbers > 1)
    return input_error("{} (from {}): {{i}} may stand once, not {} times", where,
                       quote_name(rule.from), numbers);
  for (const std::string& target : rule.targets) {
    if (target.empty())
      return input_error("{} (from {}): an empty target name", where, quote_name(rule.from));
    if (numbers == 0 && count_numbers(target) > 0)
      return input_error("{} (from {}): target {} holds {{i}} but \"from\" does not", where,
                         quote_name(rule.from), quote_name(target));
  }
  return ok_status();
}

Result<NameRule> read_rule(const Json& json, const std::string& where) {
  if (!json.is_object()) return input_error("{}: is not an object", where);
  NameRule rule;
  int n_actions = 0;
  for (const auto& [key, value] : json.items()) {
    if (key == "from") {
      if (!value.is_string()) return input_error("{}: \"from\" is not a name", where);
      rule.from = value.get<std::string>();
    } else if (key == "transpose") {
      if (!value.is_boolean()) return input_error("{}: \"transpose\" is not true or false", where);
      rule.transpose = value.get<bool>();
    } else if (key == "to" || key == "split0" || key == "tied_to" || key == "drop") {
      ++n_actions;
      PLUMB_RETURN_IF_ERROR(read_action(key, value, where, rule));
    } else {
      return input_error("{}: unknown key {}", where, quote_name(key));
    }
  }
  PLUMB_RETURN_IF_ERROR(check_rule(rule, n_actions, where));
  return rule;
}

}  // namespace

Result<NameMap> read_name_map(const std::filesystem::path& path) {
  PLUMB_ASSIGN(const Json json, read_unique_json_file(path, kMaxFileBytes));
  const std::string where = path.string();
  if (!json.is_object() || !json.contains("format") || json["format"] != "namemap-1")
    return input_error("{}: \"format\" is not \"namemap-1\"", where);
  for (const auto& item : json.items())
    if (item.key() != "format" && item.key() != "rules")
      return input_error("{}: unknown key {}", where, quote_name(item.key()));
  if (!json.contains("rules") || !json["rules"].is_array() || json["rules"].empty())
    return input_error("{}: \"rules\" is not a list of rules", where);
  NameMap map{where, {}};
  for (size_t i = 0; i < json["rules"].size(); ++i) {
    PLUMB_ASSIGN(NameRule rule,
                 read_rule(json["rules"][i], fmt::format("{}: rule {}", where, i + 1)));
    map.rules.push_back(std::move(rule));
  }
  return map;
}

}  // namespace plumb
