#include "experiments/conversation.h"

#include <nlohmann/json.hpp>

#include "core/base/json.h"

namespace plumb {
namespace {

constexpr size_t kMaxMessageBytes = size_t{64} << 20;
constexpr const char* kMark = "plumb-end-of-reply";

// The order of keys matters to templates; parse_json() checks nesting and words the error.
Result<OrderedJson> parse_ordered(const std::string& text, const std::string& where) {
  PLUMB_RETURN_IF_ERROR(parse_json(text, where));
  return OrderedJson::parse(text);
}

// Does the template speak of this at all?
bool mentions(const ChatTemplate& chat, const char* word) {
  return chat.source().find(word) != std::string::npos;
}

// {"function": {"name", "arguments"}} or bare; arguments an object or its text.
Result<ToolCall> read_tool_call(const OrderedJson& json, const std::string& where) {
  const OrderedJson& function =
      json.is_object() && json.contains("function") ? json["function"] : json;
  if (!function.is_object() || !function.contains("name") || !function["name"].is_string())
    return input_error("{} has no function with a \"name\"", where);
  OrderedJson arguments = function.value("arguments", OrderedJson::object());
  if (arguments.is_string()) {
    PLUMB_ASSIGN(arguments, parse_ordered(arguments.get<std::string>(), where + ": arguments"));
  }
  if (!arguments.is_object())
    return input_error("{}: arguments is {}, expected an object", where, arguments.type_name());
  ToolCall call;
  call.name = function["name"].get<std::string>();
  call.arguments = std::make_shared<const OrderedJson>(std::move(arguments));
  return call;
}

}  // namespace

struct Conversation::Content {
  Content(const Tokenizer& words, ChatTemplate tmpl) : tokenizer(&words), chat(std::move(tmpl)) {}

  const Tokenizer* tokenizer;
  ChatTemplate chat;
  std::optional<ToolSet> tools;
  OrderedJson extra = OrderedJson::object();
  OrderedJson messages = OrderedJson::array();
  std::optional<std::string> bos_token, eos_token;
  std::vector<int32_t> end_ids;

  Result<std::string> render(const OrderedJson& of, bool for_reply) const {
    ChatInput input;
    input.messages = &of;
    if (tools) input.tools = &tools->schemas();
    input.extra = &extra;
    input.add_generation_prompt = for_reply;
    input.bos_token = bos_token;
    input.eos_token = eos_token;
    return chat.render(input);
  }

  // What stands behind a reply in a conversation of one turn. Templates that refuse such a
  // conversation show nothing.
  void find_end() {
    const OrderedJson turn =
        OrderedJson::array({OrderedJson{{"role", "user"}, {"content", "?"}},
                            OrderedJson{{"role", "assistant"}, {"content", kMark}}});
    const auto text = render(turn, false);
    if (!text.ok()) return;
    const size_t at = text.value().find(kMark);
    if (at == std::string::npos) return;
    const auto ids = tokenizer->encode(text.value().substr(at + std::string_view(kMark).size()));
    if (!ids.empty() && tokenizer->is_special(ids[0])) end_ids.push_back(ids[0]);
  }

