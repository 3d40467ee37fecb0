#include "core/chat/tool_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/chat/chat_template.h"

namespace plumb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kTools = R"([
  {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object",
    "properties": {
      "city": {"type": "string", "minLength": 1, "maxLength": 5, "description": "A town"},
      "unit": {"type": "string", "enum": ["C", "F"]},
      "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 7},
      "at": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
      "how": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}},
    "required": ["city"], "additionalProperties": false}}},
  {"name": "ping"}])";

ToolSet tools() { return ToolSet::parse(kTools, "tools.json").value(); }

std::string validate(const std::string& name, const std::string& arguments) {
  const ToolCall call{name, std::make_shared<const OrderedJson>(OrderedJson::parse(arguments))};
  const Status status = validate_call(tools(), call);
  return status.ok() ? "ok" : status.error().message;
}

TEST(ToolSet, TakesBareAndWrappedSchemasAndKeepsTheirOrder) {
  const ToolSet set = tools();
  ASSERT_EQ(set.tools().size(), 2u);
  EXPECT_EQ(set.schemas()[1].dump(), R"({"type":"function","function":{"name":"ping"}})");
  EXPECT_EQ(set.schemas()[0]["function"].begin().key(), "name");
  EXPECT_NE(set.find("ping"), nullptr);
  EXPECT_EQ(set.find("nope"), nullptr);
}

TEST(ToolSet, LoadsOneToolFromAFile) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "plumb_one_tool.json";
  std::ofstream(path) << R"({"name": "solo", "parameters": {"type": "object"}})";
  const auto set = load_tools(path);
  ASSERT_TRUE(set.ok()) << set.error().message;
  EXPECT_EQ(set.value().tools()[0].name, "solo");
  std::filesystem::remove(path);
  EXPECT_FALSE(load_tools(path).ok());
}

TEST(ToolSet, RefusesWhatItCannotCheck) {
  const std::pair<const char*, const char*> cases[] = {
      {"{", "not valid JSON"},
      {"3", "expected an array of tools"},
      {R"([{"description": "x"}])", "tool 0 has no \"name\""},
      {R"([{"name": "a"}, {"name": "a"}])", "the name \"a\" is taken"},
      {R"([{"type": "retrieval", "function": {"name": "a"}}])", "expected \"function\""},
      {R"([{"name": "a", "parameters": {"properties": {"p": {"pattern": "^x"}}}}])",
       "a\").parameters.p: the schema keyword \"pattern\""},
      {R"([{"name": "a", "parameters": {"type": "text"}}])", "type is \"text\""},
      {R"([{"name": "a", "parameters": {"properties": {"p": {"minLength": -1}}}}])",
       "minLength is -1"},
  };
  for (const auto& [text, sentence] : cases) {
    const auto set = ToolSet::parse(text, "tools.json");
    ASSERT_FALSE(set.ok()) << text;
    EXPECT_THAT(set.error().message, AllOf(HasSubstr("tools.json"), HasSubstr(sentence))) << text;
  }
}

TEST(ToolCall, FindsCallsAndTheTextAroundThem) {
  const auto reply = parse_tool_calls(
      "Let me look.\n<tool_call>\n{\"name\": \"a\", \"arguments\": {\"z\": 1, \"b\": "
      "[2]}}\n</tool_call>\n"
      "<tool_call>{\"name\": \"b\"}</tool_call> <tool_call>{\"name\": \"c\", \"arguments\": "
      "\"{\\\"q\\\": true}\"}</tool_call>");
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply.value().content, "Let me look.");
  ASSERT_EQ(reply.value().calls.size(), 3u);
  EXPECT_EQ(reply.value().calls[0].arguments->dump(), R"({"z":1,"b":[2]})");
  EXPECT_EQ(reply.value().calls[1].arguments->dump(), "{}");
  EXPECT_EQ(reply.value().calls[2].arguments->dump(), R"({"q":true})");
}

TEST(ToolCall, TextWithoutCallsIsContent) {
  const auto reply = parse_tool_calls("  just </tool_call> text \n");
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply.value().content, "just </tool_call> text");
  EXPECT_TRUE(reply.value().calls.empty());
}

