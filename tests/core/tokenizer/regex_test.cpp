#include "core/tokenizer/regex.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/tokenizer/unicode.h"
#include "golden.h"

namespace plumb {
namespace {

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  const auto regex = Regex::compile(pattern, "test");
  EXPECT_TRUE(regex.ok()) << regex.error().message;
  std::vector<std::string> out;
  size_t end = 0;
  for (const Span& span : regex.value().split(text)) {
    EXPECT_EQ(span.begin, end);  // no gaps
    end = span.end;
    if (span.is_match) out.push_back(text.substr(span.begin, span.end - span.begin));
  }
  EXPECT_EQ(end, text.size());
  return out;
}

using Strings = std::vector<std::string>;

TEST(Regex, MeansWhatOnigurumaMeansWherePcre2Differs) {
  EXPECT_EQ(matches(R"(\s)", "a\u180Eb\u0085c"), Strings{"\u0085"});
  EXPECT_EQ(matches(R"(\w+)", "a\u0301²\u203F"), Strings{"a\u0301²\u203F"});
  EXPECT_EQ(matches(R"(a\b)", "a\u0301 a"), Strings{"a"});
  EXPECT_EQ(matches(R"(\h+)", "xBEEFy"), Strings{"BEEF"});
  EXPECT_EQ(matches(R"(\v)", "\n\x0B"), Strings{"\x0B"});
  EXPECT_EQ(matches(R"(\p{N}{1,2}+)", "12345"), Strings{"12345"});
  EXPECT_EQ(matches(R"(^.)", "a\nb"), (Strings{"a", "b"}));
  EXPECT_EQ(matches(R"((?m:a.b))", "a\nb"), Strings{"a\nb"});
  EXPECT_EQ(matches(R"(\p{Han}+)", "々、漢"), (Strings{"々", "漢"}));
  EXPECT_EQ(matches(R"(\p{L})", "\U0001E4D0\U00031350"), (Strings{"\U0001E4D0", "\U00031350"}));
  EXPECT_EQ(matches(R"([\w-]+)", "a-²b"), (Strings{"a-", "b"}));
  EXPECT_EQ(matches(R"([\Wx]+)", "ax-x b"), Strings{"x-x "});
  EXPECT_EQ(matches(R"([^\Wx]+)", "ax-b\n"), (Strings{"a", "b"}));
  EXPECT_EQ(matches(R"([^\p{L}]+)", "a\U0001E4D0-"), Strings{"-"});
}

TEST(Regex, AnEmptyMatchBehindAMatchIsNone) {
  EXPECT_EQ(matches("x*", "axb"), (Strings{"", "x", ""}));
  EXPECT_EQ(matches("", "é"), (Strings{"", ""}));
}

TEST(Regex, RefusesWhatItCannotCarryOver) {
  for (const char* pattern :
       {"[a[b]]", "[a&&b]", "(?~a)", "a)", "(a", "[a", R"(\xE9)", R"(\p{L)", R"(\p{NoSuchScript})",
        R"(\y)", R"(\u12)", "(*FAIL)", "\\", "(?P<a>b)", "[[:nope:]]", "(?#", "(?<a", "*"}) {
    const auto regex = Regex::compile(pattern, "t.json");
    ASSERT_FALSE(regex.ok()) << pattern;
    EXPECT_EQ(regex.error().message.find("t.json"), 0u);
    EXPECT_NE(regex.error().message.find(pattern), std::string::npos) << regex.error().message;
  }
}

TEST(Regex, GivesUpLoudlyOnACatastrophe) {
  testing::internal::CaptureStderr();
  EXPECT_TRUE(matches("(?:a|a)+[^a]", std::string(64, 'a')).empty());
  EXPECT_NE(testing::internal::GetCapturedStderr().find("gave up"), std::string::npos);
}

TEST(Regex, ThreadsShareOneExpression) {
  const auto regex = Regex::compile(R"(\w+|\s+)", "test");
  ASSERT_TRUE(regex.ok());
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word ";
  std::vector<size_t> counts(4);
  std::vector<std::thread> threads;
  for (size_t& count : counts)
    threads.emplace_back([&] { count = regex.value().split(text).size(); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counts, std::vector<size_t>(4, 4000));
}

TEST(Unicode, RepairReplacesEachMaximalInvalidPart) {
  EXPECT_EQ(repair_utf8("a\xE2\x82"
                        "b"),
            "a\uFFFDb");
  EXPECT_EQ(repair_utf8("\xF0\x9F\x99"), "\uFFFD");
  EXPECT_EQ(repair_utf8("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(repair_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repair_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repair_utf8("é\u20AC🙂"), "é\u20AC🙂");
  EXPECT_TRUE(is_valid_utf8("\U0010FFFF"));
  EXPECT_FALSE(is_valid_utf8("\x80"));
}

TEST(Unicode, ByteLettersRoundTripEveryByte) {
  std::string bytes;
  for (int b = 0; b < 256; ++b) bytes += static_cast<char>(b);
  EXPECT_EQ(from_byte_letters(to_byte_letters(bytes)), bytes);
  EXPECT_EQ(to_byte_letters(" \n!"), "ĠĊ!");
  EXPECT_EQ(from_byte_letters("日"), std::nullopt);
}

}  // namespace
}  // namespace plumb
