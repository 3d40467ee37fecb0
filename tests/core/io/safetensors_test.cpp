#include "core/io/safetensors.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "core/io/atomic_file.h"
#include "tests/core/io/files.h"

namespace plumb {
namespace {

using ::testing::AllOf;
using testing::as_bytes;
using ::testing::ElementsAre;
using testing::entry;
using ::testing::HasSubstr;
using testing::message;
using testing::one_tensor;
using testing::raw;
using testing::read_bytes;
using testing::safetensors_bytes;
using testing::TempDir;

std::string error_of(const std::string& bytes) {
  return message(parse_safetensors(as_bytes(bytes), "x.safetensors"));
}

std::string error_of(const std::string& header, const std::string& data) {
  return error_of(safetensors_bytes(header, data));
}

std::string error_of_entry(const std::string& fields) {
  return error_of("{\"a\":{" + fields + "}}", std::string(8, '\0'));
}

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const std::string bytes = safetensors_bytes("{\"__metadata__\":{\"format\":\"pt\"}," +
                                                  entry("b", "I32", "[2]", "8", "16") + "," +
                                                  entry("a", "F32", "[2,1]", "0", "8") + "," +
                                                  entry("e", "F32", "[0,3]", "8", "8") + "}   ",
                                              raw<float>({1.5F, -2.F}) + raw<int32_t>({7, 8}));
  const auto file = parse_safetensors(as_bytes(bytes), "x");
  ASSERT_TRUE(file.ok()) << message(file);
  ASSERT_EQ(file.value().tensors.size(), 3U);
  EXPECT_EQ(file.value().metadata.at("format"), "pt");
  const TensorInfo* a = file.value().find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_THAT(a->shape, ElementsAre(2, 1));
  EXPECT_THAT(read_f32(*a).value(), ElementsAre(1.5F, -2.F));
  EXPECT_EQ(file.value().find("e")->element_count(), 0U);
  EXPECT_EQ(file.value().find("zzz"), nullptr);
  EXPECT_THAT(message(read_f32(*file.value().find("b"))), HasSubstr("is I32, expected a floating"));
}

TEST(Safetensors, AcceptsAFileWithoutTensors) { EXPECT_EQ(error_of("{}", ""), "(no error)"); }

TEST(Safetensors, WidensHalfPrecisionAndNarrowsDouble) {
  const std::string bytes = safetensors_bytes(
      "{" + entry("d", "F64", "[2]", "0", "16") + "," + entry("h", "F16", "[3]", "16", "22") + "," +
          entry("b", "BF16", "[2]", "22", "26") + "}",
      raw<double>({0.1, -3.0}) + raw<uint16_t>({0x3C00, 0xC000, 0x0001}) +
          raw<uint16_t>({0x3F80, 0xC040}));
  const auto file = parse_safetensors(as_bytes(bytes), "x");
  ASSERT_TRUE(file.ok()) << message(file);
  EXPECT_THAT(read_f32(*file.value().find("d")).value(), ElementsAre(0.1F, -3.F));
  EXPECT_THAT(read_f32(*file.value().find("h")).value(), ElementsAre(1.F, -2.F, 0x1p-24F));
  EXPECT_THAT(read_f32(*file.value().find("b")).value(), ElementsAre(1.F, -3.F));
}

TEST(Safetensors, RejectsTruncatedFiles) {
  const std::string whole = one_tensor("a", {1, 2, 3});
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_NE(error_of(whole.substr(0, length)), "(no error)") << length;
  EXPECT_THAT(error_of(whole.substr(0, 5)), HasSubstr("too short"));
  EXPECT_THAT(error_of(whole.substr(0, whole.size() - 1)),
              AllOf(HasSubstr("\"a\" spans bytes 0..12"), HasSubstr("ends at byte 11")));
}

TEST(Safetensors, RejectsHugeHeaderLength) {
  EXPECT_THAT(error_of(raw<uint64_t>({uint64_t{1} << 60}) + "{}"),
              HasSubstr("1152921504606846976"));
  EXPECT_THAT(error_of(raw<uint64_t>({~uint64_t{0}}) + "{}"), HasSubstr("header length"));
  EXPECT_THAT(error_of(raw<uint64_t>({3}) + "{}"), HasSubstr("only 2 bytes follow"));
}

TEST(Safetensors, RejectsHeadersThatAreNoObject) {
  for (const char* header : {"[]", "1", "\"a\"", " {}", ""})
    EXPECT_THAT(error_of(header, ""), HasSubstr("expected a JSON object")) << header;
  for (const char* header : {"{", "{}x", "{\"a\":}", "{\"a\xff\":1}"})
    EXPECT_THAT(error_of(header, ""), HasSubstr("not valid JSON")) << header;
  EXPECT_THAT(error_of("{\"a\":[]}", ""), HasSubstr("\"a\" is an array, expected an object"));
  EXPECT_THAT(error_of("{\"a\":null}", ""), HasSubstr("\"a\" is null"));
}

TEST(Safetensors, RejectsDeepNestingWithoutRecursion) {
  const std::string deep(1'000'000, '[');
  EXPECT_THAT(error_of("{\"a\":{\"shape\":" + deep, ""), HasSubstr("holds an array"));
}

TEST(Safetensors, RejectsOverlappingTensors) {
  EXPECT_EQ(error_of("{" + entry("x", "U8", "[10]", "10", "20") + "," +
                         entry("w", "U8", "[10]", "0", "10") + "," +
                         entry("y", "U8", "[15]", "15", "30") + "}",
                     std::string(30, '\0')),
            "x.safetensors: tensor \"y\" spans bytes 15..30 which overlap tensor \"x\" at 10..20");
}

TEST(Safetensors, RejectsHolesAndTrailingBytes) {
  EXPECT_THAT(error_of("{" + entry("a", "U8", "[4]", "0", "4") + "," +
                           entry("b", "U8", "[4]", "5", "9") + "}",
                       std::string(9, '\0')),
              HasSubstr("\"b\" begins at byte 5 and leaves a hole after byte 4"));
  EXPECT_THAT(error_of("{" + entry("a", "U8", "[4]", "1", "5") + "}", std::string(5, '\0')),
              HasSubstr("hole after byte 0"));
  EXPECT_THAT(error_of("{" + entry("a", "U8", "[4]", "0", "4") + "}", std::string(6, '\0')),
              HasSubstr("2 bytes follow the last tensor"));
}

TEST(Safetensors, RejectsShapesThatDisagreeWithTheBytes) {
  EXPECT_EQ(
      error_of("{" + entry("a", "F32", "[3]", "0", "8") + "}", std::string(8, '\0')),
      "x.safetensors: tensor \"a\" of shape [3] and dtype F32 needs 12 bytes but spans 8 (0..8)");
  // 2^32 * 2^32 wraps to zero bytes.
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[4294967296,4294967296]", "0", "0") + "}", ""),
              HasSubstr("more bytes than can be counted"));
  EXPECT_THAT(error_of("{" + entry("a", "F64", "[2305843009213693952]", "0", "0") + "}", ""),
              HasSubstr("more bytes than can be counted"));
}

