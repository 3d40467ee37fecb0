// Tools: their schemas, the calls a model writes, and the replies it is fed.
//
//   <tool_call>
//   {"name": "get_weather", "arguments": {"city": "Paris"}}
//   </tool_call>
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace plumb {

using OrderedJson = nlohmann::ordered_json;

// One function a model may call. Parameters stay JSON, shared so that this header needs no parser.
struct Tool {
  std::string name;
  std::shared_ptr<const OrderedJson> parameters;  // a JSON schema; null: any arguments
};

class ToolSet {
 public:
  // An array of tools, or one tool: bare schemas {"name", "description", "parameters"} or
  // {"type": "function", "function": {...}}, in any mixture. `where` names the source in errors.
  static Result<ToolSet> parse(std::string_view text, const std::string& where);
  static Result<ToolSet> load(const std::filesystem::path& path);

  const std::vector<Tool>& tools() const { return tools_; }
  // What templates take as `tools`: every entry as {"type": "function", "function": {...}}, keys
  // in the order of the file.
  const OrderedJson& schemas() const { return *schemas_; }
  // nullptr when there is none of that name.
  const Tool* find(std::string_view name) const;

 private:
  std::vector<Tool> tools_;
  std::shared_ptr<const OrderedJson> schemas_;
};

inline Result<ToolSet> load_tools(const std::filesystem::path& path) { return ToolSet::load(path); }

struct ToolCall {
  std::string name;
  std::shared_ptr<const OrderedJson> arguments;  // an object, never null
};

struct ToolReply {
  std::string content;  // what stands outside the calls, trimmed of white space at both ends
  std::vector<ToolCall> calls;
};

// Splits generated text. A block that is not closed, not JSON, or without a string "name" and an
// object "arguments" (absent: {}; a string that holds an object is taken as that object) is an
// error that gives the position in bytes in `text`.
Result<ToolReply> parse_tool_calls(std::string_view text);

// Checks the tool's existence and the arguments against its schema. Supported: type (also a list
// of types), properties, required, additionalProperties, enum, const, items, minItems, maxItems,
// minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, anyOf; annotations
// (title, description, default, examples, format, ...) are passed over. Any other keyword is an
// error: a rule that is not checked would pass for one that is. Sentences name the argument's path.
Status validate_call(const ToolSet& tools, const ToolCall& call);

// Messages to append to a conversation: the assistant's own, and the reply of one tool.
// `result` is text or JSON text and is passed on as it is.
OrderedJson assistant_message(const ToolReply& reply);
OrderedJson tool_message(const ToolCall& call, std::string_view result);

}  // namespace plumb
