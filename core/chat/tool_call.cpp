#include "core/chat/tool_call.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/chat/tool_schema.h"

namespace plumb {
namespace {

constexpr size_t kMaxToolFileBytes = size_t{16} << 20;
constexpr size_t kMaxTools = 10'000;
constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";

// parse_json() checks the nesting and words the error; its result loses the order of keys.
Result<OrderedJson> parse_ordered(std::string_view text, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(parse_json(text, where));
  try {
    return OrderedJson::parse(text);
  } catch (const OrderedJson::exception& error) {
    return input_error("{}: not valid JSON: {}", where, error.what());
  }
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

Result<Tool> read_tool(const OrderedJson& function, const std::string& where) {
  if (!function.is_object())
    return input_error("{} is {}, expected an object", where, function.type_name());
  const auto name = function.find("name");
  if (name == function.end() || !name->is_string() || name->get_ref<const std::string&>().empty())
    return input_error("{} has no \"name\" that is a non-empty string", where);
  Tool tool;
  tool.name = name->get<std::string>();
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || parameters->is_null()) return tool;
  PLUMB_RETURN_IF_ERROR(
      check_schema(*parameters, fmt::format("{} (\"{}\").parameters", where, tool.name)));
  tool.parameters = std::make_shared<const OrderedJson>(*parameters);
  return tool;
}

// The JSON of one block, at byte `at` of the generated text.
Result<ToolCall> read_call(std::string_view block, size_t at) {
  const std::string where = fmt::format("the tool call at byte {}", at);
  PLUMB_ASSIGN(const OrderedJson json, parse_ordered(block, where));
  if (!json.is_object())
    return input_error("{} is {}, expected an object", where, json.type_name());
  const auto name = json.find("name");
  if (name == json.end() || !name->is_string())
    return input_error("{} has no \"name\" that is a string", where);
  ToolCall call;
  call.name = name->get<std::string>();
  OrderedJson arguments = json.value("arguments", OrderedJson::object());
  if (arguments.is_string()) {
    const std::string text = arguments.get<std::string>();
    PLUMB_ASSIGN(arguments, parse_ordered(text, where + ": \"arguments\""));
  }
  if (!arguments.is_object())
    return input_error("{}: \"arguments\" is {}, expected an object", where, arguments.type_name());
  call.arguments = std::make_shared<const OrderedJson>(std::move(arguments));
  return call;
}

}  // namespace

Result<ToolSet> ToolSet::parse(std::string_view text, const std::string& where) {
  PLUMB_ASSIGN(OrderedJson json, parse_ordered(text, where));
  if (json.is_object()) json = OrderedJson::array({std::move(json)});
  if (!json.is_array())
    return input_error("{} is {}, expected an array of tools", where, json.type_name());
  if (json.size() > kMaxTools)
    return input_error("{} has {} tools, the limit is {}", where, json.size(), kMaxTools);
  ToolSet set;
  OrderedJson schemas = OrderedJson::array();
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string place = fmt::format("{}: tool {}", where, i);
    const bool wrapped = json[i].is_object() && json[i].contains("function");
    if (wrapped && json[i].value("type", OrderedJson("function")) != "function")
      return input_error("{} has the type {}, expected \"function\"", place,
                         json[i]["type"].dump());
    PLUMB_ASSIGN(Tool tool, read_tool(wrapped ? json[i]["function"] : json[i], place));
    if (set.find(tool.name) != nullptr)
      return input_error("{}: the name \"{}\" is taken", place, tool.name);
    set.tools_.push_back(std::move(tool));
    schemas.push_back(wrapped ? json[i] : OrderedJson{{"type", "function"}, {"function", json[i]}});
  }
  set.schemas_ = std::make_shared<const OrderedJson>(std::move(schemas));
  return set;
}

Result<ToolSet> ToolSet::load(const std::filesystem::path& path) {
  PLUMB_ASSIGN(const std::string text, read_text_file(path, kMaxToolFileBytes));
  return parse(text, path.string());
}

const Tool* ToolSet::find(std::string_view name) const {
  const auto it = std::find_if(tools_.begin(), tools_.end(),
                               [&](const Tool& tool) { return tool.name == name; });
  return it == tools_.end() ? nullptr : &*it;
}

Result<ToolReply> parse_tool_calls(std::string_view text) {
  ToolReply reply;
  std::string content;
  size_t at = 0;
  for (;;) {
    const size_t open = text.find(kOpen, at);
    content += text.substr(at, open == text.npos ? text.npos : open - at);
    if (open == text.npos) break;
    const size_t start = open + kOpen.size();
    const size_t close = text.find(kClose, start);
    if (close == text.npos)
      return input_error("the tool call at byte {} is not closed by {}", open, kClose);
    PLUMB_ASSIGN(ToolCall call, read_call(text.substr(start, close - start), open));
    reply.calls.push_back(std::move(call));
    at = close + kClose.size();
  }
  reply.content = trimmed(content);
  return reply;
}

Status validate_call(const ToolSet& tools, const ToolCall& call) {
  const Tool* tool = tools.find(call.name);
  if (tool == nullptr) {
    std::string known;
    for (const Tool& other : tools.tools()) known += (known.empty() ? "" : ", ") + other.name;
    return input_error("the tool \"{}\" does not exist, expected one of: {}", call.name, known);
  }
  if (tool->parameters == nullptr) return ok_status();
  return validate_value(*tool->parameters, *call.arguments, call.name);
}

OrderedJson assistant_message(const ToolReply& reply) {
  OrderedJson message = {{"role", "assistant"}, {"content", reply.content}};
  if (reply.calls.empty()) return message;
  OrderedJson calls = OrderedJson::array();
  for (const ToolCall& call : reply.calls) {
    const OrderedJson function = {{"name", call.name}, {"arguments", *call.arguments}};
    calls.push_back({{"type", "function"}, {"function", function}});
  }
  message["tool_calls"] = std::move(calls);
  return message;
}

OrderedJson tool_message(const ToolCall& call, std::string_view result) {
  return {{"role", "tool"}, {"name", call.name}, {"content", std::string(result)}};
}

}  // namespace plumb
