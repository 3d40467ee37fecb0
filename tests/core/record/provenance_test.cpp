#include "core/record/provenance.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace plumb {
namespace {

class Provenance : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "plumb_hash_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::filesystem::path make(const std::string& name, const std::string& content) {
    const auto path = directory_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::filesystem::path directory_;
};

TEST_F(Provenance, HashesTheStandardExamples) {
  // FIPS 180-4: the empty string, "abc", and a million times "a".
  EXPECT_EQ(sha256_of_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of_text("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_of_text(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(Provenance, FileHashIsThatOfItsBytesAcrossBuffers) {
  std::string content(3'000'001, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 % 251);
  const auto result = sha256_of_file(make("big", content));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.value(), sha256_of_text(content));
  EXPECT_EQ(sha256_of_file(make("empty", "")).value(), sha256_of_text(""));
}

TEST_F(Provenance, UnreadableIsASentence) {
  for (const auto& path : {directory_ / "missing", directory_}) {
    const auto result = sha256_of_file(path);
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message.find(path.string()), std::string::npos);
  }
}

TEST_F(Provenance, ShardsHashTheSameInAnyOrderAndPlace) {
  const auto a = make("x/model-1.safetensors", "one"), b = make("x/model-2.safetensors", "two");
  const auto c = make("y/model-1.safetensors", "one"), d = make("y/model-2.safetensors", "two");
  const std::string hash = sha256_of_files({a, b}).value();
  EXPECT_EQ(hash, sha256_of_files({d, c}).value());
  EXPECT_EQ(hash, sha256_of_text(sha256_of_text("one") + "  model-1.safetensors\n" +
                                 sha256_of_text("two") + "  model-2.safetensors\n"));
  EXPECT_NE(hash, sha256_of_files({a}).value());
  EXPECT_FALSE(sha256_of_files({a, c}).ok());
  EXPECT_FALSE(sha256_of_files({}).ok());
}

TEST_F(Provenance, RunKnowsItsMachine) {
  const RunRecord run = describe_run("sweep", "0.1.0", {"plumb", "sweep"}, 2, "{}");
  EXPECT_EQ(run.host_name, host_name());
  EXPECT_FALSE(run.host_name.empty());
  EXPECT_FALSE(run.cpu_model.empty());
  EXPECT_EQ(run.binary_version, "0.1.0");
}

TEST_F(Provenance, TimeIsSortableUtc) {
  const std::string now = utc_now();
  ASSERT_EQ(now.size(), 24u) << now;
  EXPECT_EQ(now.back(), 'Z');
  EXPECT_LT(utc_now(-60), now);
  EXPECT_GT(utc_now(60), now);
}

TEST_F(Provenance, KeyHashIsThatOfTheCanonicalJson) {
  PointRecord point;
  EXPECT_EQ(point_key_hash(point), sha256_of_text(point_key_json(point)));
  TrajectoryRecord trajectory;
  const std::string before = trajectory_key_hash(trajectory);
  trajectory.max_steps = 64;
  EXPECT_NE(trajectory_key_hash(trajectory), before);
}

}  // namespace
}  // namespace plumb
