// The interpreter against Python's jinja2: see tests/goldens/chat/README.md.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/chat/chat_template.h"

namespace plumb {
namespace {

const std::string kGoldens = PLUMB_SOURCE_DIR "/tests/goldens/chat/";

std::string read(const std::string& name) {
  auto text = read_text_file(kGoldens + name, size_t{8} << 20);
  EXPECT_TRUE(text.ok()) << name;
  return text.ok() ? std::move(text).value() : "";
}

// 2024-07-26 13:05:09, a Friday: the clock of make_goldens.py.
std::tm golden_time() {
  std::tm now{};
  now.tm_year = 124;
  now.tm_mon = 6;
  now.tm_mday = 26;
  now.tm_hour = 13;
  now.tm_min = 5;
  now.tm_sec = 9;
  now.tm_wday = 5;
  now.tm_yday = 207;
  return now;
}

// Renders with what `variables` gives; everything but the standard names goes into `extra`.
Result<std::string> render(const std::string& text, const OrderedJson& variables) {
  PLUMB_ASSIGN(const ChatTemplate chat, ChatTemplate::parse(text, "golden"));
  const OrderedJson none;
  OrderedJson extra = variables.value("extra", OrderedJson::object());
  const auto field = [&](const char* name) -> const OrderedJson& {
    return variables.contains(name) ? variables[name] : none;
  };
  for (const auto& [name, value] : variables.items()) {
    const bool standard = name == "messages" || name == "tools" || name == "documents" ||
                          name == "title" || name == "add_generation_prompt" ||
                          name == "bos_token" || name == "eos_token" || name == "extra";
    if (!standard) extra[name] = value;
  }
  ChatInput input;
  input.messages = &field("messages");
  input.tools = &field("tools");
  input.documents = &field("documents");
  input.extra = &extra;
  input.add_generation_prompt = variables.value("add_generation_prompt", false);
  if (variables.contains("bos_token")) input.bos_token = variables["bos_token"].get<std::string>();
  if (variables.contains("eos_token")) input.eos_token = variables["eos_token"].get<std::string>();
  input.now = golden_time();
  return chat.render(input);
}

void expect_same(const OrderedJson& golden, const Result<std::string>& result,
                 const std::string& what) {
  if (golden.contains("output")) {
    ASSERT_TRUE(result.ok()) << what << "\n" << result.error().message;
    EXPECT_EQ(result.value(), golden["output"].get<std::string>()) << what;
  } else {
    ASSERT_FALSE(result.ok()) << what << "\njinja2 refuses this: " << golden["jinja2"];
    EXPECT_EQ(result.error().message.find("golden, line "), 0u) << what << "\n"
                                                                << result.error().message;
  }
}

TEST(Jinja, SmallCasesPrintWhatPythonPrints) {
  const OrderedJson goldens = OrderedJson::parse(read("cases.json"));
  ASSERT_GT(goldens["cases"].size(), 250u);
  for (const OrderedJson& golden : goldens["cases"]) {
    const std::string text = golden["template"].get<std::string>();
    expect_same(golden, render(text, goldens["variables"]), text);
  }
}

TEST(Jinja, ConversationsRenderByteForByteAsInPython) {
  const OrderedJson goldens = OrderedJson::parse(read("conversations.json"));
  std::map<std::string, OrderedJson> conversations;
  for (const OrderedJson& conversation : goldens["conversations"])
    conversations[conversation["title"].get<std::string>()] = conversation;
  ASSERT_GE(goldens["rendered"].size(), 4 * conversations.size());
  for (const OrderedJson& golden : goldens["rendered"]) {
    const std::string name = golden["template"].get<std::string>();
    const std::string title = golden["conversation"].get<std::string>();
    expect_same(golden, render(read("templates/" + name), conversations.at(title)),
                name + " on " + title);
  }
}

}  // namespace
}  // namespace plumb
