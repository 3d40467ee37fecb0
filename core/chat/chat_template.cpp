#include "core/chat/chat_template.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/chat/jinja_eval.h"
#include "core/chat/jinja_parser.h"
#include "core/chat/jinja_text.h"

namespace plumb {
namespace {

constexpr size_t kMaxConfigBytes = size_t{64} << 20;

// The two places a tokenizer's files may lie in.
std::array<std::filesystem::path, 2> places(const std::filesystem::path& directory) {
  return {directory, directory / "tokenizer"};
}

bool is_there(const std::filesystem::path& path) {
  std::error_code code;
  return std::filesystem::exists(path, code);
}

Error place_failure(const jinja::Failure& failure, const std::string& where) {
  if (failure.line == 0) return input_error("{}: {}", where, failure.message);
  return input_error("{}, line {}: {}", where, failure.line, failure.message);
}

Status check_messages(const OrderedJson& messages) {
  if (!messages.is_array())
    return input_error("messages is {}, expected an array", messages.type_name());
  for (size_t i = 0; i < messages.size(); ++i) {
    const OrderedJson& message = messages[i];
    if (!message.is_object())
      return input_error("messages[{}] is {}, expected an object", i, message.type_name());
    const auto role = message.find("role");
    if (role == message.end()) return input_error("messages[{}] has no \"role\"", i);
    if (!role->is_string())
      return input_error("messages[{}].role is {}, expected a string", i, role->type_name());
  }
  return ok_status();
}

Status check_array(const OrderedJson* value, const char* name) {
  if (value != nullptr && !value->is_array() && !value->is_null())
    return input_error("{} is {}, expected an array", name, value->type_name());
  return ok_status();
}

Status check_input(const ChatInput& input) {
  PLUMB_CHECK(input.messages != nullptr);
  PLUMB_RETURN_IF_ERROR(check_messages(*input.messages));
  PLUMB_RETURN_IF_ERROR(check_array(input.tools, "tools"));
  PLUMB_RETURN_IF_ERROR(check_array(input.documents, "documents"));
  if (input.extra != nullptr && !input.extra->is_object())
    return input_error("the extra template variables are {}, expected an object",
                       input.extra->type_name());
  return ok_status();
}

bool has_tools(const ChatInput& input) { return input.tools != nullptr && !input.tools->is_null(); }

Result<std::string> run(const jinja::Body& body, const ChatInput& input, const std::string& where) {
  const OrderedJson none, prompt = input.add_generation_prompt;
  const OrderedJson bos = input.bos_token.value_or(""), eos = input.eos_token.value_or("");
  jinja::Variables variables;
  if (input.bos_token) variables.emplace_back("bos_token", &bos);
  if (input.eos_token) variables.emplace_back("eos_token", &eos);
  const size_t overridable = variables.size();
  variables.emplace_back("messages", input.messages);
  variables.emplace_back("tools", has_tools(input) ? input.tools : &none);
  variables.emplace_back("documents", input.documents ? input.documents : &none);
  variables.emplace_back("add_generation_prompt", &prompt);
  const size_t fixed = variables.size();
  if (input.extra != nullptr) {
    for (const auto& item : input.extra->items()) {
      for (size_t i = overridable; i < fixed; ++i)
        if (variables[i].first == item.key())
          return input_error("the extra template variable \"{}\" is one that every template gets",
                             item.key());
      variables.emplace_back(item.key(), &item.value());
    }
  }
  try {
    return jinja::render(body, variables, input.now);
  } catch (const jinja::Failure& failure) {
    return place_failure(failure, where);
  } catch (const std::exception& error) {  // memory, mostly
    return work_error("{}: {}", where, error.what());
  }
}

}  // namespace

struct ChatTemplate::Program {
  std::string source;
  jinja::Body body;
};

Result<std::shared_ptr<const ChatTemplate::Program>> ChatTemplate::compile(
    std::string_view text, const std::string& where) {
  if (text.size() > jinja::kMaxTemplateBytes)
    return input_error("{}: the template has {} bytes, the limit is {}", where, text.size(),
                       jinja::kMaxTemplateBytes);
  if (!jinja::is_utf8(text)) return input_error("{}: the template is not valid UTF-8", where);
  auto program = std::make_shared<Program>();
  program->source = text;
  try {
    program->body = jinja::parse_template(text);
  } catch (const jinja::Failure& failure) {
    return place_failure(failure, where);
  } catch (const std::exception& error) {
    return work_error("{}: {}", where, error.what());
  }
  return std::shared_ptr<const Program>(std::move(program));
}

Result<ChatTemplate> ChatTemplate::parse(std::string_view text, const std::string& where) {
  ChatTemplate result;
  result.where_ = where;
  PLUMB_ASSIGN(result.program_, compile(text, where));
  return result;
}

Result<ChatTemplate> ChatTemplate::from_config(const Json& field, const std::string& where) {
  if (field.is_string()) return parse(field.get_ref<const std::string&>(), where);
  if (!field.is_array())
    return input_error("{} is {}, expected a string or a list of named templates", where,
                       field.type_name());
  ChatTemplate result;
  result.where_ = where;
  for (const Json& entry : field) {
    const bool well_formed = entry.is_object() && entry.contains("name") &&
                             entry["name"].is_string() && entry.contains("template") &&
                             entry["template"].is_string();
    if (!well_formed)
      return input_error("{}: an entry without a string \"name\" and \"template\"", where);
    const auto& name = entry["name"].get_ref<const std::string&>();
    if (name != "default" && name != "tool_use") continue;  // for uses we have not
    PLUMB_ASSIGN(auto program, compile(entry["template"].get_ref<const std::string&>(),
                                       fmt::format("{} \"{}\"", where, name)));
    (name == "default" ? result.program_ : result.tool_program_) = std::move(program);
  }
  if (result.program_ == nullptr) return input_error("{} has no template named \"default\"", where);
  return result;
}

Result<ChatTemplate> ChatTemplate::load(const std::filesystem::path& directory) {
  for (const auto& place : places(directory)) {
    const auto path = place / "chat_template.jinja";
    if (!is_there(path)) continue;
    PLUMB_ASSIGN(const std::string text, read_text_file(path, jinja::kMaxTemplateBytes));
    return parse(text, path.string());
  }
  for (const auto& place : places(directory)) {
    const auto path = place / "tokenizer_config.json";
    if (!is_there(path)) continue;
    PLUMB_ASSIGN(const Json config, read_json_file(path, kMaxConfigBytes));
    if (!config.is_object())
      return input_error("{} is {}, expected an object", path.string(), config.type_name());
    const auto field = config.find("chat_template");
    if (field == config.end() || field->is_null()) continue;
    return from_config(*field, fmt::format("{}: chat_template", path.string()));
  }
  return input_error(
      "{}: no chat template (looked for chat_template.jinja and for \"chat_template\" in "
      "tokenizer_config.json, here and in tokenizer/)",
      directory.string());
}

Result<std::string> ChatTemplate::render(const ChatInput& input) const {
  PLUMB_RETURN_IF_ERROR(check_input(input));
  if (has_tools(input) && tool_program_)
    return run(tool_program_->body, input, where_ + " \"tool_use\"");
  return run(program_->body, input, where_);
}

const std::string& ChatTemplate::source() const { return program_->source; }

namespace {

Status read_token(const Json& config, const char* field, const std::string& where,
                  std::optional<std::string>* token) {
  const auto it = config.find(field);
  if (it == config.end() || it->is_null()) return ok_status();
  const Json& value = it->is_object() && it->contains("content") ? (*it)["content"] : *it;
  if (!value.is_string())
    return input_error("{}: field \"{}\" is {}, expected a string or an object with \"content\"",
                       where, field, value.type_name());
  *token = value.get<std::string>();
  return ok_status();
}

}  // namespace

Status load_special_tokens(const std::filesystem::path& directory, ChatInput* input) {
  for (const auto& place : places(directory)) {
    const auto path = place / "tokenizer_config.json";
    if (!is_there(path)) continue;
    PLUMB_ASSIGN(const Json config, read_json_file(path, kMaxConfigBytes));
    if (!config.is_object())
      return input_error("{} is {}, expected an object", path.string(), config.type_name());
    PLUMB_RETURN_IF_ERROR(read_token(config, "bos_token", path.string(), &input->bos_token));
    return read_token(config, "eos_token", path.string(), &input->eos_token);
  }
  return ok_status();
}

}  // namespace plumb
