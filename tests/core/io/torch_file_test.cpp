#include "core/io/torch_file.h"

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/io/checkpoint.h"
#include "core/io/safetensors.h"
#include "tests/core/io/zip_builder.h"

namespace plumb {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using testing::as_bytes;
using testing::golden;
using ::testing::HasSubstr;
using testing::make_zip;
using testing::message;
using ::testing::Not;
using testing::read_bytes;
using testing::TempDir;
using testing::ZipRecord;

void expect_same_tensors(std::span<const TensorInfo> found, const std::string& expected_file) {
  const auto expected = open_safetensors(golden(expected_file));
  ASSERT_TRUE(expected.ok()) << message(expected);
  ASSERT_EQ(found.size(), expected.value().tensors.size());
  for (size_t i = 0; i < found.size(); ++i) {
    const TensorInfo& a = found[i];
    const TensorInfo& b = expected.value().tensors[i];
    ASSERT_EQ(a.name, b.name);
    EXPECT_EQ(a.shape, b.shape) << a.name;
    ASSERT_EQ(a.dtype, b.dtype) << a.name;
    ASSERT_EQ(a.bytes, b.bytes) << a.name;
    EXPECT_TRUE(a.bytes == 0 || std::memcmp(a.data, b.data, a.bytes) == 0) << a.name;
  }
}

const Json kCfg = {{"dim", 4},
                   {"n_layers", 2},
                   {"rope_theta", 10000.0},
                   {"tie_embeddings", true},
                   {"name", "toy"},
                   {"ckpt", nullptr},
                   {"betas", {0.9, 0.95}},
                   {"big", int64_t{1} << 40},
                   {"minus", -3},
                   {"long_minus", -(int64_t{1} << 40)}};

TEST(TorchFile, LoadsTrainingCheckpointsBitForBit) {
  for (const auto& [file, expected] : {std::pair{"loaded/f32.pt", "loaded/f32.safetensors"},
                                       {"loaded/bf16_opt.pt", "loaded/bf16_opt.safetensors"},
                                       {"loaded/cfg_object.pt", "loaded/f32.safetensors"}}) {
    const auto checkpoint = Checkpoint::open(golden(file), {.namemap = golden("names.json")});
    ASSERT_TRUE(checkpoint.ok()) << message(checkpoint);
    expect_same_tensors(checkpoint.value().tensors(), expected);
    EXPECT_EQ(checkpoint.value().config(), kCfg) << file;
    EXPECT_THAT(checkpoint.value().config_where(), HasSubstr("(cfg)"));
    EXPECT_THAT(::testing::PrintToString(std::vector<std::string>(
                    checkpoint.value().notes().begin(), checkpoint.value().notes().end())),
                AllOf(HasSubstr("1 tensors were gathered"), HasSubstr("1 tied and 1 dropped"),
                      HasSubstr("_orig_mod.")));
  }
}

TEST(TorchFile, LoadsBareStateDictsOfEveryTypeAndStride) {
  const auto checkpoint = Checkpoint::open(golden("loaded/views_bare.pt"));
  ASSERT_TRUE(checkpoint.ok()) << message(checkpoint);
  expect_same_tensors(checkpoint.value().tensors(), "loaded/views_bare.safetensors");
  EXPECT_TRUE(checkpoint.value().config().is_null());
}

TEST(TorchFile, RefusesEveryTruncationAndSurvivesEveryFlippedByte) {
  std::string bytes = read_bytes(golden("loaded/views_bare.pt"));
  for (size_t length = 0; length < bytes.size(); length += 3)
    EXPECT_FALSE(read_torch_file(as_bytes(bytes.substr(0, length)), "x").ok()) << length;
  size_t n_refused = 0;
  for (char& byte : bytes) {
    byte ^= 0x55;
    n_refused += !read_torch_file(as_bytes(bytes), "x").ok();
    n_refused += !read_torch_file(as_bytes(bytes), "x", {.check_crc = false}).ok();
    byte ^= 0x55;
  }
  EXPECT_GT(n_refused, bytes.size() / 2);
}

TEST(TorchFile, RefusesMaliciousFilesForTheRightReason) {
  const std::map<std::string, std::string> reasons = {
      {"bad_string_length", "2147483647 bytes are announced"},
      {"crc_flip", "has CRC-32"},
      {"cyclic", "contains itself"},
      {"deflated_pickle", "compressed (method 8)"},
      {"duplicate_entry", "two zip entries have the name"},
      {"header_offset_past_end", "past"},
      {"huge_shape_zero_stride", "more elements than the"},
      {"legacy_not_zip", "pre-1.6 format"},
      {"missing_storage", "has no record data/"},
      {"negative_offset", "negative storage offset -4"},
      {"os_system_reduce", "\"posix system\" is not on the list of allowed names"},
      {"pickle_no_stop", "ends before its STOP"},
      {"storage_size_mismatch", "does not match its record"},
      {"truncated", "no zip end-of-central-directory record"},
      {"unknown_storage", "is not on the list of allowed names"},
      {"view_out_of_bounds", "reaches past the 24 elements"}};
  for (const auto& [name, reason] : reasons) {
    const auto checkpoint =
        Checkpoint::open(golden("refused/" + name + ".pt"), {.namemap = golden("names.json")});
    ASSERT_FALSE(checkpoint.ok()) << name;
    EXPECT_EQ(checkpoint.error().kind, ErrorKind::kInput) << name;
    EXPECT_THAT(checkpoint.error().message,
                AllOf(HasSubstr(reason), HasSubstr(name + ".pt"), Not(HasSubstr("namemap"))))
        << name;
  }
}

// One F32 tensor [2, 3] with values 0..5 in data/0, described by `describe`.
std::string text(const std::string& s) { return "X" + testing::u32(s.size()) + s; }
const std::string kTensor = "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                            "ctorch\nFloatStorage\n" + text("0") + text("cpu") +
                            "K\6tQK\0K\2K\3\x86K\3K\1\x86\x89"s + "ccollections\nOrderedDict\n)RtR";
std::string pt(const std::string& body, const std::vector<ZipRecord>& more = {},
               const std::string& version = "3\n") {
  std::vector<ZipRecord> records = {
      {.name = "s/data.pkl", .data = "\x80\x02" + body + "."},
      {.name = "s/data/0", .data = testing::raw<float>({0, 1, 2, 3, 4, 5})}};
  if (!version.empty()) records.push_back({.name = "s/version", .data = version});
  records.insert(records.end(), more.begin(), more.end());
  return make_zip(records);
}
Result<TorchFile> load(const std::string& bytes) {
  return read_torch_file(as_bytes(bytes), "x.pt");
}
std::string dict(const std::string& content) { return "}(" + content + "u"; }
const std::string kModel = text("model") + dict(text("w") + kTensor);

TEST(TorchFile, AcceptsTheSmallestFile) {
  const auto file = load(pt(dict(kModel)));
  ASSERT_TRUE(file.ok()) << message(file);
  EXPECT_EQ(file.value().tensors[0].name, "w");
  EXPECT_EQ(file.value().cfg, nullptr);
}

TEST(TorchFile, RefusesDeepNestingThroughTheWholeReader) {
  const std::string deep = std::string(200'000, ']') + std::string(199'999, 'a');
  EXPECT_THAT(message(load(pt(dict(kModel + text("x") + deep)))), HasSubstr("nest deeper than 64"));
}

