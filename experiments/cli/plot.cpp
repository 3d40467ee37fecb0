// plumb plot DB FIGURE -o FILE: figures of a results file, through gnuplot.
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analysis/figures/all_figures.h"
#include "core/tokenizer/tokenizer.h"
#include "experiments/cli/verbs.h"

namespace plumb::cli {
namespace {

struct PlotCall {
  std::string database, figure;
  std::vector<std::string> outputs;
  FigureOptions options;
  bool json = false;
};

void print_paths(const PlotFiles& files) {
  for (const auto& picture : files.pictures) fmt::print("{}\n", picture.string());
  fmt::print("{}\n{}\n", files.script.string(), files.data.string());
}

void print_json(const PlotCall& call, const PlotFiles& files) {
  nlohmann::json pictures = nlohmann::json::array();
  for (const auto& picture : files.pictures) pictures.push_back(picture.string());
  const nlohmann::json report = {{"figure", call.figure},
                                 {"database", call.database},
                                 {"pictures", pictures},
                                 {"script", files.script.string()},
                                 {"data", files.data.string()}};
  // A path need not be UTF-8, which JSON is: what is not becomes U+FFFD.
  fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// A token as it can stand on one line: line ends and other control characters become visible, what
// is not UTF-8 becomes U+FFFD.
std::string visible(const std::string& piece) {
  std::string text;
  for (const char c : piece)
    text += c == ' ' ? "·" : c == '\n' ? "⏎" : c == '\t' ? "→" : std::string(1, c);
  const std::string json = nlohmann::json(text).dump(-1, ' ', false,
                                                     nlohmann::json::error_handler_t::replace);
  return nlohmann::json::parse(json).get<std::string>();
}

// Pieces from the tokenizer that lies beside the model, where the model still is where it was.
class Pieces {
 public:
  std::string operator()(const Setting& setting, int32_t id) {
    auto found = tokenizers_.find(setting.model_path);
    if (found == tokenizers_.end()) {
      std::shared_ptr<Tokenizer> tokenizer;
      if (auto loaded = load_tokenizer(setting.model_path); loaded.ok())
        tokenizer = std::move(loaded).value();
      found = tokenizers_.emplace(setting.model_path, tokenizer).first;
    }
    if (found->second == nullptr || id < 0 ||
        static_cast<size_t>(id) >= found->second->vocab_size())
      return "";
    return visible(found->second->piece(id));
  }

 private:
  std::map<std::string, std::shared_ptr<Tokenizer>> tokenizers_;
};

Status run(PlotCall& call) {
  call.options.piece = Pieces();
  const std::vector<std::filesystem::path> outputs(call.outputs.begin(), call.outputs.end());
  PLUMB_ASSIGN(const PlotFiles files,
               draw_figure(call.database, call.figure, call.options, outputs));
  call.json ? print_json(call, files) : print_paths(files);
  return ok_status();
}

}  // namespace

void add_plot(CLI::App& program, Action& action) {
  auto call = std::make_shared<PlotCall>();
  CLI::App* verb = program.add_subcommand("plot", "Draw a figure of a results file with gnuplot");
  verb->add_option("DB", call->database, "Results file")->required();
  verb->add_option("FIGURE", call->figure, "Which figure: see below")->required();
  verb->add_option("-o,--output", call->outputs,
                   "Picture to write, .png or .svg; give it twice for both. The script (.gp) and "
                   "the numbers (.dat) are written beside it under the same name")
      ->required()
      ->allow_extra_args(false)
      ->type_name("FILE");
  verb->add_option("--run", call->options.selection.run, "Only what this run asked for")
      ->type_name("N");
  verb->add_option("--model", call->options.selection.model,
                   "Only this model: its name in the file, or else a part of it");
  verb->add_option("--text", call->options.selection.text, "Only this text, likewise");
  verb->add_option("--y", call->options.y, "The quantity drawn, where the figure has a choice");
  verb->add_option("--rule", call->options.rules,
                   "Exit rules, as in plumb replay; default: the figure's own choice")
      ->type_name("EXPR[;EXPR]");
  verb->add_option("--grid", call->options.grids, "Thresholds of a scalar, as in plumb replay")
      ->allow_extra_args(false)
      ->type_name("SCALAR=LOW:HIGH:N");
  verb->add_option("--first", call->options.first_pos, "heatmap: position of its first token")
      ->capture_default_str();
  verb->add_option("--tokens", call->options.n_tokens, "heatmap: how many tokens")
      ->capture_default_str();
  verb->add_flag("--json", call->json, "Print the paths written as JSON");
  verb->footer("Figures:\n" + figure_list());
  verb->callback([call, &action] { action = [call] { return run(*call); }; });
}

}  // namespace plumb::cli
