#include "core/chat/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace plumb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const OrderedJson kHello = OrderedJson::parse(R"([{"role": "user", "content": "hi"}])");

// The text, or "error: " and the sentence.
std::string render(const std::string& text, const OrderedJson& messages = kHello,
                   const OrderedJson& extra = OrderedJson::object()) {
  const auto chat = ChatTemplate::parse(text, "t.jinja");
  if (!chat.ok()) return "error: " + chat.error().message;
  ChatInput input;
  input.messages = &messages;
  input.extra = &extra;
  const auto result = chat.value().render(input);
  return result.ok() ? result.value() : "error: " + result.error().message;
}

std::string repeat(const std::string& piece, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += piece;
  return text;
}

class ModelFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        std::filesystem::path(::testing::TempDir()) / (std::string("plumb_chat_") + info->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "tokenizer");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }

  std::filesystem::path folder_;
};

using ChatTemplateFiles = ModelFolder;

TEST_F(ChatTemplateFiles, TheJinjaFileComesBeforeTheConfig) {
  write("tokenizer_config.json", R"({"chat_template": "from config"})");
  write("chat_template.jinja", "from file");
  auto chat = ChatTemplate::load(folder_);
  ASSERT_TRUE(chat.ok());
  EXPECT_EQ(chat.value().source(), "from file");
}

TEST_F(ChatTemplateFiles, TheTokenizerFolderIsSearchedToo) {
  write("tokenizer/tokenizer_config.json",
        R"({"chat_template": "inner", "bos_token": "<s>", "eos_token": {"content": "</s>"}})");
  auto chat = ChatTemplate::load(folder_);
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  EXPECT_EQ(chat.value().source(), "inner");
  ChatInput input;
  ASSERT_TRUE(load_special_tokens(folder_, &input).ok());
  EXPECT_EQ(input.bos_token, "<s>");
  EXPECT_EQ(input.eos_token, "</s>");
}

TEST_F(ChatTemplateFiles, ToolsChooseTheToolTemplate) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
                                     {"name": "tool_use", "template": "tools {{ tools | length }}"},
                                     {"name": "rag", "template": "{% broken"}]})");
  auto chat = ChatTemplate::load(folder_);
  ASSERT_TRUE(chat.ok()) << chat.error().message;
  ChatInput input;
  input.messages = &kHello;
  EXPECT_EQ(chat.value().render(input).value(), "plain");
  const OrderedJson tools = OrderedJson::parse(R"([{"name": "f"}])");
  input.tools = &tools;
  EXPECT_EQ(chat.value().render(input).value(), "tools 1");
}

TEST_F(ChatTemplateFiles, WhatIsMissingOrWrongIsNamed) {
  EXPECT_THAT(ChatTemplate::load(folder_).error().message, HasSubstr("no chat template"));
  write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_THAT(ChatTemplate::load(folder_).error().message,
              AllOf(HasSubstr("tokenizer_config.json: chat_template"), HasSubstr("number")));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "other", "template": ""}]})");
  EXPECT_THAT(ChatTemplate::load(folder_).error().message, HasSubstr("\"default\""));
  write("tokenizer_config.json", R"({"chat_template": "x", "bos_token": 1})");
  ChatInput input;
  EXPECT_THAT(load_special_tokens(folder_, &input).error().message, HasSubstr("\"bos_token\""));
}

TEST(ChatTemplate, MalformedMessagesAreRefusedWithTheirPlace) {
  EXPECT_EQ(render("x", OrderedJson::object()), "error: messages is object, expected an array");
  EXPECT_EQ(render("x", OrderedJson::parse(R"([{"role": "user"}, 5])")),
            "error: messages[1] is number, expected an object");
  EXPECT_EQ(render("x", OrderedJson::parse(R"([{"content": "a"}])")),
            "error: messages[0] has no \"role\"");
  EXPECT_EQ(render("x", OrderedJson::parse(R"([{"role": 1}])")),
            "error: messages[0].role is number, expected a string");
}

TEST(ChatTemplate, ExtraVariablesCannotReplaceTheConversation) {
  EXPECT_EQ(render("{{ mood }}", kHello, {{"mood", "calm"}}), "calm");
  EXPECT_THAT(render("x", kHello, {{"messages", "mine"}}),
              HasSubstr("error: the extra template variable \"messages\""));
}

TEST(ChatTemplate, ErrorsNameTemplateAndLine) {
  EXPECT_EQ(render("a\nb\n{{ missing.x }}"), "error: t.jinja, line 3: 'missing' is undefined");
  EXPECT_EQ(render("a\n{% if %}"), "error: t.jinja, line 2: found '%}', expected an expression");
  EXPECT_EQ(render("{% macro m() %}\n\n{{ 1 / 0 }}{% endmacro %}\n\n\n{{ m() }}"),
            "error: t.jinja, line 3: division by zero");
  EXPECT_EQ(render("\n{{ raise_exception('roles must alternate') }}"),
            "error: t.jinja, line 2: the template refuses this conversation: roles must alternate");
}

