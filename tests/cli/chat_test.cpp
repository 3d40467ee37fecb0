// plumb chat and generate --chat, with a model whose every word is known.
#include <nlohmann/json.hpp>

#include "tests/cli/cli_fixture.h"
#include "tests/cli/scripted_model.h"

namespace plumb::testing {
namespace {

using Json = nlohmann::json;

const std::string kTemplate =
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>\n{% endif "
    "%}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% set last = messages[-1] %}"
    "{% if last.role == 'tool' and 'stubborn' not in messages[0].content %}"
    "{% if 'error' in last.content %}<|sorry|>{% else %}<|told|>{% endif %}"
    "{% elif 'stubborn' in messages[0].content or 'broken' in last.content %}<|broken|>"
    "{% elif 'number' in last.content %}<|number|>"
    "{% elif 'weather' in last.content %}<|weather|>"
    "{% else %}<|plain|>{% endif %}{% endif %}";

const char* kTools =
    R"([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
  "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])";

class Chat : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    const std::string end = "<|im_end|>";
    const ScriptedModel model({
        {"<|plain|>", "Hello", " the", "re, \xC3", "\xA9t", "\xC3\xA9.", end},
        {"<|weather|>", "I look.",
         "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n</tool_call>",
         end},
        {"<|broken|>", "<tool_call>\n{\"name\": \"weather\", }\n</tool_call>", end},
        {"<|number|>",
         "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": 7}}\n</tool_call>", end},
        {"<|told|>", "It is sunny.", end},
        {"<|sorry|>", "I was wrong.", end},
        {"<|im_start|>"},
    });
    model.write(folder_ / "model", kTemplate);
    model_ = path("model");
    tools_ = write("tools.json", kTools);
  }

  Json generate(const std::string& messages, int status, const std::string& more = "") const {
    const Answer answer = call("generate " + model_ + " --json --tools " + tools_ + " --chat " +
                               write("messages.json", messages) + more);
    EXPECT_EQ(answer.status, status) << answer.err;
    const Json json = Json::parse(answer.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << answer.out;
    return json;
  }

  std::string model_, tools_;
};

TEST_F(Chat, AnswersAndKeepsTheConversation) {
  const Answer answer = call("chat " + model_ + " --system 'Be kind.'",
                             "Hi\n//tmp is full\nand \\\nmore\n/messages\n/quit\nnever read\n");
  EXPECT_EQ(answer.status, 0) << answer.err;
  const std::string reply = "Hello there, \xC3\xA9t\xC3\xA9.\n";
  EXPECT_EQ(answer.out.substr(0, 3 * reply.size()), reply + reply + reply);
  const Json messages = Json::parse(answer.out.substr(3 * reply.size()));
  ASSERT_EQ(messages.size(), 7U);
  EXPECT_EQ(messages[0], Json({{"role", "system"}, {"content", "Be kind."}}));
  EXPECT_EQ(messages[2]["content"], "Hello there, \xC3\xA9t\xC3\xA9.");
  EXPECT_EQ(messages[3]["content"], "/tmp is full");
  EXPECT_EQ(messages[5]["content"], "and \nmore");
}

TEST_F(Chat, ShowsTheDepthOfEveryTokenAndChangesIt) {
  const Answer answer =
      call("chat " + model_, "Hi\n/depth\n/steps 1\n/steps\nHi\n/depth\n/steps default\n/steps\n");
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(answer.out.find("[2]Hello[2] the[2]re"), std::string::npos) << answer.out;
  EXPECT_NE(answer.out.find("mean 2.00, 2 to 2, 6 tokens"), std::string::npos) << answer.out;
  EXPECT_NE(answer.out.find("[1]Hello[1] the[1]re"), std::string::npos) << answer.out;
  EXPECT_NE(answer.out.find("\nblocks: 1\n"), std::string::npos) << answer.out;
  EXPECT_NE(answer.out.find("\nblocks: 2\n"), std::string::npos) << answer.out;
}

TEST_F(Chat, AToolIsCalledAndItsResponseFedBack) {
  const Answer answer = call("chat " + model_ + " --tools " + tools_,
                             "The weather?\n{\"sky\": \"clear\"}\n/messages\n");
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(answer.err.find("call of weather {\"city\":\"Bern\"}"), std::string::npos)
      << answer.err;
  EXPECT_NE(answer.out.find("</tool_call>\nIt is sunny.\n"), std::string::npos) << answer.out;
  const Json messages = Json::parse(answer.out.substr(answer.out.find("\n[") + 1));
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[1]["content"], "I look.");
  EXPECT_EQ(messages[1]["tool_calls"][0]["function"]["arguments"], Json({{"city", "Bern"}}));
  EXPECT_EQ(messages[2]["role"], "tool");
  // This template has no <tool_response> of its own.
  EXPECT_EQ(messages[2]["content"], "<tool_response>\n{\"sky\": \"clear\"}\n</tool_response>");
  EXPECT_EQ(messages[3]["content"], "It is sunny.");
}

