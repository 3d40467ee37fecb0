#include "core/io/zip_reader.h"

#include <gmock/gmock.h>

#include "tests/core/io/zip_builder.h"

namespace plumb {
namespace {

using testing::as_bytes;
using ::testing::HasSubstr;
using testing::make_zip;
using testing::message;
using testing::ZipEnd;
using testing::ZipRecord;

std::string error_of(const std::string& bytes) {
  return message(ZipReader::open(as_bytes(bytes), "x.pt"));
}

std::string error_of(const std::vector<ZipRecord>& records, const ZipEnd& end = {}) {
  return error_of(make_zip(records, end));
}

const std::vector<ZipRecord> kGood = {{.name = "s/data.pkl", .data = "abc"},
                                      {.name = "s/data/0", .data = "0123456789", .padding = 13},
                                      {.name = "s/empty", .data = ""}};

void expect_good(const std::string& bytes) {
  const auto zip = ZipReader::open(as_bytes(bytes), "x.pt");
  ASSERT_TRUE(zip.ok()) << message(zip);
  ASSERT_EQ(zip.value().entries().size(), 3U);
  const ZipEntry* entry = zip.value().find("s/data/0");
  ASSERT_NE(entry, nullptr);
  const auto data = zip.value().read(*entry);
  ASSERT_TRUE(data.ok()) << message(data);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.value().data()), data.value().size()),
            "0123456789");
  EXPECT_EQ(zip.value().find("s/data/1"), nullptr);
}

TEST(ZipReader, ReadsStoredRecordsInPlace) {
  expect_good(make_zip(kGood));
  expect_good(make_zip(kGood, {.comment = "a comment"}));
  expect_good(make_zip(kGood, {.zip64 = true}));
}

TEST(ZipReader, MatchesTheKnownCrc) {
  EXPECT_EQ(crc32(as_bytes(std::string("123456789"))), 0xCBF43926U);
  EXPECT_EQ(crc32({}), 0U);
}

TEST(ZipReader, RefusesEveryTruncation) {
  for (const bool zip64 : {false, true}) {
    const std::string whole = make_zip(kGood, {.zip64 = zip64});
    for (size_t length = 0; length < whole.size(); ++length)
      EXPECT_NE(error_of(whole.substr(0, length)), "(no error)") << length;
  }
  EXPECT_THAT(error_of(make_zip(kGood) + "x"), HasSubstr("no zip end-of-central-directory"));
}

TEST(ZipReader, NamesTheOldFormat) {
  EXPECT_THAT(error_of(std::string("\x80\x02\x8a\x0a", 4)), HasSubstr("pre-1.6 format"));
}

TEST(ZipReader, RefusesCompressionAndEncryption) {
  EXPECT_THAT(error_of({{.name = "s/a", .data = "x", .method = 8}}),
              HasSubstr("compressed (method 8)"));
  EXPECT_THAT(error_of({{.name = "s/a", .data = "x", .flags = 1}}), HasSubstr("encrypted"));
  EXPECT_THAT(error_of({{.name = "s/a", .data = "x", .flags = 0x40}}), HasSubstr("encrypted"));
  EXPECT_THAT(
      error_of({{.name = "s/a", .data = "xy", .lie = [](auto&, auto& c, auto&, auto&) { --c; }}}),
      HasSubstr("1 bytes for a size of 2"));
}

TEST(ZipReader, RefusesRepeatedNames) {
  EXPECT_THAT(error_of({{.name = "s/a", .data = "x"}, {.name = "s/a", .data = "y"}}),
              HasSubstr("two zip entries have the name \"s/a\""));
}

TEST(ZipReader, RefusesLocalNamesThatDiffer) {
  EXPECT_THAT(error_of({{.name = "s/a", .data = "x", .local_name = "s/b"}}),
              HasSubstr("\"s/a\" is called \"s/b\""));
}

TEST(ZipReader, RefusesRangesOutsideTheFile) {
  EXPECT_THAT(error_of({{.name = "s/a",
                         .data = "x",
                         .lie = [](auto&, auto&, auto&, auto& at) { at = 0x7FFFFFFF; }}}),
              HasSubstr("past the end"));
  EXPECT_THAT(error_of({{.name = "s/a",
                         .data = "x",
                         .lie = [](auto&, auto& c, auto& s, auto&) { c = s = 0x7FFFFFFF; }}}),
              HasSubstr("runs past the end"));
  // 64-bit sizes are announced (0xFFFFFFFF) but no extra field holds them.
  EXPECT_THAT(error_of({{.name = "s/a",
                         .data = "x",
                         .lie = [](auto&, auto& c, auto& s, auto&) { c = s = 0xFFFFFFFF; }}}),
              HasSubstr("no valid 64-bit sizes"));
  EXPECT_THAT(
      error_of(
          {{.name = "s/a", .data = "x", .lie = [](auto&, auto&, auto&, auto& at) { at = 3; }}}),
      HasSubstr("no local header"));
}

TEST(ZipReader, RefusesOverlappingRecords) {
  const std::string inner = make_zip({{.name = "s/b", .data = "y"}});
  const std::string local = inner.substr(0, 34);  // a local header inside the data of the first
  EXPECT_THAT(
      error_of(
          {{.name = "s/a", .data = local},
           {.name = "s/b", .data = "y", .lie = [](auto&, auto&, auto&, auto& at) { at = 33; }}}),
      HasSubstr("overlap"));
}

TEST(ZipReader, RefusesDamagedDirectories) {
  EXPECT_THAT(error_of(kGood, {.disk = 1}), HasSubstr("several disks"));
  EXPECT_THAT(error_of(kGood, {.n_entries_off = 1}), HasSubstr("cannot hold 4 entries"));
  EXPECT_THAT(error_of(kGood, {.n_entries_off = 1, .gap = std::string(46, '?')}),
              HasSubstr("no zip central directory entry"));
  EXPECT_THAT(error_of(kGood, {.n_entries_off = -1}), HasSubstr("goes on after its 2 entries"));
  EXPECT_THAT(error_of(kGood, {.directory_off = 1'000'000}), HasSubstr("past its end record"));
  EXPECT_THAT(error_of(kGood, {.directory_off = -1}), HasSubstr("no zip central directory entry"));
  EXPECT_THAT(error_of(kGood, {.gap = "??"}), HasSubstr("goes on after"));
  EXPECT_THAT(error_of(kGood, {.zip64 = true, .directory_off = -1}),
              HasSubstr("there is no end record"));
}

TEST(ZipReader, VerifiesTheCrcUnlessToldNotTo) {
  const std::string bytes = make_zip(
      {{.name = "s/a", .data = "xyz", .lie = [](auto& crc, auto&, auto&, auto&) { crc ^= 1; }}});
  const auto zip = ZipReader::open(as_bytes(bytes), "x.pt");
  ASSERT_TRUE(zip.ok()) << message(zip);
  const ZipEntry& entry = zip.value().entries()[0];
  EXPECT_THAT(message(zip.value().read(entry)), HasSubstr("has CRC-32"));
  EXPECT_TRUE(zip.value().read(entry, false).ok());
}

}  // namespace
}  // namespace plumb