TEST(ChatTemplate, UnsupportedConstructsAreNamedNotSkipped) {
  const std::pair<const char*, const char*> cases[] = {
      {"{% include 'x' %}", "the statement 'include' is not supported"},
      {"{% block a %}{% endblock %}", "the statement 'block' is not supported"},
      {"{% extends 'x' %}", "the statement 'extends' is not supported"},
      {"{% for x in [] recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{{ 'a' | wordwrap }}", "the filter 'wordwrap' is not supported"},
      {"{{ 'a' is filter }}", "the test 'filter' is not supported"},
      {"{{ 'a'.encode() }}", "'encode' of str is not supported"},
      {"{{ joiner() }}", "the function 'joiner' is not supported"},
      {"{{ '\\N{BULLET}' }}", "\\N is not supported"},
      {"{{ range }}", "'function' cannot be printed"},
      {"{{ 10000000000 * 10000000000 }}", "does not fit in 64 bits"},
      {"{{ 99999999999999999999 }}", "does not fit in 64 bits"},
      {"{{ -9223372036854775807 - 2 }}", "does not fit in 64 bits"},
      {"{{ (-9223372036854775807 - 1) // -1 }}", "does not fit in 64 bits"},
      {"{{ 7 ** 99 }}", "does not fit in 64 bits"},
  };
  for (const auto& [text, sentence] : cases)
    EXPECT_THAT(render(text), AllOf(HasSubstr("error: t.jinja, line 1: "), HasSubstr(sentence)))
        << text;
}

TEST(ChatTemplate, EveryLimitIsASentence) {
  const std::pair<std::string, const char*> cases[] = {
      {std::string((size_t{1} << 20) + 1, 'x'), "the limit is 1048576"},
      {"{{ 'x' * 16777217 }}", "a text of more than 16777216 bytes"},
      {"{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
       "a text of more than 16777216 bytes"},
      {"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
       "more than 10000000 operations"},
      {"{% for i in range(99999) %}{% set x = 'x' * 9999999 %}{% endfor %}",
       "more than 1073741824 bytes"},
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deeper than 100 levels"},
      {repeat("{% if 1 %}", 101) + repeat("{% endif %}", 101), "nested deeper than 100 levels"},
      {"{{ " + repeat("(", 101) + "1" + repeat(")", 101) + " }}", "nested deeper than 100 levels"},
      {"{{ " + repeat("not ", 101) + "1 }}", "nested deeper than 100 levels"},
      {"{{ " + repeat("- ", 101) + "1 }}", "nested deeper than 100 levels"},
      {"{{ 1" + repeat(" + 1", 501) + " }}", "more than 500 steps"},
      {"{{ x" + repeat(".a", 501) + " }}", "more than 500 steps"},
      {"{% set ns = namespace(a=[]) %}{% for i in range(200) %}{% set ns.a = [ns.a] %}{% endfor %}",
       "deeper than 128 levels"},
      {"{{ range(100001) }}", "the limit is 100000"},
      {"{{ [0] * 99999999 }}", "more than 10000000 operations"},
      {"{{ '%99999999d' % 1 }}", "width or precision"},
  };
  for (const auto& [text, sentence] : cases)
    EXPECT_THAT(render(text), AllOf(HasSubstr("error: t.jinja"), HasSubstr(sentence)))
        << text.substr(0, 80);
}

TEST(ChatTemplate, LimitsLeaveRoomForWhatIsUsual) {
  EXPECT_EQ(render("{{ " + repeat("(", 90) + "1" + repeat(")", 90) + " }}"), "1");
  EXPECT_EQ(render("{% macro m(n) %}{{ m(n - 1) if n else 'end' }}{% endmacro %}{{ m(99) }}"),
            "end");
  EXPECT_EQ(render("{{ (range(100000) | list)[-1] }}"), "99999");
  EXPECT_EQ(render("{{ ('x' * 16777216) | length }}"), "16777216");
}

// Values that hold themselves, and long chains of them, are let go without recursion or leak.
TEST(ChatTemplate, CyclesAndChainsAreLetGo) {
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}ok"), "ok");
  EXPECT_EQ(render("{% set ns = namespace(p=none) %}{% for i in range(50000) %}{% set n = "
                   "namespace(p=ns.p) %}"
                   "{% set ns.p = n %}{% endfor %}ok"),
            "ok");
  EXPECT_EQ(render("{% set ns = namespace(p=none) %}{% for i in range(50000) %}{% set old = ns.p %}"
                   "{% macro m() %}{{ old }}{% endmacro %}{% set ns.p = m %}{% endfor %}ok"),
            "ok");
  EXPECT_EQ(
      render(
          "{% set ns = namespace(p=none) %}{% for i in range(50000) %}{% for x in [ns.p] %}"
          "{% if loop.changed(loop) %}{% endif %}{% set ns.p = loop %}{% endfor %}{% endfor %}ok"),
      "ok");
  EXPECT_THAT(render("{% set ns = namespace(p=[1]) %}{% for i in range(500) %}{% set ns.p = ns.p | "
                     "map('string') %}{% endfor %}"),
              HasSubstr("deeper than 128 levels"));
}

