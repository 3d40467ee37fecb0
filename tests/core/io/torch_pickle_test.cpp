#include "core/io/torch_pickle.h"

#include <gmock/gmock.h>

#include "tests/core/io/files.h"

namespace plumb {
namespace {

using namespace std::string_literals;
using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message;
using testing::raw;

// Opcodes, spelled as a pickle holds them.
std::string text(const std::string& s) {
  return "X" + raw<uint32_t>({static_cast<uint32_t>(s.size())}) + s;
}
std::string i32(int32_t v) { return "J" + raw<int32_t>({v}); }
std::string ints(const std::vector<int32_t>& values) {
  std::string out = "(";
  for (const int32_t v : values) out += i32(v);
  return out + "t";
}
const std::string kFloatStorage = "ctorch\nFloatStorage\n";
std::string storage(const std::string& key = text("0"), const std::string& type = kFloatStorage,
                    const std::string& count = i32(24)) {
  return "(" + text("storage") + type + key + text("cpu") + count + "tQ";
}
std::string tensor(const std::string& offset, const std::string& size, const std::string& stride,
                   const std::string& from = storage()) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + from + offset + size + stride +
         "\x89"
         "ccollections\nOrderedDict\n)RtR";
}

std::string whole(const std::string& body) { return "\x80\x02" + body + "."; }

// There is one record, data/0, of 24 floats.
Result<Pickle> parse(const std::string& bytes, const PickleLimits& limits = {}) {
  static std::string kept;  // the pickle refers to it
  kept = bytes;
  return parse_torch_pickle(
      as_bytes(kept), "x.pt: data.pkl",
      [](const std::string& key) { return key == "0" ? std::optional<size_t>(96) : std::nullopt; },
      limits);
}
std::string error_of(const std::string& body) { return message(parse(whole(body))); }

TEST(TorchPickle, ReadsEveryScalar) {
  const auto pickle = parse(whole(
      "(K\xFFM\xFF\xFFJ\xFF\xFF\xFF\xFF\x8A\x00\x8A\x01\xFF\x8A\x08\x00\x00\x00\x00\x00\x00\x00\x80"
      "G\x3F\xF8\x00\x00\x00\x00\x00\x00N\x88\x89"s +
      text("h\xC3\xA9") + "t"));
  ASSERT_TRUE(pickle.ok()) << message(pickle);
  const Pickle& p = pickle.value();
  const auto items = p.items(p.root);
  ASSERT_EQ(items.size(), 11U);
  EXPECT_EQ(p.integer(items[0]), 255);
  EXPECT_EQ(p.integer(items[1]), 65535);
  EXPECT_EQ(p.integer(items[2]), -1);
  EXPECT_EQ(p.integer(items[3]), 0);
  EXPECT_EQ(p.integer(items[4]), -1);
  EXPECT_EQ(p.integer(items[5]), INT64_MIN);
  EXPECT_EQ(p.number(items[6]), 1.5);
  EXPECT_EQ(p.kind(items[7]), PickleKind::kNone);
  EXPECT_EQ(p.integer(items[8]), 1);
  EXPECT_EQ(p.integer(items[9]), 0);
  EXPECT_EQ(p.text(items[10]), "h\xC3\xA9");
}

TEST(TorchPickle, ReadsContainersMemoAndTensors) {
  const auto pickle =
      parse(whole("}q\0("s + text("l") + "]q\1(K\1K\2e"s + text("m") + "h\1"s + text("t") +
                  tensor(i32(2), ints({2, 3}), ints({12, 4})) + text("d") + "ctorch\nbfloat16\n" +
                  text("s") + "ctorch\nSize\n" + ints({4, 5}) + "\x85R" + "u"));
  ASSERT_TRUE(pickle.ok()) << message(pickle);
  const Pickle& p = pickle.value();
  EXPECT_EQ(p.items(*p.at(p.root, "l")).size(), 2U);
  EXPECT_EQ(*p.at(p.root, "l"), *p.at(p.root, "m"));
  const PickleTensor& t = p.tensor(*p.at(p.root, "t"));
  EXPECT_EQ(t.offset, 2);
  EXPECT_THAT(t.size, ElementsAre(2, 3));
  EXPECT_THAT(t.stride, ElementsAre(12, 4));
  EXPECT_EQ(p.storages[t.storage].dtype, DType::kF32);
  EXPECT_EQ(p.text(*p.at(p.root, "d")), "bfloat16");
  EXPECT_EQ(p.items(*p.at(p.root, "s")).size(), 2U);
  EXPECT_FALSE(p.at(p.root, "zzz").has_value());
}

TEST(TorchPickle, RefusesNamesOutsideTheList) {
  for (const char* name :
       {"posix\nsystem\n", "builtins\neval\n", "numpy\nndarray\n", "torch\nload\n",
        "torch.storage\n_load_from_bytes\n", "torch._utils\n_rebuild_tensor_v3\n", "os\nConfig\n",
        "torch\nComplexFloatStorage\n", "\n\n"})
    EXPECT_THAT(error_of("c"s + name + ")R"), HasSubstr("not on the list of allowed names"))
        << name;
  EXPECT_THAT(error_of("c" + std::string(1000, 'x')), HasSubstr("does not end within"));
}

TEST(TorchPickle, RefusesEveryOtherOpcode) {
  const std::string known =
      ".(}])\x85\x86\x87taesuN\x88\x89KMJ\x8AGXqrhjcR\x81"
      "bQ";
  for (int opcode = 0; opcode < 256; ++opcode) {
    if (known.find(static_cast<char>(opcode)) != std::string::npos) continue;
    EXPECT_THAT(error_of(std::string(1, static_cast<char>(opcode)) + "KKKKKKKKKK"),
                HasSubstr("not one that torch.save writes"))
        << opcode;
  }
}

TEST(TorchPickle, RefusesNamesWhereValuesBelong) {
  EXPECT_THAT(error_of(kFloatStorage), HasSubstr("name of a class"));
  EXPECT_THAT(error_of("]" + kFloatStorage + "a"), HasSubstr("name of a class"));
  EXPECT_THAT(error_of("(" + kFloatStorage + "t"), HasSubstr("name of a class"));
  EXPECT_THAT(error_of(kFloatStorage + ")R"), HasSubstr("cannot be applied"));
  EXPECT_THAT(error_of("K\1)R"), HasSubstr("an allowed name to apply"));
  EXPECT_THAT(error_of("ccollections\nOrderedDict\nK\1\x85R"),
              HasSubstr("1 arguments, expected none"));
  EXPECT_THAT(error_of("ccollections\nOrderedDict\n)\x81"), HasSubstr("expected Config()"));
  EXPECT_THAT(error_of("cconfig\nConfig\n)R"), HasSubstr("cannot be applied"));
}

TEST(TorchPickle, ReadsConfigObjectsAndIgnoresAttributes) {
  const auto object = parse(whole("cconfig\nConfig\n)\x81}" + text("dim") +
                                  "K\7s"
                                  "b"));
  ASSERT_TRUE(object.ok()) << message(object);
  EXPECT_EQ(object.value().kind(object.value().root), PickleKind::kObject);
  EXPECT_EQ(object.value().integer(*object.value().at(object.value().root, "dim")), 7);
  const auto ordered = parse(whole("ccollections\nOrderedDict\n)R}" + text("_metadata") + "Nsb"));
  ASSERT_TRUE(ordered.ok()) << message(ordered);
  EXPECT_TRUE(ordered.value().items(ordered.value().root).empty());
  EXPECT_THAT(error_of("}}b"), HasSubstr("attributes are set on something other"));
  EXPECT_THAT(error_of("cconfig\nConfig\n)\x81}b}b"),
              HasSubstr("attributes are set on something other"));
  EXPECT_THAT(error_of("cconfig\nConfig\n)\x81]b"), HasSubstr("expected a dict of attributes"));
  EXPECT_THAT(error_of("cconfig\nConfig\nK\1\x85\x81"), HasSubstr("expected Config()"));
}

TEST(TorchPickle, RefusesStackAndMemoMistakes) {
  for (const char* body :
       {"a", "s", "u", "e", "t", "\x85", "\x87", "R", "b", "Q", "}s", "K\1t", "q", "(q"})
    EXPECT_NE(error_of(body), "(no error)") << body;
  EXPECT_THAT(error_of("K\1(\x85t"), HasSubstr("not on the stack"));  // may not reach below a mark
  EXPECT_THAT(error_of("K\1q\1"s), HasSubstr("memo entry 1 follows entry 0"));
  EXPECT_THAT(error_of("K\1q\0h\1"s), HasSubstr("memo entry 1 of 1"));
  EXPECT_THAT(error_of("K\1r\xFF\xFF\xFF\xFF"), HasSubstr("memo entry 4294967295"));
  EXPECT_THAT(error_of(""), HasSubstr("ends with 0 values"));
  EXPECT_THAT(error_of("K\1K\2"), HasSubstr("ends with 2 values"));
  EXPECT_THAT(error_of("(K\1"), HasSubstr("expected 1"));
  EXPECT_THAT(error_of("K\1.K\2"), HasSubstr("bytes follow the STOP"));
  EXPECT_THAT(error_of("K\1K\2a"), HasSubstr("expected a list"));
  EXPECT_THAT(error_of("](K\1u"), HasSubstr("expected a dict"));
  EXPECT_THAT(error_of("}(K\1u"), HasSubstr("a key without a value"));
}

TEST(TorchPickle, RefusesTruncationAnywhere) {
  const std::string good =
      whole("}(" + text("t") + tensor(i32(0), ints({24}), ints({1})) + text("x") +
            "G\x3F\xF8\0\0\0\0\0\0\x8A\2\1\1u"s.insert(9, text("y")));
  ASSERT_TRUE(parse(good).ok()) << message(parse(good));
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(parse(good.substr(0, length)).ok()) << length;
  EXPECT_THAT(message(parse(good.substr(0, good.size() - 1))), HasSubstr("ends before its STOP"));
  EXPECT_THAT(error_of("X\xFF\xFF\xFF\x7F"), HasSubstr("2147483647 bytes are announced"));
}

TEST(TorchPickle, RefusesOtherProtocols) {
  EXPECT_THAT(message(parse("\x80\x04K\1.")), HasSubstr("protocol 2"));
  EXPECT_THAT(message(parse("K\1.")), HasSubstr("protocol 2"));
  EXPECT_THAT(error_of("\x80\x02K\1"), HasSubstr("not one that torch.save writes"));
}

TEST(TorchPickle, RefusesBadKeysAndTexts) {
  EXPECT_THAT(error_of("}NK\1s"), HasSubstr("neither a text nor a whole number"));
  EXPECT_THAT(error_of("}\x88K\1s"), HasSubstr("neither a text nor a whole number"));
  EXPECT_THAT(error_of("}(" + text("a") + "N" + text("a") + "Nu"),
              HasSubstr("the key \"a\" twice"));
  EXPECT_THAT(error_of("}(K\1NM\1\0Nu"s), HasSubstr("the key 1 twice"));
  for (const char* bad :
       {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xE2\x82", "\xF5\x80\x80\x80", "\x80"})
    EXPECT_THAT(error_of(text(bad)), HasSubstr("UTF-8"));
  EXPECT_THAT(error_of("\x8A\x09" + std::string(9, '\1')), HasSubstr("expected at most 8"));
}

TEST(TorchPickle, RefusesCyclesOfEveryKind) {
  EXPECT_THAT(error_of("]q\0h\0a"s), HasSubstr("contains itself"));
  EXPECT_THAT(error_of("}q\0(K\1h\0u"s), HasSubstr("contains itself"));
  EXPECT_THAT(error_of("]q\0(h\0ta"s), HasSubstr("contains itself"));
  EXPECT_THAT(error_of("cconfig\nConfig\n)\x81q\0}(K\1h\0ub"s), HasSubstr("contains itself"));
  EXPECT_THAT(error_of("ccollections\nOrderedDict\n)Rq\0}(K\1h\0ub"s),
              "(no error)");  // attributes are no content
  EXPECT_THAT(error_of("ccollections\nOrderedDict\n)R}q\0(K\1h\0ub"s),
              HasSubstr("contains itself"));
}

TEST(TorchPickle, RefusesDeepNestingWithoutRecursion) {
  const auto nested = [](size_t depth) {
    std::string body;
    for (size_t i = 0; i < depth; ++i) body += ']';
    return body + std::string(depth - 1, 'a');
  };
  EXPECT_EQ(error_of(nested(64)), "(no error)");
  EXPECT_THAT(error_of(nested(65)), HasSubstr("nest deeper than 64"));
  EXPECT_THAT(error_of(nested(200'000)), HasSubstr("nest deeper than 64"));
  EXPECT_THAT(error_of(std::string(200'000, '(')), HasSubstr("expected 1"));
  std::string tuples = ")";
  for (int i = 0; i < 200'000; ++i) tuples += '\x85';
  EXPECT_THAT(error_of(tuples), HasSubstr("nest deeper than 64"));
  // A shallow value put last under a deep one that was already measured.
  EXPECT_THAT(error_of("](" + nested(63) +
                       "q\0h\0\x85\x85"
                       "e"s),
              HasSubstr("nest deeper than 64"));
}

TEST(TorchPickle, SharedValuesCostNoTime) {
  // Sixty pairs of pairs: 2^60 values as a tree.
  std::string pairs = "]q"s + '\0';
  for (int i = 0; i < 60; ++i)
    pairs += "h"s + static_cast<char>(i) + "\x86q" + static_cast<char>(i + 1);
  EXPECT_EQ(error_of(pairs), "(no error)");
}

TEST(TorchPickle, EnforcesItsLimits) {
  EXPECT_THAT(message(parse(whole("K\1"), {.max_bytes = 4})), HasSubstr("expected at most 4"));
  EXPECT_THAT(message(parse(whole("(K\1K\1K\1t"), {.max_opcodes = 4})),
              HasSubstr("more than 4 opcodes"));
}

TEST(TorchPickle, RefusesBadStorages) {
  EXPECT_THAT(error_of(storage(text("1"))), HasSubstr("no record data/1"));
  for (const char* key : {"../0", "", "0x", "-0", "00000000000000000000"})
    EXPECT_THAT(error_of(storage(text(key))), HasSubstr("not a decimal number")) << key;
  EXPECT_THAT(error_of(storage(text("0"), kFloatStorage, i32(23))),
              HasSubstr("does not match its record of 96 bytes"));
  EXPECT_THAT(error_of(storage(text("0"), kFloatStorage, i32(-24))), HasSubstr("does not match"));
  // 2^62 + 24 floats wrap to 96 bytes.
  EXPECT_THAT(error_of(storage(text("0"), kFloatStorage, "\x8A\x08\x18\0\0\0\0\0\0\x40"s)),
              HasSubstr("does not match"));
  EXPECT_THAT(error_of(storage(text("0"), "ctorch\nFakeStorage\n")), HasSubstr("not on the list"));
  EXPECT_THAT(error_of(storage(text("0"), "ctorch\nSize\n")), HasSubstr("not a storage class"));
  EXPECT_THAT(error_of(storage(i32(0))), HasSubstr("persistent id is not"));
  EXPECT_THAT(
      error_of("(" + storage() + storage(text("0"), "ctorch\nHalfStorage\n", i32(48)) + "t"),
      HasSubstr("48 x F16 here and 24 x F32 before"));
}

TEST(TorchPickle, RefusesViewsOutsideTheirStorage) {
  EXPECT_EQ(error_of(tensor(i32(0), ints({6, 4}), ints({4, 1}))), "(no error)");
  EXPECT_EQ(error_of(tensor(i32(23), ints({}), ints({}))), "(no error)");
  EXPECT_EQ(error_of(tensor(i32(500), ints({0, 3}), ints({3, 1}))), "(no error)");  // empty
  EXPECT_THAT(error_of(tensor(i32(1), ints({6, 4}), ints({4, 1}))),
              HasSubstr("reaches past the 24 elements"));
  EXPECT_THAT(error_of(tensor(i32(24), ints({}), ints({}))), HasSubstr("reaches past"));
  EXPECT_THAT(error_of(tensor(i32(-4), ints({6, 4}), ints({4, 1}))),
              HasSubstr("negative storage offset -4"));
  EXPECT_THAT(error_of(tensor(i32(0), ints({-6, -4}), ints({4, 1}))),
              HasSubstr("whole numbers from 0 up"));
  EXPECT_THAT(error_of(tensor(i32(0), ints({6, 4}), ints({-4, 1}))),
              HasSubstr("whole numbers from 0 up"));
  EXPECT_THAT(error_of(tensor(i32(0), ints({25}), ints({0}))),
              HasSubstr("more elements than the 24"));
  const std::string huge =
      "(\x8A\x08\0\0\0\0\0\0\0\x40\x8A\x08\0\0\0\0\0\0\0\x40t"s;  // 2^62 x 2^62
  EXPECT_THAT(error_of(tensor(i32(0), huge, ints({0, 0}))), HasSubstr("more elements than the 24"));
  EXPECT_THAT(error_of(tensor(i32(0), ints({3, 3}), huge)), HasSubstr("reaches past"));
  EXPECT_THAT(error_of(tensor(i32(0), ints({6, 4}), ints({4}))),
              HasSubstr("2 sizes and 1 strides"));
  EXPECT_THAT(
      error_of(tensor(i32(0), ints(std::vector<int32_t>(9, 1)), ints(std::vector<int32_t>(9, 1)))),
      HasSubstr("9 dimensions, expected at most 8"));
  EXPECT_THAT(error_of(tensor(i32(0), "]", ints({1}))), HasSubstr("not a tuple"));
  EXPECT_THAT(error_of(tensor("N", ints({1}), ints({1}))), HasSubstr("offset of a tensor is not"));
  EXPECT_THAT(error_of(tensor(i32(0), ints({1}), ints({1}), "N")), HasSubstr("has no storage"));
  EXPECT_THAT(error_of("ctorch._utils\n_rebuild_tensor_v2\n(NNNtR"),
              HasSubstr("3 arguments, expected 6 or 7"));
  EXPECT_THAT(error_of("ctorch._utils\n_rebuild_parameter\n(NNNtR"),
              HasSubstr("not given a tensor"));
}

}  // namespace
}  // namespace plumb