TEST(Safetensors, RejectsNegativeFractionalAndReversedNumbers) {
  const std::string data(8, '\0');
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[-2]", "0", "8") + "}", data),
              HasSubstr("holds -2"));
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[2.0]", "0", "8") + "}", data),
              HasSubstr("holds 2.0"));
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[2e0]", "0", "8") + "}", data),
              HasSubstr("holds 2e0"));
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[9223372036854775808]", "0", "8") + "}", data),
              HasSubstr("holds 9223372036854775808"));
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[2]", "-8", "0") + "}", data),
              HasSubstr("holds -8"));
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[2]", "0", "8.5") + "}", data),
              HasSubstr("holds 8.5"));
  EXPECT_THAT(error_of("{" + entry("a", "F32", "[2]", "8", "0") + "}", data),
              HasSubstr("begins at byte 8 and ends before it at byte 0"));
  EXPECT_THAT(
      error_of("{" + entry("a", "F32", "[2]", "18446744073709551608", "18446744073709551615") + "}",
               data),
      HasSubstr("but the data ends at byte 8"));
}

TEST(Safetensors, RejectsRepeatedNamesAndFields) {
  const std::string one = entry("a", "U8", "[4]", "0", "4");
  EXPECT_THAT(error_of("{" + one + "," + one + "}", std::string(4, '\0')),
              HasSubstr("tensor \"a\" appears twice"));
  EXPECT_THAT(error_of_entry(R"("dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8])"),
              HasSubstr("\"dtype\" appears twice"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"a":"b","a":"c"}})", ""), HasSubstr("appears twice"));
}

TEST(Safetensors, RejectsIncompleteAndUnknownFields) {
  EXPECT_THAT(error_of_entry(R"("shape":[2],"data_offsets":[0,8])"),
              HasSubstr("no field \"dtype\""));
  EXPECT_THAT(error_of_entry(R"("dtype":"F32","data_offsets":[0,8])"),
              HasSubstr("no field \"shape\""));
  EXPECT_THAT(error_of_entry(R"("dtype":"F32","shape":[2])"),
              HasSubstr("no field \"data_offsets\""));
  EXPECT_THAT(error_of_entry(R"("dtype":"F32","shape":[2],"data_offsets":[0])"),
              HasSubstr("fewer than two"));
  EXPECT_THAT(error_of_entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,8])"),
              HasSubstr("more than two"));
  EXPECT_THAT(error_of_entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"),
              HasSubstr("unknown field \"x\""));
  EXPECT_THAT(error_of_entry(R"("dtype":7,"shape":[2],"data_offsets":[0,8])"),
              HasSubstr("expected a string"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"a":1}})", ""), HasSubstr("expected a string"));
}

TEST(Safetensors, NamesUnknownAndUnsupportedTypes) {
  EXPECT_THAT(error_of("{" + entry("a", "F8_E4M3", "[8]", "0", "8") + "}", std::string(8, '\0')),
              AllOf(HasSubstr("unsupported dtype \"F8_E4M3\""), HasSubstr("expected F64")));
  EXPECT_THAT(error_of("{" + entry("a", "FOO", "[8]", "0", "8") + "}", std::string(8, '\0')),
              HasSubstr("unknown dtype \"FOO\""));
}

