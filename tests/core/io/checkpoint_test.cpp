#include "core/io/checkpoint.h"

#include <gmock/gmock.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "tests/core/io/files.h"

namespace plumb {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message;
using testing::one_tensor;
using testing::TempDir;

const char* const kIndexName = "model.safetensors.index.json";

std::string error_of(const std::filesystem::path& model, const CheckpointOptions& options = {}) {
  return message(Checkpoint::open(model, options));
}

TEST(Checkpoint, OpensADirectoryWithItsConfig) {
  const TempDir dir;
  dir.write("model.safetensors", one_tensor("w", {1, 2}));
  dir.write("config.json", R"({"n_layers": 3})");
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << message(checkpoint);
  const Checkpoint& c = checkpoint.value();
  ASSERT_NE(c.find("w"), nullptr);
  EXPECT_THAT(read_f32(*c.find("w")).value(), ElementsAre(1.F, 2.F));
  EXPECT_EQ(c.find("v"), nullptr);
  EXPECT_EQ(c.config()["n_layers"], 3);
  EXPECT_EQ(c.config_where(), (dir / "config.json").string());
  EXPECT_EQ(c.directory(), dir.path());
  EXPECT_EQ(c.display_name(), dir.path().string());
  EXPECT_THAT(c.weight_files(), ElementsAre(dir / "model.safetensors"));
  EXPECT_TRUE(c.notes().empty());
}

TEST(Checkpoint, OutlivesItsMoves) {
  const TempDir dir;
  auto first = Checkpoint::open(dir.write("a.safetensors", one_tensor("w", {5})));
  ASSERT_TRUE(first.ok());
  Checkpoint second = std::move(first).value();
  std::filesystem::remove(dir / "a.safetensors");
  EXPECT_THAT(read_f32(*second.find("w")).value(), ElementsAre(5.F));
}

TEST(Checkpoint, OpensOneFileAndAConfigIsOptional) {
  const TempDir dir;
  const auto file = dir.write("base.safetensors", one_tensor("w", {1}));
  const auto bare = Checkpoint::open(file);
  ASSERT_TRUE(bare.ok()) << message(bare);
  EXPECT_TRUE(bare.value().config().is_null());
  EXPECT_EQ(bare.value().directory(), dir.path());
  dir.write("config.json", R"({"a": 1})");
  EXPECT_EQ(Checkpoint::open(file).value().config()["a"], 1);
  const auto other = dir.write("other.json", R"({"a": 2})");
  EXPECT_EQ(Checkpoint::open(file, {.config = other}).value().config()["a"], 2);
}

TEST(Checkpoint, RefusesBadConfigs) {
  const TempDir dir;
  dir.write("model.safetensors", one_tensor("w", {1}));
  EXPECT_THAT(error_of(dir.path(), {.config = dir / "none.json"}),
              HasSubstr("none.json: no such file"));
  for (const auto& [text, reason] : {std::pair{"[1]", "not a JSON object"},
                                     {"{", "not valid JSON"},
                                     {R"({"a":1,"a":2})", "key \"a\" appears twice"}}) {
    dir.write("config.json", text);
    EXPECT_THAT(error_of(dir.path()), AllOf(HasSubstr("config.json"), HasSubstr(reason)));
  }
}

TEST(Checkpoint, NeverGuessesAmongSeveral) {
  const TempDir dir;
  EXPECT_THAT(error_of(dir.path()), HasSubstr("no weights here"));
  EXPECT_THAT(error_of(dir / "none"), HasSubstr("no such file or directory"));
  dir.write("sub/x.pt", "?");
  EXPECT_THAT(error_of(dir.path()), HasSubstr("there are some in sub/"));
  dir.write("b.safetensors", one_tensor("w", {1}));
  const auto only = Checkpoint::open(dir.path());
  ASSERT_TRUE(only.ok()) << message(only);
  EXPECT_THAT(only.value().notes()[0], HasSubstr("the weights are those of"));
  dir.write("a.pt", "?");
  EXPECT_THAT(error_of(dir.path()), HasSubstr("2 weights files and no model.safetensors; name the "
                                              "one that is meant: a.pt, b.safetensors"));
  dir.write("model.safetensors", one_tensor("m", {1}));
  EXPECT_TRUE(Checkpoint::open(dir.path()).ok());
  dir.write(kIndexName, "{}");
  EXPECT_THAT(error_of(dir.path()), HasSubstr("holds both"));
}

TEST(Checkpoint, RefusesFilesOfOtherKinds) {
  const TempDir dir;
  EXPECT_THAT(error_of(dir.write("x.gguf", "GGUF")),
              HasSubstr("expected a directory, a .safetensors file or a .pt file"));
  EXPECT_THAT(error_of(dir.write("m.safetensors", testing::safetensors_bytes("{}", ""))),
              HasSubstr("holds no tensors"));
}

void write_shards(const TempDir& dir) {
  dir.write("m-00001-of-00002.safetensors", one_tensor("b", {1}));
  dir.write("m-00002-of-00002.safetensors", one_tensor("a", {2}));
}
std::string index(const std::string& map) { return R"({"metadata":{},"weight_map":)" + map + "}"; }
const std::string kMap =
    R"({"a":"m-00002-of-00002.safetensors","b":"m-00001-of-00002.safetensors"})";

TEST(ShardedCheckpoint, JoinsItsShards) {
  const TempDir dir;
  write_shards(dir);
  dir.write(kIndexName, index(kMap));
  for (const auto& model : {dir.path(), dir / kIndexName}) {
    const auto checkpoint = Checkpoint::open(model);
    ASSERT_TRUE(checkpoint.ok()) << message(checkpoint);
    ASSERT_EQ(checkpoint.value().tensors().size(), 2U);
    EXPECT_EQ(checkpoint.value().tensors()[0].name, "a");
    EXPECT_THAT(read_f32(*checkpoint.value().find("b")).value(), ElementsAre(1.F));
    EXPECT_THAT(
        checkpoint.value().weight_files(),
        ElementsAre(dir / "m-00001-of-00002.safetensors", dir / "m-00002-of-00002.safetensors"));
  }
}

TEST(ShardedCheckpoint, RefusesDisagreementBetweenIndexAndShards) {
  const TempDir dir;
  write_shards(dir);
  dir.write(kIndexName, index(R"({"a":"m-00002-of-00002.safetensors"})"));
  EXPECT_TRUE(Checkpoint::open(dir.path()).ok());
  dir.write(kIndexName,
            index(R"({"a":"m-00002-of-00002.safetensors","c":"m-00001-of-00002.safetensors"})"));
  EXPECT_THAT(error_of(dir.path()),
              HasSubstr("tensor \"b\" is in the shard m-00001-of-00002.safetensors but"));
  dir.write(kIndexName,
            index(R"({"a":"m-00002-of-00002.safetensors","b":"m-00001-of-00002.safetensors",)"
                  R"("c":"m-00001-of-00002.safetensors"})"));
  EXPECT_THAT(
      error_of(dir.path()),
      HasSubstr("places tensor \"c\" in m-00001-of-00002.safetensors, which does not hold it"));
  dir.write(kIndexName, index(R"({"a":"m-00002-of-00002.safetensors","b":"gone.safetensors"})"));
  EXPECT_THAT(error_of(dir.path()), HasSubstr("the shard gone.safetensors is missing"));
}

TEST(ShardedCheckpoint, KeepsShardsInsideTheDirectory) {
  const TempDir dir;
  const auto outside = dir.write("outside.safetensors", one_tensor("a", {1}));
  for (const std::string& shard :
       {std::string("../outside.safetensors"), std::string("x/../../outside.safetensors"),
        outside.string(), std::string(""), std::string("./x.safetensors"), std::string("..")}) {
    const auto file =
        dir.write(std::string("model/") + kIndexName, index("{\"a\":\"" + shard + "\"}"));
    EXPECT_THAT(error_of(file), HasSubstr("which leaves the directory")) << shard;
  }
}

TEST(ShardedCheckpoint, RefusesMalformedIndexes) {
  const TempDir dir;
  for (const auto& [text, reason] : {std::pair{"[]", "no object \"weight_map\""},
                                     {"{}", "no object \"weight_map\""},
                                     {R"({"weight_map":{}})", "is empty"},
                                     {R"({"weight_map":{"a":1}})", "is not a file name"},
                                     {R"({"weight_map":{"a":"x","a":"y"}})", "appears twice"}}) {
    dir.write(kIndexName, text);
    EXPECT_THAT(error_of(dir.path()), AllOf(HasSubstr(kIndexName), HasSubstr(reason)));
  }
}

TEST(ShardedCheckpoint, RefusesAShardAlone) {
  const TempDir dir;
  write_shards(dir);
  EXPECT_THAT(error_of(dir / "m-00001-of-00002.safetensors"), HasSubstr("one shard of several"));
  std::filesystem::remove(dir / "m-00002-of-00002.safetensors");
  EXPECT_THAT(error_of(dir.path()), HasSubstr("is one shard of several and there is no"));
  EXPECT_TRUE(
      Checkpoint::open(dir.write("m-00001-of-00001.safetensors", one_tensor("a", {1}))).ok());
}

TEST(TorchCheckpoint, PrefersTheConfigSavedWithTheWeights) {
  const TempDir dir;
  const auto file = dir.write("step_3.pt", testing::read_bytes(testing::golden("loaded/f32.pt")));
  dir.write("config.json", R"({"dim": 99})");
  const auto checkpoint = Checkpoint::open(file);
  ASSERT_TRUE(checkpoint.ok()) << message(checkpoint);
  EXPECT_EQ(checkpoint.value().config()["dim"], 4);
  EXPECT_THAT(checkpoint.value().notes().back(), HasSubstr("config.json is not used"));
  const auto overridden = Checkpoint::open(file, {.config = dir / "config.json"});
  EXPECT_EQ(overridden.value().config()["dim"], 99);
  EXPECT_THAT(overridden.value().notes().back(), HasSubstr("replaces the cfg inside"));
  const auto bare =
      dir.write("bare.pt", testing::read_bytes(testing::golden("loaded/views_bare.pt")));
  EXPECT_EQ(Checkpoint::open(bare).value().config()["dim"], 99);
}

TEST(NonFinite, NamesTheTensorsOfEveryFloatingType) {
  constexpr float kInf = std::numeric_limits<float>::infinity(),
                  kNaN = std::numeric_limits<float>::quiet_NaN();
  const TempDir dir;
  const auto good =
      Checkpoint::open(dir.write("good.safetensors", one_tensor("w", {0, -1, 3e38F, 1e-45F})));
  EXPECT_EQ(non_finite_report(good.value()), std::nullopt);
  const auto bad =
      Checkpoint::open(dir.write("bad.safetensors", one_tensor("w", {0, kInf, -kInf, kNaN})));
  const auto report = non_finite_report(bad.value());
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(*report, HasSubstr("NaN or infinity in \"w\" (3 of 4 values)"));

  using testing::entry, testing::raw;
  const auto mixed = Checkpoint::open(dir.write(
      "mixed.safetensors",
      testing::safetensors_bytes("{" + entry("d", "F64", "[1]", "0", "8") + "," +
                                     entry("b", "BF16", "[2]", "8", "12") + "," +
                                     entry("h", "F16", "[2]", "12", "16") + "," +
                                     entry("i", "I32", "[1]", "16", "20") + "}",
                                 raw<double>({-INFINITY}) + raw<uint16_t>({0x7F80, 0x7F7F}) +
                                     raw<uint16_t>({0x7BFF, 0xFC01}) + raw<int32_t>({-1}))));
  ASSERT_TRUE(mixed.ok()) << message(mixed);
  EXPECT_THAT(
      non_finite_report(mixed.value()).value(),
      AllOf(HasSubstr("\"b\" (1 of 2 values), \"d\" (1 of 1 values), \"h\" (1 of 2 values)")));
}

}  // namespace
}  // namespace plumb
