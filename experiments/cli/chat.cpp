// plumb chat: a conversation on the terminal, or through a pipe.
//
// Replies and what commands show go to stdout; prompts and notes to stderr. A line is a message; a
// line that ends in \ goes on in the next. Lines that begin with / are commands, with // they are
// messages that begin with /. After a tool call the next line is that call's response.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/generate_options.h"
#include "experiments/cli/generate_text.h"
#include "experiments/cli/verbs.h"
#include "experiments/conversation.h"

namespace plumb::cli {
namespace {

// Replies in a row that only mend a broken tool call, before the user is asked again.
constexpr int kMaxRepairs = 3;

constexpr const char* kHelp =
    "  /depth         depth of every token of the last reply: [steps]token\n"
    "  /depth on|off  the same after every reply\n"
    "  /steps N       depth from now on (\"/steps default\": the model's; \"/steps\": show it)\n"
    "  /rule EXPR     exit rule from now on (\"/rule none\": fixed depth)\n"
    "  /messages      the conversation as JSON, as generate --chat takes it\n"
    "  /reset         forget the conversation, but for the system message\n"
    "  /help  /quit\n"
    "  A line that ends in \\ goes on in the next; //text sends \"/text\".\n"
    "  After a tool call, the next line is its response (JSON or text).\n";

class Chat {
 public:
  Chat(GenerateOptions options, bool recompute, OpenModel open,
       std::unique_ptr<Tokenizer> tokenizer, Conversation conversation)
      : options_(std::move(options)),
        recompute_(recompute),
        open_(std::move(open)),
        tokenizer_(std::move(tokenizer)),
        conversation_(std::move(conversation)),
        text_(tokenizer_.get()),
        first_message_(conversation_.size()) {}

  Status prepare() {
    PLUMB_ASSIGN(request_, resolve());
    return ok_status();
  }

  Status run() {
    if (terminal_) std::fprintf(stderr, "%s", kHelp);
    std::string line;
    while (!quit_ && read("> ", line)) {
      if (line.empty()) continue;
      const size_t before = conversation_.size();
      const Status status = is_command(line) ? command(line) : turn(line);
      if (status.ok()) continue;
      conversation_.cut(before);
      if (!terminal_) return status;
      std::fprintf(stderr, "plumb: %s\n", status.error().message.c_str());
    }
    return ok_status();
  }

 private:
  // One entry of the user; false at the end of the input.
  bool read(const std::string& prompt, std::string& entry) {
    entry.clear();
    for (std::string line;; entry += '\n') {
      if (terminal_) std::fprintf(stderr, "%s", prompt.c_str());
      if (!std::getline(std::cin, line)) return !entry.empty();
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.empty() || line.back() != '\\') {
        entry += line;
        return true;
      }
      line.pop_back();
      entry += line;
    }
  }

  static bool is_command(const std::string& line) {
    return line[0] == '/' && (line.size() < 2 || line[1] != '/');
  }

  Result<GenerateRequest> resolve() const {
    const ModelInfo& info = open_.model->info();
    PLUMB_ASSIGN(GenerateRequest request, resolve_generate(options_, info));
    PLUMB_RETURN_IF_ERROR(check_depth(info, std::max(request.num_steps, info.min_steps)));
    PLUMB_ASSIGN(request.stop_ids, resolve_stop_ids(options_, info, tokenizer_.get()));
    if (options_.eos.empty())
      request.stop_ids.insert(request.stop_ids.end(), conversation_.end_ids().begin(),
                              conversation_.end_ids().end());
    return request;
  }

  // Other options from now on; what was computed under the old ones is computed again.
  Status change(GenerateOptions changed) {
    std::swap(options_, changed);
    auto request = resolve();
    if (!request.ok()) {
      std::swap(options_, changed);
      return request.error();
    }
    request_ = std::move(request).value();
    kept_ = {};
    return ok_status();
  }

