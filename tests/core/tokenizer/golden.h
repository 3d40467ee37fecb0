// What the tokenizer tests share: the fixtures, and a scratch folder.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/json.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {

inline std::filesystem::path source_dir() { return PLUMB_SOURCE_DIR; }
inline std::filesystem::path golden_dir() { return source_dir() / "tests/goldens/tokenizer"; }

inline Json golden_json(const std::string& name) {
  auto json = read_json_file(golden_dir() / name);
  if (!json.ok()) {
    ADD_FAILURE() << json.error().message;
    return Json::object();
  }
  return std::move(json).value();
}

// A folder that is gone when the test is.
class ScratchFolder {
 public:
  ScratchFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            (std::string("plumb_") + test->test_suite_name() + "_" + test->name());
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }

  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

// REQUIRES the folder holds a usable tokenizer: a failure is fatal to the test that called.
inline std::unique_ptr<Tokenizer> must_load(const std::filesystem::path& folder) {
  auto tokenizer = load_tokenizer(folder);
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return tokenizer.ok() ? std::move(tokenizer).value() : nullptr;
}

// One row of a golden: {"text", "add_specials", "parse_specials", "ids", "decoded", ...}.
inline void expect_row(const Tokenizer& tokenizer, const std::string& text, bool add, bool parse,
                       const std::vector<TokenId>& ids) {
  EXPECT_EQ(tokenizer.encode(text, {.parse_specials = parse, .add_specials = add}), ids)
      << "text: " << text << " add " << add << " parse " << parse;
}

inline void expect_decoded(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                           const Json& plain, const Json& skipped) {
  for (const bool skip : {false, true}) {
    const auto text = tokenizer.decode(ids, {.skip_specials = skip});
    ASSERT_TRUE(text.ok()) << text.error().message;
    // null: the same, skipped or not
    const Json& expected = skip && !skipped.is_null() ? skipped : plain;
    EXPECT_EQ(text.value(), expected.get<std::string>()) << "skip " << skip;
  }
}

}  // namespace plumb