TEST(TorchFile, ChecksTheContainer) {
  EXPECT_THAT(message(load(pt(dict(kModel), {}, ""))), HasSubstr("no record s/version"));
  EXPECT_THAT(message(load(pt(dict(kModel), {}, "three"))),
              HasSubstr("format version is \"three\""));
  EXPECT_THAT(message(load(pt(dict(kModel), {{.name = "s/byteorder", .data = "big"}}))),
              HasSubstr("byte order is \"big\""));
  EXPECT_TRUE(load(pt(dict(kModel), {{.name = "s/byteorder", .data = "little"},
                                     {.name = "s/.data/extra", .data = "?"}}))
                  .ok());
  EXPECT_THAT(message(load(pt(dict(kModel), {{.name = "other/x", .data = "?"}}))),
              HasSubstr("not in one common folder"));
  EXPECT_THAT(message(load(make_zip({{.name = "x", .data = "?"}}))),
              HasSubstr("not in one common folder"));
  EXPECT_THAT(message(load(make_zip({{.name = "s/version", .data = "3"}}))),
              HasSubstr("no record s/data.pkl"));
}

TEST(TorchFile, SaysWhatItFoundInsteadOfAModel) {
  EXPECT_THAT(message(load(pt("K\1"))), HasSubstr("top level is not a dict"));
  EXPECT_THAT(message(load(pt("}"))), HasSubstr("holds nothing"));
  EXPECT_THAT(message(load(pt(dict(text("state_dict") + "}" + text("epoch") + "K\1")))),
              AllOf(HasSubstr("no \"model\""), HasSubstr("\"state_dict\", \"epoch\"")));
  EXPECT_THAT(message(load(pt(dict(text("model") + "K\1")))), HasSubstr("not a dict of tensors"));
  EXPECT_THAT(message(load(pt(dict(text("model") + dict(text("w") + "K\1"))))),
              HasSubstr("entry \"w\" of \"model\" is not a tensor"));
  EXPECT_THAT(message(load(pt(dict(text("model") + dict("K\1" + kTensor))))),
              HasSubstr("named by a number"));
  EXPECT_THAT(message(load(pt(dict(kModel + text("cfg") + "K\1")))),
              HasSubstr("neither a dict nor a Config"));
}

