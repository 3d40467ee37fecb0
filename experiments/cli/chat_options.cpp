#include "experiments/cli/chat_options.h"

namespace plumb::cli {

void ChatOptions::add_to(CLI::App& verb) {
  verb.add_option("--tools", tools, "JSON file with the schemas of tools the model may call");
  verb.add_option("--template", template_file,
                  "Jinja file to use instead of the model's own template");
  verb.add_option("--template-vars", variables,
                  "further template variables, a JSON object: '{\"enable_thinking\": true}'");
}

std::filesystem::path template_directory(const ModelOptions& model) {
  const std::filesystem::path path(model.tokenizer.empty() ? model.model : model.tokenizer);
  return std::filesystem::is_directory(path) ? path : path.parent_path();
}

Result<Conversation> open_conversation(const ModelOptions& model, const ChatOptions& options,
                                       const Tokenizer& tokenizer) {
  return Conversation::open(template_directory(model), tokenizer,
                            {options.template_file, options.tools, options.variables});
}

std::string reply_text(const TextOutput& text, const Generated& generated) {
  std::span<const int32_t> tokens(generated.tokens);
  if (generated.stop == StopReason::kStopId) tokens = tokens.first(tokens.size() - 1);
  return text.added(tokens, generated.n_prompt);
}

}  // namespace plumb::cli
