#include "core/store/run_writer.h"

#include <sys/wait.h>

#include "tests/core/store/store_fixture.h"

namespace plumb {
namespace {

class Writer : public StoreTest {
 protected:
  static ChunkBatch batch_of(int64_t run, int64_t chunk_index, std::vector<int64_t> points) {
    ChunkBatch batch;
    batch.run_id = run, batch.chunk_index = chunk_index, batch.first_token = chunk_index * 4;
    for (const int64_t point : points) batch.points.push_back(some_chunk(point, chunk_index, 3));
    return batch;
  }
};

TEST_F(Writer, DuplicateKeyReturnsTheExistingPoint) {
  RunWriter out = writer();
  const int64_t first = must(out.begin_run({})), second = must(out.begin_run({}));
  const UpsertedPoint a = must(out.upsert_point(some_point(first, 4, 1)));
  EXPECT_FALSE(a.existing);
  const UpsertedPoint b = must(out.upsert_point(some_point(second, 4, 1)));
  EXPECT_EQ(b.id, a.id);
  EXPECT_TRUE(b.existing);
  EXPECT_FALSE(b.already_done);
  must(out.write_chunk(batch_of(first, 0, {a.id})));
  must(out.finish_point(a.id, {}));
  EXPECT_TRUE(must(out.upsert_point(some_point(second, 4, 1))).already_done);
  EXPECT_EQ(ask("SELECT count(*) FROM points"), 1);
  // Both runs asked for it; the first computed it.
  const auto runs = must(reader().runs());
  EXPECT_EQ(runs[0].points_done, 1);
  EXPECT_EQ(runs[1].points_done, 1);
  EXPECT_EQ(must(reader().point(a.id)).record.run_id, first);
}

TEST_F(Writer, ChunkWrittenTwiceIsThereOnce) {
  RunWriter out = writer();
  const int64_t run = must(out.begin_run({}));
  const int64_t point = must(out.upsert_point(some_point(run, 4, 1))).id;
  const int64_t trajectory = must(out.upsert_trajectory(some_trajectory(run, 6))).id;
  ChunkBatch batch = batch_of(run, 0, {point});
  batch.trajectories.push_back(some_steps(trajectory, 0, 4, 6));
  const ChunkOutcome first = must(out.write_chunk(batch));
  EXPECT_EQ(first.points_written, 1);
  EXPECT_EQ(first.step_rows, 24);
  const ChunkOutcome again = must(out.write_chunk(batch));
  EXPECT_EQ(again.points_skipped, 1);
  EXPECT_EQ(again.trajectories_skipped, 1);
  EXPECT_EQ(again.step_rows, 0);
  EXPECT_EQ(ask("SELECT count(*) FROM tokens"), 4);
  EXPECT_EQ(ask("SELECT count(*) FROM steps"), 24);
  EXPECT_EQ(must(out.recorded_chunks(point)), std::vector<int64_t>{0});
  EXPECT_EQ(must(out.recorded_trajectory_chunks(trajectory)), std::vector<int64_t>{0});
}

TEST_F(Writer, FailedChunkLeavesNothingAndTheWriterUsable) {
  RunWriter out = writer();
  const int64_t run = must(out.begin_run({}));
  const int64_t point = must(out.upsert_point(some_point(run, 4, 2))).id;
  // The second point does not exist, so its foreign key fails after the first is written.
  const auto failed = out.write_chunk(batch_of(run, 0, {point, 999}));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().kind, ErrorKind::kWork);
  EXPECT_NE(failed.error().message.find(file().string()), std::string::npos);
  EXPECT_EQ(ask("SELECT count(*) FROM chunks"), 0);
  EXPECT_EQ(ask("SELECT count(*) FROM tokens"), 0);
  // A position of another chunk again: the primary key refuses it in the bulk insert.
  must(out.write_chunk(batch_of(run, 0, {point})));
  ChunkBatch overlap = batch_of(run, 1, {point});
  overlap.points[0].tokens[2].pos = 1;
  EXPECT_FALSE(out.write_chunk(overlap).ok());
  EXPECT_EQ(must(out.recorded_chunks(point)), std::vector<int64_t>{0});
  EXPECT_EQ(must(out.write_chunk(batch_of(run, 1, {point}))).points_written, 1);
}

TEST_F(Writer, PointIsFinishedOnlyWhenAllChunksAreThere) {
  RunWriter out = writer();
  const int64_t run = must(out.begin_run({}));
  const int64_t point = must(out.upsert_point(some_point(run, 4, 2))).id;
  EXPECT_FALSE(out.finish_point(point, {}).ok());
  must(out.write_chunk(batch_of(run, 0, {point})));
  const Status early = out.finish_point(point, {});
  ASSERT_FALSE(early.ok());
  EXPECT_NE(early.error().message.find("found 1 chunks with 4 tokens, expected 2"),
            std::string::npos)
      << early.error().message;
  must(out.write_chunk(batch_of(run, 1, {point})));
  must(out.finish_point(point, {}));
}

TEST_F(Writer, PointIsClaimedByOneWriter) {
  RunWriter a = writer(), b = writer();
  const int64_t run = must(a.begin_run({}));
  const int64_t point = must(a.upsert_point(some_point(run, 4, 1))).id;
  EXPECT_EQ(must(a.claim_points({point}, {})), std::vector<int64_t>{point});
  EXPECT_TRUE(must(b.claim_points({point}, {})).empty());
  EXPECT_EQ(must(a.heartbeat({point})), 1);
  EXPECT_EQ(must(b.heartbeat({point})), 0);
  // Without a heartbeat for long enough it may be taken, and the first owner sees that.
  EXPECT_EQ(must(b.claim_points({point}, {.stale_after_s = 0})), std::vector<int64_t>{point});
  EXPECT_EQ(must(a.heartbeat({point})), 0);
  EXPECT_EQ(must(reader().point(point)).attempt, 2);
}

TEST_F(Writer, FailedPointIsTakenOnlyWhenAsked) {
  RunWriter out = writer();
  const int64_t run = must(out.begin_run({}));
  const int64_t point = must(out.upsert_point(some_point(run, 4, 1))).id;
  must(out.set_point_status(point, PointStatus::kFailed, "the model is missing"));
  EXPECT_EQ(must(reader().point(point)).error, "the model is missing");
  EXPECT_TRUE(must(out.claim_points({point}, {})).empty());
  EXPECT_EQ(must(out.claim_points({point}, {.retry_failed = true})).size(), 1u);
  EXPECT_EQ(must(reader().point(point)).error, "");
}

TEST_F(Writer, PointOfADeadProcessIsTakenAtOnce) {
  int64_t point = 0;
  {
    RunWriter out = writer();
    const int64_t run = must(out.begin_run({}));
    point = must(out.upsert_point(some_point(run, 4, 1))).id;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    auto out = RunWriter::open(file(), {});
    ::_exit(out.ok() && out.value().claim_points({point}, {}).ok() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(must(reader().point(point)).status, PointStatus::kRunning);
  RunWriter out = writer();
  EXPECT_EQ(must(out.claim_points({point}, {.stale_after_s = 3600})).size(), 1u);
}

TEST_F(Writer, UnknownIdsAreErrors) {
  RunWriter out = writer();
  EXPECT_FALSE(out.set_run_status(5, RunStatus::kDone).ok());
  EXPECT_FALSE(out.set_point_status(5, PointStatus::kFailed, "x").ok());
  EXPECT_FALSE(out.finish_point(5, {}).ok());
  EXPECT_FALSE(reader().point(5).ok());
}

TEST_F(Writer, FullFileIsAnErrorAndKeepsCommittedRows) {
  // A limit on the file behaves as a full disk does: SQLITE_FULL.
  RunWriter out = writer({.max_file_bytes = 2'000'000});
  const int64_t run = must(out.begin_run({}));
  const int64_t trajectory = must(out.upsert_trajectory(some_trajectory(run, 16))).id;
  int written = 0;
  std::optional<Error> full;
  while (!full && written < 100) {
    ChunkBatch batch;
    batch.run_id = run, batch.chunk_index = written;
    batch.trajectories.push_back(some_steps(trajectory, written * 80, 80, 16));
    const auto outcome = out.write_chunk(batch);
    if (outcome.ok())
      ++written;
    else
      full = outcome.error();
  }
  ASSERT_TRUE(full);
  EXPECT_GT(written, 2);
  EXPECT_EQ(full->kind, ErrorKind::kWork);
  EXPECT_NE(full->message.find("no space left while writing chunk"), std::string::npos)
      << full->message;
  EXPECT_EQ(ask("SELECT count(*) FROM steps"), written * 80 * 16);
  EXPECT_EQ(ask("SELECT count(*) FROM trajectory_chunks"), written);
  // With room again, the same writer goes on.
  ChunkBatch small;
  small.run_id = run, small.chunk_index = written;
  small.trajectories.push_back(some_steps(trajectory, written * 80, 1, 1));
  EXPECT_TRUE(out.write_chunk(small).ok());
}

}  // namespace
}  // namespace plumb