TEST(Safetensors, OpensOnlyRegularNonEmptyFiles) {
  const TempDir dir;
  EXPECT_THAT(message(open_safetensors(dir / "none")), HasSubstr("no such file"));
  EXPECT_THAT(message(open_safetensors(dir.path())), HasSubstr("is a directory"));
  EXPECT_THAT(message(open_safetensors(dir.write("empty", ""))), HasSubstr("is empty"));
  EXPECT_THAT(message(open_safetensors("/dev/zero")), HasSubstr("not a regular file"));
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const TempDir dir;
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<uint16_t> h = {0x3F80};
  const std::vector<int64_t> ids = {-1, 5};
  const std::string odd = "quote\" slash\\ \xC3\xA9";
  const std::vector<NamedTensor> tensors = {
      named_tensor<uint16_t>("h", DType::kBF16, {1}, h), f32_tensor(odd, {2, 3}, a),
      named_tensor<int64_t>("ids", DType::kI64, {2}, ids), f32_tensor("none", {0, 3}, {})};
  const auto path = dir / "out.safetensors";
  const Status status = write_safetensors(path, tensors, {{"format", "pt"}});
  ASSERT_TRUE(status.ok()) << message(status);
  const auto file = open_safetensors(path);
  ASSERT_TRUE(file.ok()) << message(file);
  EXPECT_EQ(file.value().metadata.at("format"), "pt");
  EXPECT_THAT(file.value().find(odd)->shape, ElementsAre(2, 3));
  EXPECT_EQ(read_f32(*file.value().find(odd)).value(), a);
  for (const TensorInfo& tensor : file.value().tensors)
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % dtype_bytes(tensor.dtype), 0U)
        << tensor.name;
}

TEST(SafetensorsWriter, LeavesTheOldFileWhenItFails) {
  const TempDir dir;
  const std::vector<float> a = {1};
  const auto path = dir / "out.safetensors";
  dir.write("out.safetensors", "precious");
  const std::vector<NamedTensor> twice = {f32_tensor("a", {1}, a), f32_tensor("a", {1}, a)};
  EXPECT_THAT(message(write_safetensors(path, twice)), HasSubstr("\"a\" would be written twice"));
  const std::vector<NamedTensor> bad_name = {f32_tensor("\xff", {1}, a)};
  EXPECT_THAT(message(write_safetensors(path, bad_name)), HasSubstr("cannot be written as JSON"));
  {
    auto file = AtomicFile::create(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file.value().write("half").ok());
  }
  EXPECT_EQ(read_bytes(path), "precious");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(SafetensorsWriter, ReportsAFullDisk) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  const std::vector<float> a = {1};
  const std::vector<NamedTensor> tensors = {f32_tensor("a", {1}, a)};
  const Status status = write_safetensors("/dev/full", tensors);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kWork);
  EXPECT_THAT(status.error().message, HasSubstr("/dev/full: writing failed"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST(SafetensorsWriter, FollowsLinksAndNamesUnusableTargets) {
  const TempDir dir;
  const std::vector<float> a = {1};
  const std::vector<NamedTensor> tensors = {f32_tensor("a", {1}, a)};
  const auto real = dir.write("real.safetensors", "old");
  std::filesystem::create_symlink(real, dir / "link");
  ASSERT_TRUE(write_safetensors(dir / "link", tensors).ok());
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "link"));
  EXPECT_TRUE(open_safetensors(real).ok());
  EXPECT_THAT(message(write_safetensors(dir.path(), tensors)), HasSubstr("is a directory"));
  EXPECT_THAT(message(write_safetensors(dir / "no/such/x", tensors)),
              HasSubstr("cannot be created"));
}

TEST(NamedTensorSpec, LoadsOneTensorAsF32) {
  const TempDir dir;
  const auto path = dir.write("s.safetensors", one_tensor("s0:x", {1, 2})).string();
  const auto loaded = load_named_tensor(path + ":s0:x");
  ASSERT_TRUE(loaded.ok()) << message(loaded);
  EXPECT_THAT(loaded.value().shape, ElementsAre(2));
  EXPECT_THAT(loaded.value().data, ElementsAre(1.F, 2.F));
  EXPECT_THAT(message(load_named_tensor(path + ":q")),
              AllOf(HasSubstr("no tensor \"q\""), HasSubstr("\"s0:x\"")));
  EXPECT_THAT(message(load_named_tensor(path)), HasSubstr("expected FILE.safetensors:NAME"));
  EXPECT_THAT(message(load_named_tensor("zero")), HasSubstr("expected FILE.safetensors:NAME"));
}

TEST(TensorNames, ArePrintableInMessages) {
  EXPECT_EQ(quote_name("a\nb"), "\"a\\x0ab\"");
  EXPECT_LT(quote_name(std::string(100'000, 'x')).size(), 200U);
}

}  // namespace
}  // namespace plumb
