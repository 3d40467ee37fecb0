// Processes that are killed, run out of room, or share a file.
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <random>
#include <thread>

#include "tests/core/store/store_fixture.h"

namespace plumb {
namespace {

constexpr int kPositions = 100, kSteps = 16;

class Crash : public StoreTest {
 protected:
  // Writes chunks until it is killed or something fails; nonzero on failure.
  static int write_chunks(const std::filesystem::path& path, int64_t first, int64_t count,
                          int64_t stride = 1) {
    auto opened = RunWriter::open(path, {});
    if (!opened.ok()) return 1;
    RunWriter out = std::move(opened).value();
    const auto run = out.begin_run({});
    if (!run.ok()) return 2;
    const auto point = out.upsert_point(some_point(run.value(), 4, 0));
    const auto trajectory = out.upsert_trajectory(some_trajectory(run.value(), kSteps));
    if (!point.ok() || !trajectory.ok()) return 3;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = first + i * stride;
      ChunkBatch batch;
      batch.run_id = run.value(), batch.chunk_index = index;
      batch.points.push_back(some_chunk(point.value().id, index, 4));
      batch.trajectories.push_back(
          some_steps(trajectory.value().id, index * kPositions, kPositions, kSteps));
      if (!out.write_chunk(batch).ok()) return 4;
    }
    return 0;
  }

  // Every chunk that is there is there with all its rows, and no row is there without its chunk.
  void expect_whole_chunks() {
    EXPECT_EQ(ask("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    EXPECT_EQ(ask("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    const int64_t chunks = ask("SELECT count(*) FROM chunks");
    EXPECT_EQ(ask("SELECT count(*) FROM trajectory_chunks"), chunks);
    EXPECT_EQ(ask("SELECT count(*) FROM tokens"), chunks * 4);
    EXPECT_EQ(ask("SELECT count(*) FROM steps"), chunks * kPositions * kSteps);
  }
};

TEST_F(Crash, KilledWriterLeavesOnlyWholeChunks) {
  std::mt19937 random(7);
  int64_t previous = 0;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(write_chunks(file(), 0, 1'000'000));
    // The first rounds may fall into making the file itself.
    const int wait_ms =
        round < 4 ? static_cast<int>(random() % 12) : 20 + static_cast<int>(random() % 150);
    std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer stopped by itself: " << WEXITSTATUS(status);
    { writer(); }  // opens, whatever was interrupted
    expect_whole_chunks();
    const int64_t chunks = ask("SELECT count(*) FROM chunks");
    EXPECT_GE(chunks, previous);
    previous = chunks;
  }
  EXPECT_GT(previous, 0);
}

TEST_F(Crash, TwoWritersShareAFile) {
  const int kChunks = 60;
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = ::fork();
    // Both make the file if it is not there; one takes the even chunks, one the odd ones.
    if (children[i] == 0) ::_exit(write_chunks(file(), i, kChunks, 2));
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
  }
  expect_whole_chunks();
  EXPECT_EQ(ask("SELECT count(*) FROM chunks"), 2 * kChunks);
  EXPECT_EQ(ask("SELECT count(*) FROM points"), 1);
  EXPECT_EQ(ask("SELECT count(*) FROM runs"), 2);
}

TEST_F(Crash, FileSizeLimitIsAnErrorAndKeepsCommittedRows) {
  { writer(); }
  const pid_t child = ::fork();
  if (child == 0) {
    // A write beyond the limit fails with EFBIG instead of a signal, as on a full disk.
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{2'000'000, 2'000'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(write_chunks(file(), 0, 1000));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 4);
  { writer(); }
  expect_whole_chunks();
  EXPECT_GT(ask("SELECT count(*) FROM chunks"), 2);
}

TEST_F(Crash, ReaderSeesCommittedChunksWhileAWriterWrites) {
  RunWriter out = writer();
  const int64_t run = must(out.begin_run({}));
  const int64_t point = must(out.upsert_point(some_point(run, 4, 2))).id;
  ChunkBatch batch;
  batch.run_id = run;
  batch.points.push_back(some_chunk(point, 0, 4));
  RunReader in = reader();
  EXPECT_EQ(must(in.point(point)).chunks_done, 0);
  must(out.write_chunk(batch));
  EXPECT_EQ(must(in.point(point)).chunks_done, 1);
}

}  // namespace
}  // namespace plumb