TEST(ChatTemplate, SharedStructureCannotCostMoreThanItsBudget) {
  const std::string doubled =
      "{% set ns = namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}{% "
      "endfor %}";
  EXPECT_THAT(render(doubled + "{{ ns.a == [[1], 2] }}{{ ns.a | tojson }}"), HasSubstr("error: "));
  const std::string tuples =
      "{% set ns = namespace(a=(1,), b=(1,)) %}{% for i in range(100) %}{% set ns.a = (ns.a, ns.a) "
      "%}{% set ns.b = (ns.b, ns.b) %}{% endfor %}";
  EXPECT_THAT(render(tuples + "{{ ns.a == ns.b }}"), HasSubstr("operations"));
  EXPECT_THAT(render(tuples + "{{ {ns.a: 1} }}"), HasSubstr("operations"));
}

// Long texts: an operation that reads them is charged for reading them, and is linear.
TEST(ChatTemplate, LongTextsCannotHoldItUp) {
  const std::string a =
      "{% set a = 'a' * 8000000 %}{% set b = 'a' * 8000000 %}{% set c = 'b' ~ 'a' * 4000000 %}";
  EXPECT_EQ(render(a + "{{ a == b }}{{ c in a }}{{ a.rfind(c) }}{{ a.rpartition(c)[0] | length }}"),
            "TrueFalse-10");
  EXPECT_EQ(render(a + "{{ a[1:-1] | length }}{{ a[7999999:] }}{{ a[::4000000] }}"), "7999998aaa");
  EXPECT_THAT(render(a + "{% for i in range(9999) %}{{ a == b }}{% endfor %}"),
              HasSubstr("operations"));
  EXPECT_THAT(render(a + "{% for i in range(9999) %}{{ {a: 1}[b] }}{% endfor %}"),
              HasSubstr("operations"));
  EXPECT_THAT(render(a + "{% for i in range(9999) %}{{ a.endswith(b) }}{% endfor %}"),
              HasSubstr("operations"));
  EXPECT_THAT(render("{{ ('\n' * 16000000).splitlines() | length }}"), HasSubstr("operations"));
}

TEST(ChatTemplate, TextThatIsNotUtf8IsRefused) {
  EXPECT_THAT(render("\xff"), HasSubstr("the template is not valid UTF-8"));
  OrderedJson messages = kHello;
  messages[0]["content"] = "\xc3";
  EXPECT_THAT(render("x", messages), HasSubstr("messages holds text that is not valid UTF-8"));
}

TEST(ChatTemplate, KeysKeepTheOrderOfTheFile) {
  const OrderedJson messages =
      OrderedJson::parse(R"([{"role": "u", "z": 1, "a": {"y": 2, "b": 3}}])");
  EXPECT_EQ(render("{{ messages[0] | tojson }}", messages),
            R"({"role": "u", "z": 1, "a": {"y": 2, "b": 3}})");
}

TEST(ChatTemplate, RenderingTwiceGivesTheSame) {
  const auto chat = ChatTemplate::parse(
      "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ "
      "ns.n }}",
      "t");
  ASSERT_TRUE(chat.ok());
  ChatInput input;
  input.messages = &kHello;
  EXPECT_EQ(chat.value().render(input).value(), "1");
  EXPECT_EQ(chat.value().render(input).value(), "1");
}

// Every beginning of a template, and every template with one byte changed, ends in a Result.
TEST(ChatTemplate, BrokenTemplatesNeverCrash) {
  const std::string text =
      "{%- macro f(a, b=[1, {'k': 2.5}]) -%}{{ a|default('x')|trim }}{% for x, y in b if x is not "
      "none %}{{ loop.last }}"
      "{% else %}{% break %}{% endfor %}{%- endmacro %}{# c #}{% raw %}{{{% endraw %}{% set ns = "
      "namespace(q='\\x41\\'') %}"
      "{% set ns.q = messages[-1:].__len__ ~ 'é' %}{{ f(1, **{}) if not (ns.q[::2] in 'abc') else "
      "2 ** -1 }}{% call(z) f() %}{% endcall %}"
      "{% generation %}{{ '%5.2f' % 1.5 }}{% endgeneration %}{{ '{:>3}'.format(1) | indent(2) | "
      "tojson(indent=1) }}";
  for (size_t i = 0; i <= text.size(); ++i) render(text.substr(0, i));
  const std::string bytes = "{}%#-+'\"\\ \n()[]|.,:~01ax=<";
  uint32_t seed = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string broken = text;
    seed = seed * 1664525 + 1013904223;
    broken[i] = bytes[(seed >> 16) % bytes.size()];
    render(broken);
  }
}

}  // namespace
}  // namespace plumb
