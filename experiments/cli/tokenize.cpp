#include <nlohmann/json.hpp>

#include "core/io/utf8.h"
#include "experiments/cli/model_options.h"
#include "experiments/cli/verbs.h"

namespace plumb::cli {
namespace {

struct TokenizeOptions {
  ModelOptions model;
  std::string text, file, ids;
  bool no_specials = false, template_specials = false, skip_specials = false, json = false;
  bool has_text = false;
};

constexpr size_t kMaxTextBytes = size_t{4} << 30;

std::string printable(const Json& json) {
  // Pieces may be part of a UTF-8 character: shown with the replacement character.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Status tokenize(const TokenizeOptions& options) {
  std::string text = options.text;
  if (!options.file.empty()) {
    PLUMB_ASSIGN(text, read_text_file(options.file, kMaxTextBytes));
  } else if (!options.has_text) {
    return input_error("give the text with --text S or --file F");
  }
  PLUMB_ASSIGN(const auto tokenizer, open_tokenizer(options.model));
  if (const size_t valid = valid_utf8_prefix(text); valid < text.size())
    std::fprintf(stderr, "plumb: warning: byte 0x%02X at offset %zu of the text is not UTF-8; tokenizers of characters read U+FFFD there\n",
                 static_cast<unsigned char>(text[valid]), valid);
  const auto ids = tokenizer->encode(text, {.parse_specials = !options.no_specials, .add_specials = options.template_specials});
  if (options.json) {
    Json pieces = Json::array();
    for (TokenId id : ids) pieces.push_back(tokenizer->piece(id));
    std::printf("%s\n", printable({{"ids", ids}, {"pieces", pieces}}).c_str());
    return ok_status();
  }
  for (TokenId id : ids) std::printf("%8d  %s\n", id, printable(tokenizer->piece(id)).c_str());
  std::fprintf(stderr, "%zu tokens, %zu bytes\n", ids.size(), text.size());
  return ok_status();
}

Status detokenize(const TokenizeOptions& options) {
  std::vector<std::vector<int32_t>> rows(1);
  if (!options.ids.empty()) {
    PLUMB_ASSIGN(rows, parse_id_rows(options.ids));
  }
  PLUMB_ASSIGN(const auto tokenizer, open_tokenizer(options.model));
  for (const auto& row : rows) {
    PLUMB_ASSIGN(const std::string text, tokenizer->decode(row, {.skip_specials = options.skip_specials}));
    if (options.json) std::printf("%s\n", printable({{"text", text}}).c_str());
    else std::printf("%s\n", text.c_str());
  }
  return ok_status();
}

}  // namespace

void add_tokenize(CLI::App& program, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb = program.add_subcommand("tokenize", "text to token ids, by the model's own tokenizer");
  options->model.add_to(*verb, false);
  auto* text = verb->add_option("--text", options->text, "the text itself");
  verb->add_option("--file", options->file, "a file with the text")->excludes(text);
  verb->add_flag("--no-specials", options->no_specials, "special tokens written in the text are ordinary text");
  verb->add_flag("--add-specials", options->template_specials, "apply the file's post-processor, e.g. a leading <s>");
  verb->add_flag("--json", options->json, "{\"ids\": [...], \"pieces\": [...]}");
  verb->callback([options, text, &action] {
    options->has_text = text->count() > 0;
    action = [options] { return tokenize(*options); };
  });
}

void add_detokenize(CLI::App& program, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb = program.add_subcommand("detokenize", "token ids to text");
  options->model.add_to(*verb, false);
  verb->add_option("--ids", options->ids, "token ids \"5,6,7\"")->required();
  verb->add_flag("--skip-specials", options->skip_specials, "leave special tokens out");
  verb->add_flag("--json", options->json, "{\"text\": ...}");
  verb->callback([options, &action] { action = [options] { return detokenize(*options); }; });
}

}  // namespace plumb::cli
