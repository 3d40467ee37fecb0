// A scratch directory and a results file of made-up but plausible numbers, written as a sweep
// would.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/store/run_reader.h"
#include "core/store/run_writer.h"

namespace plumb {

// The value of a Result, or the end of the test with its sentence.
template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.error().message;
    std::abort();
  }
  return std::move(result).value();
}

// The sentence of a Result that must be an error.
template <class T>
std::string error_of(const Result<T>& result) {
  return result.ok() ? "no error" : result.error().message;
}

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A gnuplot data file: blocks of rows of numbers.
using Blocks = std::vector<std::vector<std::vector<double>>>;
inline Blocks parse_dat(const std::string& text) {
  Blocks blocks(1);
  int empty_lines = 0;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) {
      if (++empty_lines == 2) blocks.emplace_back();
      continue;
    }
    empty_lines = 0;
    if (line[0] == '#') continue;
    std::istringstream words(line);
    std::vector<double> row;
    for (std::string word; words >> word;) row.push_back(std::strtod(word.c_str(), nullptr));
    blocks.back().push_back(row);
  }
  return blocks;
}

class AnalysisTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // PLUMB_KEEP_FIGURES=DIR keeps what the tests draw, to be looked at.
    if (const char* keep = std::getenv("PLUMB_KEEP_FIGURES")) {
      const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
      directory_ =
          std::filesystem::path(keep) / fmt::format("{}.{}", test->test_suite_name(), test->name());
      std::filesystem::remove_all(directory_);
      std::filesystem::create_directories(directory_);
      keep_ = true;
      return;
    }
    std::string pattern =
        (std::filesystem::temp_directory_path() / "plumb_analysis_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    if (!keep_) std::filesystem::remove_all(directory_);
  }
  std::filesystem::path file(const std::string& name) const { return directory_ / name; }

  std::filesystem::path directory_;
  bool keep_ = false;
};

inline Setting made_up_setting(const std::string& model = "april-70m",
                               const std::string& text = "wiki") {
  Setting setting;
  setting.model_path = "/models/" + model;
  setting.model_name = model;
  setting.model_sha256 = fmt::format("{:064x}", std::hash<std::string>{}(model));
  setting.family = "raven";
  setting.axis = "recurrences";
  setting.text_name = text;
  setting.text_sha256 = fmt::format("{:064x}", std::hash<std::string>{}(text));
  setting.window = 256;
  setting.stride = 128;
  setting.state = "like-init";
  return setting;
}

// Writes points and trajectories into one file.
class MadeUpSweep {
 public:
  explicit MadeUpSweep(const std::filesystem::path& path)
      : path_(path), writer_(must(RunWriter::open(path, {}))) {
    new_run();
  }
  RunWriter& writer() { return writer_; }
  int64_t run_id() const { return run_id_; }
  void new_run() {
    RunRecord run;
    run.verb = "sweep", run.binary_version = "test", run.host_name = "here", run.cpu_model = "some";
    run_id_ = must(writer_.begin_run(run));
  }

  // A pending point.
  int64_t plan(const Setting& setting, std::optional<int64_t> num_steps) {
    PointRecord point;
    point.key_hash = fmt::format("{:064x}", ++next_key_);
    point.run_id = run_id_;
    point.setting = setting;
    point.num_steps = num_steps;
    point.planned_chunks = 2;
    return must(writer_.upsert_point(point)).id;
  }

  // A finished point of 2 chunks with 512 tokens and 2048 bytes each, whose mean loss is `nats`.
  // `interval`: half the width of the interval of the loss; 0: none.
  int64_t finish(const Setting& setting, std::optional<int64_t> num_steps, double nats,
                 double interval = 0.05, double mean_steps = 0, int64_t n_bytes = 2048) {
    const int64_t id = plan(setting, num_steps);
    must(writer_.claim_points({id}, {}));
    for (int64_t chunk = 0; chunk < 2; ++chunk) {
      ChunkBatch batch{.run_id = run_id_, .chunk_index = chunk, .first_token = chunk * 512};
      PointChunk part{.point_id = id, .n_tokens = 512, .n_bytes = n_bytes};
      part.nll_sum_nats = 512 * (nats + (chunk % 2 == 0 ? 0.1 : -0.1));
      batch.points.push_back(part);
      must(writer_.write_chunk(batch));
    }
    PointSummary summary;
    if (interval > 0) {
      summary.ci_low = std::exp(nats - interval), summary.ci_high = std::exp(nats + interval);
      summary.ci_method = "bootstrap over windows", summary.n_resamples = 1000;
    }
    if (mean_steps > 0) summary.mean_steps = mean_steps;
    must(writer_.finish_point(id, summary));
    return id;
  }

  // Steps 1..max_steps of n_tokens positions, `stride` positions apart, from `scalars(pos, step)`;
  // `ponder`: where a model of its own halting stopped.
  template <class Scalars>
  int64_t record(const Setting& setting, int32_t max_steps, int64_t n_tokens, Scalars&& scalars,
                 int64_t stride = 1, std::vector<PonderRow> ponder = {}) {
    TrajectoryRecord trajectory;
    trajectory.key_hash = fmt::format("{:064x}", ++next_key_);
    trajectory.run_id = run_id_;
    trajectory.setting = setting;
    trajectory.max_steps = max_steps;
    trajectory.planned_chunks = 1;
    const int64_t id = must(writer_.upsert_trajectory(trajectory)).id;
    TrajectoryChunk chunk{.trajectory_id = id};
    chunk.ponder = std::move(ponder);
    for (int64_t i = 0; i < n_tokens; ++i)
      for (int32_t step = 1; step <= max_steps; ++step) {
        StepRecord row = scalars(i * stride, step);
        row.pos = i * stride, row.step = step;
        chunk.steps.push_back(row);
      }
    must(writer_.write_chunk({.run_id = run_id_, .trajectories = {chunk}}));
    return id;
  }

 private:
  std::filesystem::path path_;
  RunWriter writer_;
  int64_t run_id_ = 0, next_key_ = 0;
};

// A token that converges geometrically at a rate of its own.
inline StepRecord converging(int64_t pos, int32_t step, double slowness = 1) {
  const DrawKey key{
      .seed = 5, .stream = RngStream::kSubsample, .position = static_cast<uint32_t>(pos)};
  const double rate = 0.35 / slowness + 0.1 * standard_normal(key, 0);
  const double hard = std::exp(0.6 * standard_normal(key, 1));
  StepRecord row;
  row.state_norm = 20;
  row.delta_norm = static_cast<float>(20 * hard * std::exp(-rate * (step - 1)) + 2e-4);
  row.kl_prev = static_cast<float>(2 * hard * hard * std::exp(-2 * rate * (step - 1)));
  row.entropy = static_cast<float>(1.5 * hard + 4 * std::exp(-rate * (step - 1)));
  return row;
}

}  // namespace plumb