TEST(TorchFile, LeavesTensorsOutOfTheConfigAndSaysSo) {
  const auto file =
      load(pt(dict(kModel + text("cfg") + dict(text("dim") + "K\4" + text("table") + kTensor))));
  ASSERT_TRUE(file.ok()) << message(file);
  EXPECT_EQ(*file.value().cfg, (Json{{"dim", 4}}));
  ASSERT_EQ(file.value().notes.size(), 1U);
  EXPECT_THAT(file.value().notes[0], HasSubstr("\"table\" hold tensors"));
}

TEST(TorchFile, BoundsWhatSharedValuesMayGrowTo) {
  std::string shared = text(std::string(10'000, 'x')) + "q\0"s;
  for (int i = 0; i < 30; ++i)
    shared += "h"s + static_cast<char>(i) + "\x86q" + static_cast<char>(i + 1);
  EXPECT_THAT(message(load(pt(dict(kModel + text("cfg") + dict(text("x") + shared))))),
              HasSubstr("larger than"));

  // Ten thousand transposed names for one storage.
  std::string names = text("n0");
  const std::string turned = "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
                             "ctorch\nFloatStorage\n" + text("1") + text("cpu") +
                             "M\x00\x40tQK\0M\x00\x01K\x40\x86K\1M\x00\x01\x86\x89"s +
                             "ccollections\nOrderedDict\n)RtR";
  names += turned + "q\0"s;
  for (int i = 1; i < 10'000; ++i) names += text("n" + std::to_string(i)) + "h\0"s;
  EXPECT_THAT(message(load(pt(dict(text("model") + dict(names)),
                              {{.name = "s/data/1", .data = std::string(65536, '\0')}}))),
              HasSubstr("exceeds 4 times the size"));
}

TEST(TorchFile, ReadsNoStorageThatTheModelDoesNotUse) {
  const std::string other = text("opt") + "(" + text("storage") + "ctorch\nFloatStorage\n" +
                            text("7") + text("cpu") + "K\1tQ";
  const auto file =
      load(pt(dict(kModel + other),
              {{.name = "s/data/7", .data = "abcd", .lie = [](auto& crc, auto&, auto&, auto&) {
                  crc ^= 1;
                }}}));
  EXPECT_TRUE(file.ok()) << message(file);
}

TEST(TorchFile, AcceptsMissingChecksumsOnlyWhenAsked) {
  const TempDir dir;
  const auto path =
      dir.write("m.pt", make_zip({{.name = "s/data.pkl", .data = "\x80\x02" + dict(kModel) + "."},
                                  {.name = "s/data/0",
                                   .data = testing::raw<float>({0, 1, 2, 3, 4, 5}),
                                   .lie = [](auto& crc, auto&, auto&, auto&) { crc = 0; }},
                                  {.name = "s/version", .data = "3"}}));
  EXPECT_THAT(message(Checkpoint::open(path)), HasSubstr("has CRC-32"));
  EXPECT_TRUE(Checkpoint::open(path, {.check_crc = false}).ok());
}

}  // namespace
}  // namespace plumb
