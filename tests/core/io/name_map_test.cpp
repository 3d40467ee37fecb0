#include "core/io/name_map.h"

#include <gmock/gmock.h>

#include <map>

#include "core/io/checkpoint.h"
#include "tests/core/io/files.h"

namespace plumb {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message;
using testing::TempDir;

// A file of F32 tensors whose values count up from 0, over all of them.
std::string tensors_file(const std::vector<std::pair<std::string, std::vector<int64_t>>>& tensors) {
  std::string header;
  std::vector<float> values;
  for (const auto& [name, shape] : tensors) {
    const size_t begin = 4 * values.size();
    int64_t count = 1;
    for (const int64_t n : shape) count *= n;
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(values.size()));
    header += (header.empty() ? "" : ",") + testing::entry(name, "F32", shape_text(shape),
                                                           std::to_string(begin),
                                                           std::to_string(4 * values.size()));
  }
  return testing::safetensors_bytes("{" + header + "}", testing::raw(values));
}

class NameMapTest : public ::testing::Test {
 protected:
  Result<Checkpoint> open(const std::string& tensors, const std::string& rules) {
    const auto map = dir_.write("names.json", R"({"format":"namemap-1","rules":[)" + rules + "]}");
    return Checkpoint::open(dir_.write("m.safetensors", tensors), {.namemap = map});
  }
  std::string error_of(const std::string& tensors, const std::string& rules) {
    return message(open(tensors, rules));
  }
  std::string error_of_map(const std::string& json) {
    return message(read_name_map(dir_.write("names.json", json)));
  }

  TempDir dir_;
};

