#include "core/store/schema.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/core/store/store_fixture.h"

namespace plumb {
namespace {

class Schema : public StoreTest {};

TEST_F(Schema, DocumentIsWhatTheTablePrints) {
  const std::string path = PLUMB_SOURCE_DIR "/notebooks-free-docs/schema.md";
  // PLUMB_UPDATE_DOCS=1 rewrites the page.
  if (std::getenv("PLUMB_UPDATE_DOCS") != nullptr) std::ofstream(path) << schema_markdown();
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), schema_markdown()) << "run this test with PLUMB_UPDATE_DOCS=1";
}

TEST_F(Schema, EveryColumnOfTheFileIsDescribed) {
  writer();
  SQLite::Database db(file().string());
  const auto names_of = [&](const std::string& table) {
    std::vector<std::string> names;
    SQLite::Statement query(db, "SELECT name FROM pragma_table_info('" + table + "')");
    while (query.executeStep()) names.push_back(query.getColumn(0).getString());
    return names;
  };
  const auto described = [](const std::vector<ColumnSpec>& columns) {
    std::vector<std::string> names;
    for (const ColumnSpec& column : columns) {
      EXPECT_FALSE(column.meaning.empty()) << column.name;
      names.push_back(column.name);
    }
    return names;
  };
  for (const TableSpec& table : schema_tables())
    EXPECT_EQ(names_of(table.name), described(table.columns)) << table.name;
  for (const ViewSpec& view : schema_views())
    EXPECT_EQ(names_of(view.name), described(view.columns)) << view.name;
  EXPECT_EQ(ask("SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'view')"),
            static_cast<int64_t>(schema_tables().size() + schema_views().size()));
}

TEST_F(Schema, FileIsInWalModeWithItsVersion) {
  writer();
  EXPECT_EQ(ask("PRAGMA user_version"), kSchemaVersion);
  EXPECT_EQ(ask("SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

// Bytes a row as the document says, to a twentieth.
class BytesPerRow : public StoreTest {
 protected:
  void expect_bytes(const std::string& table, int64_t rows) {
    for (const TableSpec& spec : schema_tables()) {
      if (spec.name != table) continue;
      const double bytes =
          static_cast<double>(ask("SELECT sum(pgsize) FROM dbstat WHERE name = '" + table + "'")) /
          static_cast<double>(rows);
      EXPECT_NEAR(bytes, spec.bytes_per_row, 0.05 * bytes) << table;
    }
  }
};

TEST_F(BytesPerRow, IsAsDocumented) {
  RunWriter out = writer();
  const int64_t run = must(out.begin_run({}));
  const int64_t point = must(out.upsert_point(some_point(run, 8, 4))).id;
  const int64_t trajectory = must(out.upsert_trajectory(some_trajectory(run, 16))).id;
  const int kPositions = 1000, kSteps = 8, kChunks = 10;
  for (int c = 0; c < kChunks; ++c) {
    ChunkBatch batch;
    batch.run_id = run, batch.chunk_index = c, batch.first_token = c * kPositions;
    batch.trajectories.push_back(some_steps(trajectory, c * kPositions, kPositions, kSteps));
    PointChunk chunk{point, kPositions, 0, 1, 1, {}};
    for (const StepRecord& s : batch.trajectories[0].steps) {
      batch.trajectories[0].step_lags.push_back(
          {s.pos, s.step, 2, s.nll, s.cos, s.p1, s.p2, s.nll});
      batch.trajectories[0].halting.push_back({s.pos, s.step, s.p1, s.p2, s.nll});
      if (s.step != 1) continue;
      TokenRow token{s.pos, s.top1_id, s.top1_id, s.nll / 3., 8, "rule"};
      chunk.tokens.push_back(token);
    }
    batch.points.push_back(chunk);
    must(out.write_chunk(batch));
  }
  must(out.checkpoint());
  const int64_t n_positions = kPositions * kChunks;
  expect_bytes("steps", n_positions * kSteps);
  expect_bytes("step_lags", n_positions * kSteps);
  expect_bytes("halting", n_positions * kSteps);
  expect_bytes("tokens", n_positions);
}

}  // namespace
}  // namespace plumb
