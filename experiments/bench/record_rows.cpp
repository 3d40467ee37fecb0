#include <algorithm>

#include "core/decode/segments.h"
#include "core/record/provenance.h"
#include "core/store/run_writer.h"
#include "experiments/bench/model_bench.h"
#include "experiments/chunk_rows.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;

// One recording as the sweep's runner makes it, a window a chunk.
class Recording {
 public:
  Recording(const ModelBench& bench, RunWriter writer, StateSource states)
      : bench_(&bench),
        writer_(std::move(writer)),
        states_(std::move(states)),
        pass_(bench.model(), bench.team()) {
    request_.depths = {bench.steps()};
    request_.record_steps = true;
  }

  Status begin(size_t n_chunks, size_t window) {
    window_ = window;
    const size_t n = n_chunks * window + 1;
    text_.name = "random ids";
    text_.sha256 = sha256_of_text("random ids");
    text_.ids = bench_->ids(n, 3);
    text_.bytes.assign(n, 1);
    RunRecord run = describe_run("bench", "", {}, bench_->team().size(), "{}");
    PLUMB_ASSIGN(run_id_, writer_.begin_run(run));
    Setting setting;
    setting.model_path = setting.model_name = "bench";
    setting.model_sha256 = sha256_of_text("bench");
    setting.family = bench_->info().family;
    setting.axis = bench_->info().axis;
    setting.text_name = text_.name;
    setting.text_sha256 = text_.sha256;
    setting.window = setting.stride = static_cast<int64_t>(window);
    setting.dtype = precision_name(bench_->precision());
    const auto chunks = static_cast<int64_t>(n_chunks);
    TrajectoryRecord trajectory{.run_id = run_id_,
                                .setting = setting,
                                .max_steps = bench_->steps(),
                                .planned_chunks = chunks};
    trajectory.key_hash = trajectory_key_hash(trajectory);
    PLUMB_ASSIGN(const UpsertedTrajectory upserted, writer_.upsert_trajectory(trajectory));
    trajectory_id_ = upserted.id;
    PointRecord point{.run_id = run_id_,
                      .trajectory_id = trajectory_id_,
                      .setting = setting,
                      .num_steps = bench_->steps(),
                      .record = "steps",
                      .planned_tokens = chunks * static_cast<int64_t>(window),
                      .planned_chunks = chunks};
    point.key_hash = point_key_hash(point);
    PLUMB_ASSIGN(const UpsertedPoint added, writer_.upsert_point(point));
    point_id_ = added.id;
    PLUMB_ASSIGN(const auto mine, writer_.claim_points({point_id_}, {}));
    PLUMB_CHECK(mine.size() == 1);
    return ok_status();
  }

  // One chunk: computed, made into rows, written.
  Status chunk(size_t index) {
    const auto began = Clock::now();
    const ScoreWindow window{index * window_, window_, 0};
    const std::span<const int32_t> tokens(text_.ids.data() + window.first_token, window_ + 1);
    PLUMB_ASSIGN(const WindowScore score,
                 score_segments(pass_, states_, bench_->team(), tokens, window, request_, 0));
    const auto store_began = Clock::now();
    ChunkSource source{text_, window, score, request_};
    ChunkBatch batch{.run_id = run_id_,
                     .chunk_index = static_cast<int64_t>(index),
                     .first_token = static_cast<int64_t>(window.first_token)};
    batch.points.push_back(point_chunk(source, point_id_, bench_->steps()));
    batch.trajectories.push_back(trajectory_chunk(source, trajectory_id_));
    for (const StageTime& stage : score.timings)
      if (stage.calls > 0)
        batch.timings.push_back(
            {.stage = stage.stage, .elapsed_ms = stage.elapsed_ms, .calls = stage.calls});
    PLUMB_ASSIGN(const ChunkOutcome written, writer_.write_chunk(batch));
    rows_ += written.step_rows;
    store_ms_.push_back(ms_since(store_began));
    total_ms_.push_back(ms_since(began));
    for (const StageTime& stage : score.timings) stage_ms_[stage.stage].push_back(stage.elapsed_ms);
    return ok_status();
  }

  std::vector<double> store_ms_, total_ms_;
  std::map<std::string, std::vector<double>> stage_ms_;
  int64_t rows_ = 0;

 private:
  const ModelBench* bench_;
  RunWriter writer_;
  StateSource states_;
  DepthPass pass_;
  ScoreRequest request_;
  TokenizedText text_;
  size_t window_ = 0;
  int64_t run_id_ = 0, trajectory_id_ = 0, point_id_ = 0;
};

}  // namespace

BenchRows record_rows(const ModelBench& bench, const std::filesystem::path& directory) {
  const std::filesystem::path db =
      directory / fmt::format("record_{}.db", precision_name(bench.precision()));
  PLUMB_ASSIGN(RunWriter writer, RunWriter::open(db, {}));
  PLUMB_ASSIGN(StateSource states, bench.states());
  Recording recording(bench, std::move(writer), std::move(states));
  const auto window = static_cast<size_t>(std::min(256, bench.n_tokens()));
  const auto n_chunks = static_cast<size_t>(bench.options().repeat.runs) + 1;
  PLUMB_RETURN_IF_ERROR(recording.begin(n_chunks, window));
  const auto began = Clock::now();
  for (size_t i = 0;
       i < n_chunks && (i < 2 || ms_since(began) < bench.options().repeat.budget_s * 2e3); ++i)
    PLUMB_RETURN_IF_ERROR(recording.chunk(i));
  std::vector<double> shares;
  for (size_t i = 0; i < recording.total_ms_.size(); ++i)
    shares.push_back(recording.store_ms_[i] / recording.total_ms_[i]);
  const Measured runs{0, static_cast<int>(shares.size()) - 1};  // the first warms up
  const double total = median_beside(runs, recording.total_ms_).value,
               per_row_us = 1e3 / static_cast<double>(window) / bench.steps();
  const Measured store = median_beside(runs, recording.store_ms_);
  std::vector<BenchRow> rows = {
      bench.row("store_share", median_beside(runs, shares), "share"),
      bench.row("store_us_per_step_row", {store.value * per_row_us, store.runs}, "us")};
  const auto add_stage = [&](const std::string& stage, const Measured& ms) {
    BenchRow row = bench.row(("record_" + stage).c_str(), ms, "ms");
    row.ceiling = total;
    row.of = fmt::format("a recorded window of {} tokens", window);
    rows.push_back(row);
  };
  for (const char* stage : {"prelude", "core", "readout", "scalars"})
    add_stage(stage, median_beside(runs, recording.stage_ms_[stage]));
  add_stage("store", store);
  return rows;
}

}  // namespace plumb