  Status command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/quit" || name == "/exit")
      quit_ = true;
    else if (name == "/help")
      std::printf("%s", kHelp);
    else if (name == "/messages")
      print_messages();
    else if (name == "/reset")
      reset();
    else if (name == "/depth")
      return depth_command(argument);
    else if (name == "/steps")
      return steps_command(argument);
    else if (name == "/rule")
      return rule_command(argument);
    else
      return input_error("the command {} is unknown; /help lists them", name);
    std::fflush(stdout);
    return ok_status();
  }

  void print_messages() const {
    std::printf(
        "%s\n",
        conversation_.messages().dump(1, ' ', false, Json::error_handler_t::replace).c_str());
  }

  void reset() {
    conversation_.cut(first_message_);
    kept_ = {};
    last_ = {};
  }

  Status depth_command(const std::string& argument) {
    if (argument == "on" || argument == "off") {
      always_depth_ = argument == "on";
      return ok_status();
    }
    if (!argument.empty()) return input_error("/depth takes \"on\", \"off\" or nothing");
    if (last_.tokens.empty()) return input_error("/depth: there is no reply yet");
    print_depth();
    return ok_status();
  }

  Status steps_command(const std::string& argument) {
    if (argument.empty()) {
      std::printf("%s: %s\n", open_.model->info().axis.c_str(),
                  request_.num_steps < 0 ? "the model's own halting"
                                         : std::to_string(request_.num_steps).c_str());
      std::fflush(stdout);
      return ok_status();
    }
    GenerateOptions changed = options_;
    changed.num_steps = argument == "default" ? "" : argument;
    if (Status status = change(std::move(changed)); !status.ok())
      return input_error("/steps: {}", status.error().message);
    return ok_status();
  }

  Status rule_command(const std::string& argument) {
    GenerateOptions changed = options_;
    changed.criterion = changed.threshold = changed.depth_pattern = "";
    changed.rule = argument == "none" ? "" : argument;
    if (Status status = change(std::move(changed)); !status.ok())
      return input_error("/rule: {}", status.error().message);
    return ok_status();
  }

