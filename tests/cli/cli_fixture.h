// The built program, as a user calls it: exit status, one sentence on stderr, results on stdout.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace plumb::testing {

inline const std::string kPocketModel = PLUMB_SOURCE_DIR "/experiments/models/pocket-raven";
inline const std::string kProse = PLUMB_SOURCE_DIR "/experiments/texts/prose.txt";

struct Answer {
  int status = -1;
  std::string out, err;
};

inline std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("plumb_cli_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Answer call(const std::string& arguments, const std::string& input = "") const {
    const std::string out = folder_ / "out", err = folder_ / "err", in = folder_ / "in";
    std::ofstream(in, std::ios::binary) << input;
    const int raw = std::system(
        (std::string(PLUMB_BINARY) + " " + arguments + " >" + out + " 2>" + err + " <" + in)
            .c_str());
    return {WIFEXITED(raw) ? WEXITSTATUS(raw) : -1, file_text(out), file_text(err)};
  }

  // Refused: status 2, nothing on stdout, and exactly one line on stderr besides notes, which holds
  // `expected`.
  void refuse(const std::string& arguments, const std::string& expected,
              const std::string& input = "") const {
    const Answer answer = call(arguments, input);
    EXPECT_EQ(answer.status, 2) << arguments << "\n" << answer.err;
    EXPECT_NE(answer.err.find(expected), std::string::npos) << arguments << "\n" << answer.err;
    size_t sentences = 0;
    for (size_t from = 0; from < answer.err.size();) {
      const size_t end = std::min(answer.err.find('\n', from), answer.err.size());
      sentences += answer.err.substr(from, 12) == "plumb: note:" ? 0 : 1;
      from = end + 1;
    }
    EXPECT_EQ(sentences, 1U) << answer.err;
    EXPECT_TRUE(answer.out.empty()) << answer.out;
  }

  std::string path(const std::string& name) const { return folder_ / name; }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  std::filesystem::path folder_;
};

}  // namespace plumb::testing
