#include "core/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

namespace plumb {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

class JsonFile : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& text) {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::path(testing::TempDir()) / fmt::format("plumb_{}.json", info->name());
    std::ofstream(path_, std::ios::binary) << text;
    return path_;
  }
  void TearDown() override {
    if (!path_.empty()) std::filesystem::remove(path_);
  }

  std::filesystem::path path_;
};

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, RefusesNestingBeyondTheLimit) {
  EXPECT_TRUE(parse_json(nested(128), "x").ok());
  const auto deep = parse_json(nested(129), "deep.json");
  ASSERT_FALSE(deep.ok());
  EXPECT_THAT(deep.error().message, AllOf(HasSubstr("deep.json"), HasSubstr("128")));
  // Millions of levels must not reach a recursive parser, also when they are not closed.
  EXPECT_FALSE(parse_json(std::string(5'000'000, '['), "x").ok());
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(parse_json(objects, "x").ok());
}

TEST(Json, BracketsInsideStringsAreNotNesting) {
  const auto parsed = parse_json("{\"a\": \"" + std::string(500, '[') + "\\\"" + "[\"}", "x");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed.value().at("a").get<std::string>().size(), 502u);
}

TEST(Json, SyntaxErrorsNameTheSource) {
  for (const char* text : {"", "{", "{\"a\":}", "[1,]", "nul", "{} {}", "\"\xFF\"", "1e999", "]"}) {
    const auto parsed = parse_json(text, "config.json");
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::kInput);
    EXPECT_THAT(parsed.error().message, HasSubstr("config.json: not valid JSON")) << text;
  }
}

TEST_F(JsonFile, ReadsWhatWasWritten) {
  const auto parsed = read_json_file(write("{\"n_embd\": 64}"));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed.value().at("n_embd"), 64);
}

TEST_F(JsonFile, BytesComeBackUnchanged) {
  std::string bytes(200'000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  const auto text = read_text_file(write(bytes), bytes.size());
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_EQ(text.value(), bytes);
}

TEST_F(JsonFile, RefusesFilesLargerThanTheLimit) {
  const auto path = write(std::string(101, ' '));
  EXPECT_TRUE(read_text_file(path, 101).ok());
  const auto text = read_text_file(path, 100);
  ASSERT_FALSE(text.ok());
  EXPECT_THAT(text.error().message, AllOf(HasSubstr(path.string()), HasSubstr("100 bytes")));
}

TEST(Json, MissingFilesAndDirectoriesAreNamed) {
  const auto missing = read_json_file("/nowhere/config.json");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message, "/nowhere/config.json: no such file");
  const auto directory = read_json_file(testing::TempDir());
  ASSERT_FALSE(directory.ok());
  EXPECT_THAT(directory.error().message, HasSubstr("is a directory"));
}

Json fields_json() {
  return Json::parse(R"({"whole": 12, "float_whole": 3.0, "half": 0.5, "yes": true, "word": "a",
                         "nothing": null, "list": [1], "huge": 9223372036854775808,
                         "most": 9223372036854775807, "least": -9223372036854775808,
                         "big_float": 1e300})");
}

TEST(JsonFields, ReadsEachType) {
  const Json object = fields_json();
  const JsonFields fields(object, "f.json");
  EXPECT_EQ(fields.integer("whole", 0, 12).value(), 12);
  EXPECT_EQ(fields.integer("float_whole", 3, 3).value(), 3);
  EXPECT_EQ(fields.number("half").value(), 0.5);
  EXPECT_EQ(fields.number("whole").value(), 12.0);
  EXPECT_EQ(fields.boolean("yes").value(), true);
  EXPECT_EQ(fields.text("word").value(), "a");
  EXPECT_EQ(fields.where(), "f.json");
}

TEST(JsonFields, MissingAndNullAreAbsentNotErrors) {
  const Json object = fields_json();
  const JsonFields fields(object, "f.json");
  for (const char* field : {"nothing", "not_there"}) {
    EXPECT_FALSE(fields.has(field));
    EXPECT_EQ(fields.integer(field, 0, 1).value(), std::nullopt);
    EXPECT_EQ(fields.number(field).value(), std::nullopt);
    EXPECT_EQ(fields.boolean(field).value(), std::nullopt);
    EXPECT_EQ(fields.text(field).value(), std::nullopt);
  }
  EXPECT_TRUE(fields.has("whole"));
  const Json list = Json::array({1, 2});
  EXPECT_FALSE(JsonFields(list, "f.json").has("whole")) << "not an object: no fields";
}

template <class T>
void expect_refused(const Result<T>& result, const std::string& field, const std::string& found) {
  ASSERT_FALSE(result.ok()) << field;
  EXPECT_THAT(result.error().message, AllOf(HasSubstr("f.json"), HasSubstr("\"" + field + "\""),
                                            HasSubstr(found), HasSubstr("expected")));
}

TEST(JsonFields, WrongTypesNameFileFieldAndValue) {
  const Json object = fields_json();
  const JsonFields fields(object, "f.json");
  expect_refused(fields.integer("half", 0, 9), "half", "0.5");
  expect_refused(fields.integer("word", 0, 9), "word", "\"a\"");
  expect_refused(fields.integer("yes", 0, 9), "yes", "true");
  expect_refused(fields.number("word"), "word", "\"a\"");
  expect_refused(fields.number("yes"), "yes", "true");
  expect_refused(fields.boolean("whole"), "whole", "12");
  expect_refused(fields.text("list"), "list", "[1]");
}

TEST(JsonFields, IntegersOutsideTheirLimitsAreRefused) {
  const Json object = fields_json();
  const JsonFields fields(object, "f.json");
  expect_refused(fields.integer("whole", 13, 20), "whole", "13 to 20");
  expect_refused(fields.integer("whole", 0, 11), "whole", "0 to 11");
  expect_refused(fields.integer("big_float", kMin, kMax), "big_float", "1e+300");
  expect_refused(fields.integer("huge", 0, kMax), "huge", "9223372036854775808");
  expect_refused(fields.integer("most", kMin, kMax - 1), "most", "9223372036854775807");
  EXPECT_EQ(fields.integer("most", kMin, kMax).value(), kMax);
  EXPECT_EQ(fields.integer("least", kMin, kMax).value(), kMin);
}

}  // namespace
}  // namespace plumb
