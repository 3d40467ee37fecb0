// A conversation with a model: messages in, the prompt in the model's own template out, and what a
// reply holds besides words (tool calls, checked against their schemas).
//
//   messages --template--> text --tokenizer--> prompt ids --generate--> reply ids --> text
//      ^                                                                               |
//      +------- assistant message, and one tool message for each call's response ------+
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/chat/chat_template.h"
#include "core/chat/tool_call.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

struct ConversationOptions {
  std::filesystem::path template_file;  // a Jinja file; empty: the model's own
  std::filesystem::path tools_file;     // JSON schemas; empty: no tools
  std::string variables;                // a JSON object of further template variables; empty: none
};

// What one reply says.
struct Reply {
  std::string text;                   // as generated, without the token that ended it
  ToolReply parts;                    // words and calls; a reply that cannot be split is all words
  std::string broken;                 // why it cannot be split; empty: it can
  std::vector<std::string> refusals;  // by call: how it breaks its schema; empty: it keeps it

  bool calls_tools() const { return !parts.calls.empty() || !broken.empty(); }
  std::vector<std::string> errors() const;  // a sentence for each thing that is wrong
};

class Conversation {
 public:
  // `directory` holds the model's template and special tokens. REQUIRES the tokenizer outlives
  // this.
  static Result<Conversation> open(const std::filesystem::path& directory,
                                   const Tokenizer& tokenizer, const ConversationOptions& options);
  Conversation(Conversation&&) noexcept;
  Conversation& operator=(Conversation&&) noexcept;
  ~Conversation();

  // Appends {"role": role, "content": content}.
  void say(const std::string& role, const std::string& content);
  // Takes over messages of a file: an array, or an object with "messages". Their tool calls are
  // held to the schemas.
  Status read(const std::filesystem::path& path);
  // The messages from `count` on are forgotten.
  void cut(size_t count);
  size_t size() const;
  const OrderedJson& messages() const;

  // The prompt for the model's next reply: text, and its tokens.
  struct Prompt {
    std::string text;
    std::vector<int32_t> ids;
  };
  Result<Prompt> prompt() const;

  // The tokens that the template puts right behind a reply, where these are special: they end it.
  const std::vector<int32_t>& end_ids() const;
  bool has_tools() const;

  // Splits a reply and checks its calls. Without tools every reply is words.
  Reply judge(std::string text) const;
  // Appends the reply, as the template wants it.
  void add_reply(const Reply& reply);
  // Appends the response of one of its calls; `name` is empty for a call that could not be read.
  void add_response(const std::string& name, const std::string& response);

 private:
  struct Content;
  explicit Conversation(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

}  // namespace plumb
