// plumb: one program, one verb a file.
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>

#include "experiments/cli/verb.h"
#include "experiments/cli/verbs.h"

namespace plumb::cli {
namespace {

constexpr AddVerb kVerbs[] = {
    add_inspect, add_tokenize, add_detokenize, add_forward, add_generate, add_chat, add_sweep, add_runs, add_status, add_resume, add_replay, add_calibrate, add_plot, add_convert, add_probe, add_bench,
};

int report(const Error& error) {
  std::fprintf(stderr, "plumb: %s\n", error.message.c_str());
  return error.kind == ErrorKind::kInput ? 2 : 1;
}

int run(int argc, char** argv) {
  CLI::App program{"plumb measures test-time compute in depth-recurrent language models."};
  program.name("plumb");
  program.set_version_flag("--version", "plumb " PLUMB_VERSION);
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  Action action;
  for (AddVerb add : kVerbs) add(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(program.help().c_str(), stdout);
    return 0;
  } catch (const CLI::CallForAllHelp&) {
    std::fputs(program.help("", CLI::AppFormatMode::All).c_str(), stdout);
    return 0;
  } catch (const CLI::CallForVersion& e) {
    std::printf("%s\n", e.what());
    return 0;
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "plumb: %s; see plumb %s--help\n", e.what(), argc > 1 && argv[1][0] != '-' ? (std::string(argv[1]) + " ").c_str() : "");
    return 2;
  }
  const Status status = action();
  if (!status.ok()) return report(status.error());
  // A full disk behind a redirection shows only here.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return report(work_error("standard output could not be written: {}", std::strerror(errno)));
  return 0;
}

}  // namespace
}  // namespace plumb::cli

int main(int argc, char** argv) {
  // Numbers are read and written with a point, whatever the user's locale.
  std::setlocale(LC_NUMERIC, "C");
  try {
    return plumb::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "plumb: not enough memory for this call\n");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "plumb: unexpected failure: %s\n", e.what());
  }
  return 1;
}
