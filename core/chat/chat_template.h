// Conversations to the text a model was trained on, by the template published with the model.
//
//   PLUMB_ASSIGN(const ChatTemplate chat, ChatTemplate::load(model_directory));
//   PLUMB_ASSIGN(const std::string prompt, chat.render(input));
//
// Templates are Jinja in the mode that transformers runs them in: immutable sandbox, trim_blocks,
// lstrip_blocks, break and continue, {% generation %}, tojson, raise_exception, strftime_now.
// What is not supported fails by name and line; nothing is skipped.
//
// A template is outside input: at most 1 MiB of it, 16 MiB of output, 10 million operations, macros
// 100 deep, values 128 deep, range() of 100000. Whoever exceeds one gets a sentence that says so.
#pragma once

#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace plumb {

using OrderedJson = nlohmann::ordered_json;  // keys in the order of the file: tojson keeps it

// What a conversation is rendered from. The JSON is only referred to: it must outlive the call.
struct ChatInput {
  const OrderedJson* messages = nullptr;   // REQUIRED: array of objects with a string "role"
  const OrderedJson* tools = nullptr;      // array of schemas; none in the template when absent
  const OrderedJson* documents = nullptr;  // array; none in the template when absent
  const OrderedJson* extra = nullptr;      // object of further variables: {"enable_thinking": true}
  bool add_generation_prompt = false;
  std::optional<std::string> bos_token, eos_token;  // undefined in the template when absent
  std::optional<std::tm> now;                       // for strftime_now; absent: the local time
};

class ChatTemplate {
 public:
  // chat_template.jinja, else "chat_template" of tokenizer_config.json: one template, or a list of
  // {"name", "template"} of which "default" and "tool_use" (when tools are given) are used. Both
  // are looked for in `directory`, then in its tokenizer/ folder.
  static Result<ChatTemplate> load(const std::filesystem::path& directory);
  // `where` names the template in error sentences.
  static Result<ChatTemplate> parse(std::string_view text, const std::string& where);

  Result<std::string> render(const ChatInput& input) const;

  const std::string& where() const { return where_; }
  // The text as published, the default's where there are several.
  const std::string& source() const;

 private:
  struct Program;
  ChatTemplate() = default;
  static Result<std::shared_ptr<const Program>> compile(std::string_view text,
                                                        const std::string& where);
  static Result<ChatTemplate> from_config(const nlohmann::json& field, const std::string& where);

  std::string where_;
  std::shared_ptr<const Program> program_, tool_program_;  // the second may be null
};

// Sets bos_token and eos_token from tokenizer_config.json in `directory` or its tokenizer/ folder,
// where they are strings or {"content": ...}. An absent file or field leaves them as they are.
Status load_special_tokens(const std::filesystem::path& directory, ChatInput* input);

}  // namespace plumb