TEST_F(Chat, AnUnusableCallIsToldToTheModel) {
  for (const auto& [word, why] :
       {std::pair{"broken", "not valid JSON"}, std::pair{"number", "weather.city is 7"}}) {
    const Answer answer =
        call("chat " + model_ + " --tools " + tools_, std::string("A ") + word + " one\n");
    EXPECT_EQ(answer.status, 0) << answer.err;
    EXPECT_NE(answer.err.find("unusable tool call: "), std::string::npos) << answer.err;
    EXPECT_NE(answer.err.find(why), std::string::npos) << answer.err;
    EXPECT_NE(answer.out.find("I was wrong."), std::string::npos) << answer.out;
  }
}

TEST_F(Chat, AModelThatNeverCallsRightIsStopped) {
  const Answer answer = call("chat " + model_ + " --tools " + tools_, "stubborn\n");
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(answer.err.find("4 replies in a row with unusable tool calls"), std::string::npos)
      << answer.err;
}

TEST_F(Chat, WithoutToolsACallIsText) {
  const Answer answer = call("chat " + model_, "The weather?\n");
  EXPECT_EQ(answer.out,
            "I look.<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": "
            "\"Bern\"}}\n</tool_call>\n");
}

TEST_F(Chat, GenerateGivesScriptsTheParsedCalls) {
  const Json json = generate(R"([{"role": "user", "content": "The weather?"}])", 0);
  const Json& chat = json["chat"];
  EXPECT_EQ(chat["content"], "I look.");
  ASSERT_EQ(chat["tool_calls"].size(), 1U);
  EXPECT_EQ(chat["tool_calls"][0]["name"], "weather");
  EXPECT_EQ(chat["tool_calls"][0]["arguments"], Json({{"city", "Bern"}}));
  EXPECT_TRUE(chat["tool_calls"][0]["error"].is_null());
  EXPECT_TRUE(chat["tool_errors"].empty());
  EXPECT_EQ(chat["messages"].size(), 2U);
  EXPECT_EQ(chat["prompt"].get<std::string>().find("<tools>{\"type\": \"function\""), 0U);
  EXPECT_EQ(json["stopped_by"], "stop-id");
  // The script answers with the response, and goes on.
  Json messages = chat["messages"];
  messages.push_back({{"role", "tool"}, {"name", "weather"}, {"content", "sun"}});
  EXPECT_EQ(generate(Json{{"messages", messages}}.dump(), 0)["chat"]["content"], "It is sunny.");
}

TEST_F(Chat, GenerateTellsOfUnusableCalls) {
  const Json broken = generate(R"([{"role": "user", "content": "broken"}])", 1);
  EXPECT_NE(broken["chat"]["tool_errors"][0].get<std::string>().find("not valid JSON"),
            std::string::npos);
  const Json number = generate(R"([{"role": "user", "content": "number"}])", 1);
  EXPECT_NE(number["chat"]["tool_calls"][0]["error"].get<std::string>().find("weather.city is 7"),
            std::string::npos);
  const Answer answer = call("generate " + model_ + " --tools " + tools_ + " --chat " +
                             write("m.json", R"([{"role": "user", "content": "broken"}])"));
  EXPECT_EQ(answer.status, 1);
  EXPECT_NE(answer.err.find("tool call cannot be used"), std::string::npos) << answer.err;
}

