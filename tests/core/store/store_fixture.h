// A scratch directory and small made-up records for the tests of core/store.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "core/store/run_reader.h"
#include "core/store/run_writer.h"
#include "core/store/sqlite.h"

namespace plumb {

// The value of a Result, or a test failure with its sentence.
template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.error().message;
    std::abort();
  }
  return std::move(result).value();
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "plumb_store_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path file(const std::string& name = "out.db") const { return directory_ / name; }
  RunWriter writer(const WriterOptions& options = {}) {
    return must(RunWriter::open(file(), options));
  }
  RunReader reader() { return must(RunReader::open(file())); }
  // One integer out of the file, on a connection of its own.
  int64_t ask(const std::string& sql) {
    SQLite::Database db(file().string(), SQLite::OPEN_READWRITE, 5000);
    return db.execAndGet(sql).getInt64();
  }

  std::filesystem::path directory_;
};

inline std::string fake_hash(int64_t n) { return fmt::format("{:064x}", n); }

inline Setting some_setting() {
  Setting setting;
  setting.model_path = "/models/april";
  setting.model_name = "april";
  setting.model_sha256 = fake_hash(0xabc);
  setting.family = "raven";
  setting.axis = "recurrences";
  setting.text_name = "wiki";
  setting.text_sha256 = fake_hash(0xdef);
  setting.window = 8;
  setting.stride = 4;
  setting.state = "like-init";
  return setting;
}

inline PointRecord some_point(int64_t run_id, int64_t num_steps, int64_t planned_chunks) {
  PointRecord point;
  point.key_hash = fake_hash(num_steps);
  point.run_id = run_id;
  point.setting = some_setting();
  point.num_steps = num_steps;
  point.planned_chunks = planned_chunks;
  point.planned_tokens = planned_chunks * 4;
  return point;
}

inline TrajectoryRecord some_trajectory(int64_t run_id, int64_t max_steps) {
  TrajectoryRecord trajectory;
  trajectory.key_hash = fake_hash(1000 + max_steps);
  trajectory.run_id = run_id;
  trajectory.setting = some_setting();
  trajectory.max_steps = max_steps;
  trajectory.planned_chunks = 2;
  return trajectory;
}

// Four tokens a chunk, with losses 0.5, 1.0, 1.5, 2.0 times `scale`.
inline PointChunk some_chunk(int64_t point_id, int64_t chunk_index, int32_t exit_step,
                             double scale = 1) {
  PointChunk chunk;
  chunk.point_id = point_id;
  chunk.n_tokens = 4;
  chunk.n_bytes = 16;
  chunk.nll_sum_nats = 5 * scale;
  chunk.elapsed_ms = 2;
  for (int i = 0; i < 4; ++i) {
    TokenRow row;
    row.pos = chunk_index * 4 + i;
    row.token_id = 100 + i;
    row.target_id = 101 + i;
    row.nll_nats = 0.5 * (i + 1) * scale;
    row.exit_step = exit_step;
    row.exit_reason = "fixed";
    chunk.tokens.push_back(row);
  }
  return chunk;
}

inline StepRecord some_step(int64_t pos, int32_t step) {
  const float x = 0.1f * static_cast<float>(pos) + static_cast<float>(step) / 3;
  StepRecord row;
  row.pos = pos, row.step = step;
  row.nll = x, row.entropy = x + 1, row.top1_id = static_cast<int32_t>(pos * 37 % 31000);
  row.p1 = 1 / (1 + x), row.p2 = 0.3f / (1 + x), row.target_rank = step;
  row.state_norm = 20 + x, row.delta_norm = 3 / x, row.accel_norm = 2 / x, row.cos = 1 - 0.01f / x;
  row.kl_prev = 0.7f / x, row.minp_kl = 0.4f / x, row.kl_final = 0.9f / x, row.stability = step / 2;
  return row;
}

inline TrajectoryChunk some_steps(int64_t trajectory_id, int64_t first_pos, int n_positions,
                                  int32_t max_steps) {
  TrajectoryChunk chunk;
  chunk.trajectory_id = trajectory_id;
  for (int i = 0; i < n_positions; ++i)
    for (int32_t step = 1; step <= max_steps; ++step)
      chunk.steps.push_back(some_step(first_pos + i, step));
  return chunk;
}

}  // namespace plumb