TEST(ToolCall, BrokenCallsGiveTheirPosition) {
  const std::pair<std::string, const char*> cases[] = {
      {"abc<tool_call>{\"name\": \"a\"", "the tool call at byte 3 is not closed"},
      {"<tool_call>{\"name\": </tool_call>", "the tool call at byte 0: not valid JSON"},
      {"x<tool_call>[]</tool_call>", "the tool call at byte 1 is array, expected an object"},
      {"<tool_call>{\"arguments\": {}}</tool_call>", "has no \"name\""},
      {"<tool_call>{\"name\": \"a\", \"arguments\": [1]}</tool_call>",
       "\"arguments\" is array, expected an object"},
      {"<tool_call>{\"name\": \"a\", \"arguments\": \"{\"}</tool_call>",
       "\"arguments\": not valid JSON"},
      {"<tool_call>" + std::string(500, '[') + "</tool_call>", "nested deeper"},
  };
  for (const auto& [text, sentence] : cases) {
    const auto reply = parse_tool_calls(text);
    ASSERT_FALSE(reply.ok()) << text;
    EXPECT_THAT(reply.error().message, HasSubstr(sentence));
  }
}

TEST(ToolCall, ArgumentsAreHeldToTheSchema) {
  EXPECT_EQ(validate("get_weather",
                     R"({"city": "Rome", "unit": "C", "days": null, "at": [1, 2.5], "how": true})"),
            "ok");
  EXPECT_EQ(validate("get_weather", R"({"city": "Zürih", "days": 7.0})"), "ok");
  EXPECT_EQ(validate("ping", R"({"anything": 1})"), "ok");
  const std::pair<const char*, const char*> cases[] = {
      {R"({})", "get_weather: the argument \"city\" is missing"},
      {R"({"city": 5})", "get_weather.city is 5, expected type \"string\""},
      {R"({"city": ""})", "get_weather.city has 0 characters, expected at least 1"},
      {R"({"city": "London"})", "get_weather.city has 6 characters, expected at most 5"},
      {R"({"city": "a", "unit": "K"})", "get_weather.unit is \"K\", expected one of [\"C\",\"F\"]"},
      {R"({"city": "a", "days": 0})", "get_weather.days is 0, expected minimum 1"},
      {R"({"city": "a", "days": 8})", "get_weather.days is 8, expected maximum 7"},
      {R"({"city": "a", "days": 1.5})", "expected type [\"integer\",\"null\"]"},
      {R"({"city": "a", "at": [1]})", "get_weather.at has 1 items, expected at least 2"},
      {R"({"city": "a", "at": [1, "x"]})", "get_weather.at[1] is \"x\", expected type \"number\""},
      {R"({"city": "a", "how": 3})", "get_weather.how is 3, which fits none of its 2 schemas"},
      {R"({"city": "a", "town": "b"})",
       "get_weather: the argument \"town\" is not one of the schema's"},
  };
  for (const auto& [arguments, sentence] : cases)
    EXPECT_THAT(validate("get_weather", arguments), HasSubstr(sentence));
  EXPECT_EQ(validate("get_time", "{}"),
            "the tool \"get_time\" does not exist, expected one of: get_weather, ping");
}

// What a model wrote, fed back through a template, comes out as it was written.
TEST(ToolCall, MessagesGoRoundThroughATemplate) {
  const std::string written =
      "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": \"é\"}}\n</tool_call>";
  const auto reply = parse_tool_calls(written);
  ASSERT_TRUE(reply.ok());
  const OrderedJson messages = OrderedJson::array(
      {assistant_message(reply.value()), tool_message(reply.value().calls[0], "{\"ok\": true}")});
  const auto chat = ChatTemplate::parse(
      "{% for m in messages %}{% for c in m.tool_calls %}<tool_call>\n{\"name\": \"{{ "
      "c.function.name }}\", \"arguments\": "
      "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}{{ m.content }}{% endfor %}",
      "t");
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  ChatInput input;
  input.messages = &messages;
  const auto text = chat.value().render(input);
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(text.value(), written + "{\"ok\": true}");
}

}  // namespace
}  // namespace plumb