TEST_F(Chat, RefusesConversationsThatCannotBe) {
  const auto refuse_messages = [&](const std::string& messages, const std::string& expected) {
    refuse("generate " + model_ + " --tools " + tools_ + " --chat " + write("bad.json", messages),
           expected);
  };
  refuse_messages("{", "bad.json");
  refuse_messages("[]", "an empty array");
  refuse_messages("[3]", "messages[0] is number");
  refuse_messages(R"([{"content": "x"}])", "messages[0] has no \"role\"");
  refuse_messages(
      R"([{"role": "user", "content": "x"}, {"role": "assistant", "content": "<tool_call>{\"name\": }</tool_call>"}])",
      "messages[1]");
  refuse_messages(
      R"([{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": "{\"city\":"}}]}])",
      "tool_calls[0]: arguments");
  refuse_messages(
      R"([{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "wether", "arguments": {}}}]}])",
      "\"wether\" does not exist");
  refuse("generate " + model_ + " --tools " + tools_ + " --prompt x", "--chat");
  refuse("generate " + model_ + " --chat " + path("absent.json"), "absent.json");
  refuse("chat " + model_ + " --tools " +
             write("t.json", R"([{"name": "f", "parameters": {"type": "objekt"}}])"),
         "objekt");
  refuse("chat " + model_ + " --template-vars '[1]'", "template variables", "Hi\n");
  refuse("chat " + kPocketModel, "--template FILE");
  refuse("chat " + model_, "/nonsense is unknown", "/nonsense\n");
  refuse("chat " + model_, "/steps: --num-steps 3", "/steps 3\n");
  refuse("chat " + kPocketModel + " --template " +
             write("no_tools.jinja", "{{ messages[0].content }}") + " --tools " + tools_,
         "says nothing of");
}

TEST_F(Chat, TemplatesThatNeverEndAreStopped) {
  const auto refuse_template = [&](const std::string& text, const std::string& expected) {
    refuse("chat " + model_ + " --template " + write("bad.jinja", text), expected, "Hi\n");
  };
  refuse_template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                  "operations");
  refuse_template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "deep");
  refuse_template("{% for m in messages %}", "bad.jinja");
  refuse_template("{{ messages[0].content.nonsense() }}", "nonsense");
}

// A real model: what is kept between turns changes no word.
TEST_F(Chat, KeepingTheCacheChangesNoWord) {
  const std::string tmpl = write("turns.jinja",
                                 "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor "
                                 "%}{% if add_generation_prompt %}assistant:{% endif %}");
  const std::string input =
      "Call me Ishmael.\nWhat is a whale?\n/depth\nGo on.\n/steps 3\nAnd then?\n/depth\n";
  for (const std::string flags :
       {"--num-steps 4", "--temperature 1 --seed 3", "--cache compress-s2"}) {
    const std::string arguments =
        "chat " + kPocketModel + " --template " + tmpl + " --max-new-tokens 12 " + flags;
    const Answer kept = call(arguments, input), anew = call(arguments + " --recompute", input);
    EXPECT_EQ(kept.status, 0) << kept.err;
    EXPECT_EQ(anew.status, 0) << anew.err;
    EXPECT_EQ(kept.out, anew.out) << flags;
  }
}

TEST_F(Chat, ExitRulesActOnEveryToken) {
  const std::string tmpl = write("t.jinja", "{{ messages[-1].content }}");
  const Answer answer = call("chat " + kPocketModel + " --template " + tmpl +
                                 " --max-new-tokens 12 --rule 'kl<1e-2' --num-steps 8",
                             "Call me\n/depth\n/rule fixed=3\nCall me\n/depth\n");
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_NE(answer.out.find("mean 3.00, 3 to 3, 12 tokens"), std::string::npos) << answer.out;
}

}  // namespace
}  // namespace plumb::testing
