#include "analysis/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

extern "C" char** environ;

namespace plumb {
namespace {

// The read end of the child's output.
class Pipe {
 public:
  Pipe() : ok_(::pipe2(ends_, O_CLOEXEC) == 0) {}
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  bool ok() const { return ok_; }
  int write_end() const { return ends_[1]; }
  // Everything up to the end, of which the last `kKept` bytes are kept.
  std::string drain() {
    constexpr size_t kKept = 64 << 10;
    close_end(1);
    std::string text;
    char buffer[4096];
    for (;;) {
      const ssize_t n = ::read(ends_[0], buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return text;
      text.append(buffer, static_cast<size_t>(n));
      if (text.size() > 2 * kKept) text.erase(0, text.size() - kKept);
    }
  }

 private:
  void close_end(int end) {
    if (ends_[end] >= 0) ::close(ends_[end]);
    ends_[end] = -1;
  }
  int ends_[2] = {-1, -1};
  bool ok_;
};

int spawn_gnuplot(const std::filesystem::path& script, int output, pid_t& child) {
  const std::string folder = script.parent_path().empty() ? "." : script.parent_path().string();
  std::string program = "gnuplot", defaults = "--default-settings";
  std::string file = "./" + script.filename().string();
  char* argv[] = {program.data(), defaults.data(), file.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  const int failed = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  return failed;
}

// gnuplot shows the line, a caret, then `"file" line 12: what is wrong`: the last line that says
// something.
std::string last_line(const std::string& text) {
  size_t end = text.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return "it gave no reason";
  const size_t newline = text.find_last_of('\n', end);
  size_t start = newline == std::string::npos ? 0 : newline + 1;
  start = text.find_first_not_of(" \t", start);
  return text.substr(start, end - start + 1);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return status;
}

}  // namespace

Status run_gnuplot(const std::filesystem::path& script) {
  Pipe pipe;
  if (!pipe.ok())
    return work_error("{}: no pipe to gnuplot: {}", script.string(), std::strerror(errno));
  pid_t child = 0;
  const int failed = spawn_gnuplot(script, pipe.write_end(), child);
  if (failed == ENOENT)
    return work_error(
        "{}: gnuplot was not found: install the package gnuplot-nox (Debian, Ubuntu) "
        "or gnuplot, then run `gnuplot {}` in its folder",
        script.string(), script.filename().string());
  if (failed != 0)
    return work_error("{}: gnuplot cannot be started: {}", script.string(), std::strerror(failed));
  const std::string said = pipe.drain();
  const int status = wait_for(child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ok_status();
  if (WIFSIGNALED(status))
    return work_error("{}: gnuplot was ended by signal {}", script.string(), WTERMSIG(status));
  return work_error("{}: gnuplot failed: {}", script.string(), last_line(said));
}

}  // namespace plumb
