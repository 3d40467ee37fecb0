// The flags that chat and `generate --chat` share.
#pragma once

#include "core/decode/generate.h"
#include "experiments/cli/generate_text.h"
#include "experiments/cli/model_options.h"
#include "experiments/conversation.h"

namespace plumb::cli {

struct ChatOptions {
  std::string tools, template_file, variables;

  void add_to(CLI::App& verb);
  bool any() const { return !tools.empty() || !template_file.empty() || !variables.empty(); }
};

// The model's template is looked for where its tokenizer is.
std::filesystem::path template_directory(const ModelOptions& model);
Result<Conversation> open_conversation(const ModelOptions& model, const ChatOptions& options,
                                       const Tokenizer& tokenizer);

// The new text, without the token that ended it.
std::string reply_text(const TextOutput& text, const Generated& generated);

}  // namespace plumb::cli