  // Depth before each token, and of the whole.
  void print_depth() const {
    const auto tokens = last_.new_tokens();
    const size_t first = last_.steps.size() - tokens.size();  // the prompt's, a token at a time
    double sum = 0;
    int low = last_.steps[first], high = low;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int steps = last_.steps[first + i];
      sum += steps;
      low = std::min(low, steps);
      high = std::max(high, steps);
      std::string shown;
      for (const char c : tokenizer_->piece(tokens[i]))
        shown += c == '\n' ? std::string("\\n") : std::string(1, c);
      std::printf("[%d]%s", steps, shown.c_str());
    }
    std::printf("\n%s: mean %.2f, %d to %d, %zu tokens\n", open_.model->info().axis.c_str(),
                sum / static_cast<double>(tokens.size()), low, high, tokens.size());
    std::fflush(stdout);
  }

  // The user's message, the reply, and for as long as the reply calls tools, their responses.
  Status turn(const std::string& line) {
    conversation_.say("user", line[0] == '/' ? line.substr(1) : line);
    for (int repairs = 0;;) {
      PLUMB_ASSIGN(const Reply reply, generate_reply());
      conversation_.add_reply(reply);
      if (!reply.calls_tools()) return ok_status();
      if (!reply.errors().empty() && ++repairs > kMaxRepairs) {
        std::fprintf(stderr, "plumb: note: %d replies in a row with unusable tool calls\n",
                     repairs);
        return ok_status();
      }
      if (!answer_calls(reply)) return ok_status();
    }
  }

  Result<Reply> generate_reply() {
    PLUMB_ASSIGN(const Conversation::Prompt prompt, conversation_.prompt());
    GenerateRequest request = request_;
    request.prompts = {prompt.ids};
    if (!recompute_) request.kept = &kept_;
    TextStream stream(text_, request.prompts, options_.stops, true);
    const auto stops = [&](int32_t id) {
      return std::find(request.stop_ids.begin(), request.stop_ids.end(), id) !=
             request.stop_ids.end();
    };
    request.after_token = [&](size_t, std::span<const int32_t> tokens) {
      // The token that ends a reply is not part of what it says.
      return stops(tokens.back()) ? false : stream.after_token(0, tokens);
    };
    PLUMB_ASSIGN(std::vector<Generated> all, generate(*open_.model, *open_.team, request));
    stream.finish();
    std::fflush(stdout);
    last_ = std::move(all.front());
    warn_of_length(open_.model->info(), last_.tokens.size());
    if (last_.stop == StopReason::kLastPosition)
      std::fprintf(stderr, "plumb: note: stopped at the model's last position, %d\n",
                   open_.model->info().max_positions);
    if (last_.stop == StopReason::kMaxNewTokens)
      std::fprintf(stderr, "plumb: note: cut off after --max-new-tokens %d\n",
                   request.max_new_tokens);
    if (always_depth_) print_depth();
    return conversation_.judge(reply_text(text_, last_));
  }

  // False when the input ends, or the user leaves, before every call has its response.
  bool answer_calls(const Reply& reply) {
    if (!reply.broken.empty()) {
      refuse_call("", reply.broken);
      return true;
    }
    for (size_t i = 0; i < reply.parts.calls.size(); ++i) {
      const ToolCall& call = reply.parts.calls[i];
      if (!reply.refusals[i].empty()) {
        refuse_call(call.name, reply.refusals[i]);
        continue;
      }
      std::fprintf(stderr, "plumb: call of %s %s\n", call.name.c_str(),
                   call.arguments->dump().c_str());
      std::string response;
      if (!read(call.name + "> ", response)) return false;
      if (response == "/quit" || response == "/exit") {
        quit_ = true;
        return false;
      }
      conversation_.add_response(call.name, response);
    }
    return true;
  }

  // The model is told what was wrong, so that it can call again.
  void refuse_call(const std::string& name, const std::string& why) {
    std::fprintf(stderr, "plumb: unusable tool call: %s\n", why.c_str());
    conversation_.add_response(name, Json{{"error", why}}.dump());
  }

  GenerateOptions options_;
  bool recompute_;
  OpenModel open_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Conversation conversation_;
  TextOutput text_;
  GenerateRequest request_;
  KeptSequence kept_;
  Generated last_;
  size_t first_message_;
  bool always_depth_ = false, quit_ = false;
  bool terminal_ = isatty(STDIN_FILENO) != 0;
};

struct ChatVerbOptions {
  GenerateOptions generate;
  ChatOptions chat;
  std::string system;
  bool recompute = false;
};

Status run(const ChatVerbOptions& options) {
  PLUMB_ASSIGN(OpenModel open, open_model(options.generate.model));
  PLUMB_RETURN_IF_ERROR(set_noise(options.generate, *open.model));
  PLUMB_ASSIGN(std::unique_ptr<Tokenizer> tokenizer, open_tokenizer(options.generate.model));
  PLUMB_ASSIGN(Conversation conversation,
               open_conversation(options.generate.model, options.chat, *tokenizer));
  if (!options.system.empty()) conversation.say("system", options.system);
  Chat chat(options.generate, options.recompute, std::move(open), std::move(tokenizer),
            std::move(conversation));
  PLUMB_RETURN_IF_ERROR(chat.prepare());
  return chat.run();
}

}  // namespace

void add_chat(CLI::App& program, Action& action) {
  auto options = std::make_shared<ChatVerbOptions>();
  CLI::App* verb = program.add_subcommand(
      "chat", "talk with a model in its own chat template; depth of every token on /depth");
  options->generate.max_new_tokens = 512;
  options->generate.model.add_to(*verb);
  verb->add_option("--system", options->system, "the system message");
  options->chat.add_to(*verb);
  verb->add_flag("--recompute", options->recompute,
                 "render and compute the whole conversation anew for every reply, instead of "
                 "keeping what was computed");
  options->generate.add_settings_to(*verb);
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace plumb::cli