  // The calls of messages from a file, both as fields and as text.
  Status check_calls(const OrderedJson& message, const std::string& where) const {
    if (!tools || message.value("role", OrderedJson()) != "assistant") return ok_status();
    if (message.contains("content") && message["content"].is_string()) {
      auto parts = parse_tool_calls(message["content"].get<std::string>());
      if (!parts.ok()) return input_error("{}: {}", where, parts.error().message);
      for (const ToolCall& call : parts.value().calls)
        if (const Status fine = validate_call(*tools, call); !fine.ok())
          return input_error("{}: {}", where, fine.error().message);
    }
    if (!message.contains("tool_calls") || message["tool_calls"].is_null()) return ok_status();
    const OrderedJson& calls = message["tool_calls"];
    if (!calls.is_array())
      return input_error("{}.tool_calls is {}, expected an array", where, calls.type_name());
    for (size_t i = 0; i < calls.size(); ++i) {
      const std::string place = fmt::format("{}.tool_calls[{}]", where, i);
      PLUMB_ASSIGN(const ToolCall call, read_tool_call(calls[i], place));
      if (const Status fine = validate_call(*tools, call); !fine.ok())
        return input_error("{}: {}", place, fine.error().message);
    }
    return ok_status();
  }
};

std::vector<std::string> Reply::errors() const {
  std::vector<std::string> all;
  if (!broken.empty()) all.push_back(broken);
  for (const std::string& refusal : refusals)
    if (!refusal.empty()) all.push_back(refusal);
  return all;
}

Conversation::Conversation(std::unique_ptr<Content> content) : content_(std::move(content)) {}
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;
Conversation::~Conversation() = default;

Result<Conversation> Conversation::open(const std::filesystem::path& directory,
                                        const Tokenizer& tokenizer,
                                        const ConversationOptions& options) {
  std::optional<ChatTemplate> chat;
  if (options.template_file.empty()) {
    auto own = ChatTemplate::load(directory);
    if (!own.ok()) return input_error("{}; --template FILE gives one", own.error().message);
    chat = std::move(own).value();
  } else {
    constexpr size_t kMaxTemplateFile = size_t{1} << 20;
    PLUMB_ASSIGN(const std::string text, read_text_file(options.template_file, kMaxTemplateFile));
    PLUMB_ASSIGN(chat, ChatTemplate::parse(text, options.template_file.string()));
  }
  auto content = std::make_unique<Content>(tokenizer, std::move(*chat));
  ChatInput tokens;
  PLUMB_RETURN_IF_ERROR(load_special_tokens(directory, &tokens));
  content->bos_token = tokens.bos_token;
  content->eos_token = tokens.eos_token;
  if (!options.variables.empty()) {
    PLUMB_ASSIGN(content->extra, parse_ordered(options.variables, "--template-vars"));
  }
  if (!options.tools_file.empty()) {
    PLUMB_ASSIGN(content->tools, ToolSet::load(options.tools_file));
    if (!mentions(content->chat, "tools"))
      return input_error(
          "{}: this template says nothing of tools, so a model could not be told of "
          "those in {}",
          content->chat.where(), options.tools_file.string());
  }
  content->find_end();
  return Conversation(std::move(content));
}

void Conversation::say(const std::string& role, const std::string& text) {
  content_->messages.push_back({{"role", role}, {"content", text}});
}

Status Conversation::read(const std::filesystem::path& path) {
  PLUMB_ASSIGN(const std::string text, read_text_file(path, kMaxMessageBytes));
  PLUMB_ASSIGN(OrderedJson json, parse_ordered(text, path.string()));
  if (json.is_object() && json.contains("messages")) json = OrderedJson(json["messages"]);
  if (!json.is_array() || json.empty())
    return input_error("{}: is {}, expected an array of messages or an object with \"messages\"",
                       path.string(), json.is_array() ? "an empty array" : json.type_name());
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string where = fmt::format("{}: messages[{}]", path.string(), i);
    if (!json[i].is_object())
      return input_error("{} is {}, expected an object", where, json[i].type_name());
    PLUMB_RETURN_IF_ERROR(content_->check_calls(json[i], where));
    content_->messages.push_back(std::move(json[i]));
  }
  return ok_status();
}

void Conversation::cut(size_t count) {
  OrderedJson& messages = content_->messages;
  if (count < messages.size())
    messages.erase(messages.begin() + static_cast<std::ptrdiff_t>(count), messages.end());
}

size_t Conversation::size() const { return content_->messages.size(); }
const OrderedJson& Conversation::messages() const { return content_->messages; }
const std::vector<int32_t>& Conversation::end_ids() const { return content_->end_ids; }
bool Conversation::has_tools() const { return content_->tools.has_value(); }

Result<Conversation::Prompt> Conversation::prompt() const {
  Prompt prompt;
  PLUMB_ASSIGN(prompt.text, content_->render(content_->messages, true));
  // The template writes every special token itself.
  prompt.ids = content_->tokenizer->encode(prompt.text);
  if (prompt.ids.empty())
    return input_error("{}: the conversation is rendered as nothing", content_->chat.where());
  return prompt;
}

Reply Conversation::judge(std::string text) const {
  Reply reply;
  reply.text = std::move(text);
  if (!has_tools()) {
    reply.parts.content = reply.text;
    return reply;
  }
  auto parts = parse_tool_calls(reply.text);
  if (!parts.ok()) {
    reply.parts.content = reply.text;
    reply.broken = parts.error().message;
    return reply;
  }
  reply.parts = std::move(parts).value();
  for (const ToolCall& call : reply.parts.calls) {
    const Status fine = validate_call(*content_->tools, call);
    reply.refusals.push_back(fine.ok() ? "" : fine.error().message);
  }
  return reply;
}

void Conversation::add_reply(const Reply& reply) {
  // A template without tool_calls would lose them: it gets the reply as it was written.
  const bool structured = !reply.parts.calls.empty() && mentions(content_->chat, "tool_calls");
  content_->messages.push_back(structured
                                   ? assistant_message(reply.parts)
                                   : OrderedJson{{"role", "assistant"}, {"content", reply.text}});
}

void Conversation::add_response(const std::string& name, const std::string& response) {
  ToolCall call;
  call.name = name;
  const bool wraps = mentions(content_->chat, "tool_response");
  OrderedJson message =
      tool_message(call, wraps ? response : "<tool_response>\n" + response + "\n</tool_response>");
  if (name.empty()) message.erase("name");
  content_->messages.push_back(std::move(message));
}

}  // namespace plumb