TEST_F(NameMapTest, RenamesSplitsTransposesAndDrops) {
  const auto checkpoint =
      open(tensors_file({{"module._orig_mod.h.10.w", {2}},
                         {"module._orig_mod.h.2.qk", {4, 2}},
                         {"module._orig_mod.t", {2, 3}},
                         {"module._orig_mod.cos", {1}}}),
           R"({"from":"h.{i}.w","to":"l.{i}.w{i}"},)"
           R"({"from":"h.{i}.qk","split0":["l.{i}.q","l.{i}.k"]},)"
           R"({"from":"t","to":"u","transpose":true},{"from":"cos","drop":true})");
  ASSERT_TRUE(checkpoint.ok()) << message(checkpoint);
  const Checkpoint& c = checkpoint.value();
  ASSERT_EQ(c.tensors().size(), 4U);
  ASSERT_NE(c.find("l.10.w10"), nullptr);
  EXPECT_THAT(read_f32(*c.find("l.10.w10")).value(), ElementsAre(0, 1));
  EXPECT_THAT(c.find("l.2.q")->shape, ElementsAre(2, 2));
  EXPECT_THAT(read_f32(*c.find("l.2.q")).value(), ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(read_f32(*c.find("l.2.k")).value(), ElementsAre(6, 7, 8, 9));
  EXPECT_THAT(c.find("u")->shape, ElementsAre(3, 2));
  EXPECT_THAT(read_f32(*c.find("u")).value(), ElementsAre(10, 13, 11, 14, 12, 15));
}

TEST_F(NameMapTest, EverySourceMatchesExactlyOneRule) {
  const std::string tensors = tensors_file({{"a.1", {1}}, {"b", {1}}});
  EXPECT_THAT(error_of(tensors, R"({"from":"b","to":"b"})"),
              AllOf(HasSubstr("no rule matches tensor \"a.1\""), HasSubstr("names.json")));
  EXPECT_THAT(
      error_of(tensors,
               R"({"from":"b","to":"b"},{"from":"a.1","to":"x"},{"from":"a.{i}","to":"y"})"),
      HasSubstr("\"a.1\" of " + (dir_ / "m.safetensors").string() +
                " matches two rules, \"a.1\" and \"a.{i}\""));
}

TEST_F(NameMapTest, ANumberIsAWholeRunOfDigits) {
  const std::string rule = R"({"from":"a.{i}5","to":"x.{i}"})";
  EXPECT_THAT(error_of(tensors_file({{"a.15", {1}}}), rule),
              HasSubstr("no rule matches"));  // the run is 15
  EXPECT_THAT(error_of(tensors_file({{"a.x", {1}}}), R"({"from":"a.{i}","to":"x"})"),
              HasSubstr("no rule matches"));
  EXPECT_THAT(error_of(tensors_file({{"a.", {1}}}), R"({"from":"a.{i}","to":"x"})"),
              HasSubstr("no rule matches"));
  EXPECT_THAT(error_of(tensors_file({{"a.1b", {1}}}), R"({"from":"a.{i}","to":"x"})"),
              HasSubstr("no rule matches"));
}

TEST_F(NameMapTest, EveryCanonicalNameIsProducedOnce) {
  EXPECT_THAT(error_of(tensors_file({{"a", {1}}, {"b", {1}}}),
                       R"({"from":"a","to":"x"},{"from":"b","to":"x"})"),
              HasSubstr("tensor \"x\" is produced twice, from \"a\" and from \"b\""));
  EXPECT_THAT(error_of(tensors_file({{"a.1", {1}}, {"a.2", {1}}}), R"({"from":"a.{i}","to":"x"})"),
              HasSubstr("produced twice"));
  EXPECT_THAT(error_of(tensors_file({{"a", {2}}}), R"({"from":"a","split0":["x","x"]})"),
              HasSubstr("produced twice"));
}

TEST_F(NameMapTest, TiedTensorsMustBeEqualBits) {
  const std::string rules = R"({"from":"head","tied_to":"emb"},{"from":"emb","to":"emb"})";
  const auto pair = [](const std::string& shape, float a, float b) {
    return testing::safetensors_bytes("{" + testing::entry("emb", "F32", "[1]", "0", "4") + "," +
                                          testing::entry("head", "F32", shape, "4", "8") + "}",
                                      testing::raw<float>({a, b}));
  };
  const auto equal = open(pair("[1]", 7, 7), rules);
  ASSERT_TRUE(equal.ok()) << message(equal);
  EXPECT_EQ(equal.value().tensors().size(), 1U);
  EXPECT_THAT(error_of(pair("[1]", 7, 8), rules), HasSubstr("\"head\" differs from \"emb\""));
  EXPECT_THAT(error_of(pair("[1]", 0.F, -0.F), rules), HasSubstr("\"head\" differs from \"emb\""));
  EXPECT_THAT(error_of(pair("[1,1]", 7, 7), rules),
              HasSubstr("\"head\" is F32 [1, 1], but \"emb\""));
  EXPECT_THAT(
      error_of(pair("[1]", 7, 7), R"({"from":"head","tied_to":"e"},{"from":"emb","to":"emb"})"),
      HasSubstr("which no rule produces"));
}

TEST_F(NameMapTest, RefusesImpossibleCutsAndTurns) {
  EXPECT_THAT(error_of(tensors_file({{"a", {5, 2}}}), R"({"from":"a","split0":["x","y"]})"),
              HasSubstr("\"a\" [5, 2]"));
  EXPECT_THAT(error_of(tensors_file({{"a", {}}}), R"({"from":"a","split0":["x"]})"),
              HasSubstr("cannot be cut"));
  EXPECT_THAT(error_of(tensors_file({{"a", {4}}}), R"({"from":"a","to":"x","transpose":true})"),
              HasSubstr("not a matrix"));
}

TEST_F(NameMapTest, StripsPrefixesOnlyWhenAllCarryThem) {
  std::vector<TensorInfo> all(2), some(2);
  all[0].name = "_orig_mod.module.a", all[1].name = "_orig_mod.module.b";
  some[0].name = "module.a", some[1].name = "b";
  EXPECT_EQ(strip_common_prefixes(all), std::string("_orig_mod.module.").size());
  EXPECT_EQ(all[1].name, "b");
  EXPECT_EQ(strip_common_prefixes(some), 0U);
  EXPECT_EQ(some[0].name, "module.a");
}

TEST_F(NameMapTest, RefusesMalformedMaps) {
  const std::map<std::string, std::string> rules = {
      {R"(7)", "is not an object"},
      {R"({"to":"x"})", "no name \"from\""},
      {R"({"from":"a"})", "has 0 actions"},
      {R"({"from":"a","to":"x","drop":true})", "has 2 actions"},
      {R"({"from":"a","drop":false})", "\"drop\" can only be true"},
      {R"({"from":"a","to":7})", "\"to\" is not a name"},
      {R"({"from":"a","to":""})", "an empty target"},
      {R"({"from":"a","split0":"x"})", "not a list of names"},
      {R"({"from":"a","split0":[]})", "not a list of names"},
      {R"({"from":"a","split0":[1]})", "not a list of names"},
      {R"({"from":"a","drop":true,"transpose":true})", "goes with \"to\" only"},
      {R"({"from":"a","to":"x","transpose":1})", "not true or false"},
      {R"({"from":"a","to":"x{i}"})", "holds {i} but \"from\" does not"},
      {R"({"from":"{i}.{i}","to":"x"})", "{i} may stand once"},
      {R"({"from":"a","to":"x","note":1})", "unknown key \"note\""},
      {R"({"from":"a","from":"b","to":"x"})", "appears twice"}};
  for (const auto& [rule, reason] : rules)
    EXPECT_THAT(error_of_map(R"({"format":"namemap-1","rules":[)" + rule + "]}"), HasSubstr(reason))
        << rule;
  EXPECT_THAT(error_of_map(R"({"format":"namemap-2","rules":[]})"),
              HasSubstr("is not \"namemap-1\""));
  EXPECT_THAT(error_of_map(R"({"rules":[]})"), HasSubstr("is not \"namemap-1\""));
  EXPECT_THAT(error_of_map(R"({"format":"namemap-1"})"), HasSubstr("not a list of rules"));
  EXPECT_THAT(error_of_map(R"({"format":"namemap-1","rules":[],"x":1})"),
              HasSubstr("unknown key \"x\""));
  EXPECT_THAT(error_of_map("[]"), HasSubstr("is not \"namemap-1\""));
}

}  // namespace
}  // namespace plumb
