// RunReader: typed questions to a results file. Reads only; several readers and a writer may have
// the file open at once, and each call sees one consistent snapshot.
//
//   PLUMB_ASSIGN(RunReader reader, RunReader::open("out.db"));
//   PLUMB_ASSIGN(std::vector<RunInfo> runs, reader.runs());
//   PLUMB_ASSIGN(StepTable table, reader.read_steps(trajectory_id, {.columns =
//   {StepColumn::kKlPrev}})); std::span<const float> kl = table.column(StepColumn::kKlPrev);
//
// Errors: kInput when the file is missing, is no results file or has another schema version.
// One thread at a time; movable.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/store/records.h"

namespace plumb {

struct RunInfo {
  int64_t id = 0;
  std::string uid, created_utc, finished_utc;  // finished_utc "" while it runs
  RunStatus status = RunStatus::kRunning;
  RunRecord record;
  // Over the points that this run asked for, whoever computed them.
  int64_t points = 0, points_done = 0, points_running = 0, points_failed = 0;
};

struct PointInfo {
  int64_t id = 0;
  PointRecord record;
  PointStatus status = PointStatus::kPending;
  int64_t attempt = 0;
  std::string heartbeat_utc, worker_host, error;  // "" when none
  int64_t chunks_done = 0, tokens_done = 0;
  double nll_sum_nats = 0, elapsed_ms = 0;
};

struct TrajectoryInfo {
  int64_t id = 0;
  TrajectoryRecord record;
  int64_t chunks_done = 0, step_rows = 0;
  bool complete() const { return chunks_done >= record.planned_chunks; }
};

struct ChunkInfo {
  int64_t chunk_index = 0, first_token = 0, n_tokens = 0, n_bytes = 0;
  double nll_sum_nats = 0, elapsed_ms = 0;
};

struct LatentInfo {
  int64_t pos = 0;
  int32_t step = 0;
  std::string kind, dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
};

// A row of the view depth_perplexity: one finished point.
struct DepthPerplexityRow {
  int64_t run = 0;
  std::string model, text;
  std::optional<int64_t> num_steps;
  std::string cache, rule, dtype;
  int64_t seed = 0, tokens = 0;
  double nats_per_token = 0, perplexity = 0;
  std::optional<double> bits_per_byte, ci_low, ci_high;
  int64_t point = 0;
  std::optional<double> mean_steps;
  std::optional<double> ci_level;  // confidence of ci_low to ci_high, 0 to 1
  std::string ci_method;           // "" without an interval
};

// A row of the view strategies.
struct StrategyRow {
  int64_t point = 0;
  std::string model, text;
  std::optional<int64_t> num_steps;
  std::string cache, cache_index, rule, dtype;
  int64_t tokens = 0;
  double perplexity = 0;
  std::optional<double> mean_steps, kv_bytes_per_token, tokens_per_second;
};

// A row of the view exit_histogram.
struct ExitHistogramRow {
  int64_t point = 0;
  std::string rule, text;
  int64_t step = 0, tokens = 0;
};

// Timings summed over chunks.
struct TimingInfo {
  int64_t run_id = 0;
  std::optional<int64_t> point_id;
  std::string stage;
  double elapsed_ms = 0;
  int64_t calls = 0;
};

// The measured columns of `steps`. Integers are exact as float up to 2^24.
enum class StepColumn {
  kNll,
  kEntropy,
  kTop1Id,
  kP1,
  kP2,
  kTargetRank,
  kStateNorm,
  kDeltaNorm,
  kAccelNorm,
  kCos,
  kKlPrev,
  kMinpKl,
  kKlFinal,
  kGate,
  kStability,
};
inline constexpr int kStepColumns = 15;
std::string_view step_column_name(StepColumn column);
std::optional<StepColumn> parse_step_column(std::string_view name);

// The columns of `step_lags`.
enum class LagColumn { kLatentDiff, kCos, kKl, kMinpKl, kEntropyDiff };
inline constexpr int kLagColumns = 5;
std::string_view lag_column_name(LagColumn column);

struct StepQuery {
  std::vector<StepColumn> columns;  // only these are read
  std::optional<int32_t> step;      // only this step
  int64_t first_pos = 0;
  int64_t end_pos = std::numeric_limits<int64_t>::max();  // exclusive
};

// Rows in the order (pos, step), a contiguous float column each. NULL is NaN.
struct StepTable {
  std::vector<int64_t> pos;
  std::vector<int32_t> step;
  std::vector<StepColumn> columns;
  std::vector<std::vector<float>> values;  // values[i] belongs to columns[i]

  size_t n_rows() const { return pos.size(); }
  // REQUIRES that the column was asked for.
  std::span<const float> column(StepColumn wanted) const;
};

// Rows in the order (pos, step) of one lag.
struct LagTable {
  std::vector<int64_t> pos;
  std::vector<int32_t> step;
  std::vector<float> values[kLagColumns];

  size_t n_rows() const { return pos.size(); }
  std::span<const float> column(LagColumn c) const { return values[static_cast<size_t>(c)]; }
};

// Rows in the order of pos.
struct TokenTable {
  std::vector<int64_t> pos;
  std::vector<int64_t> chunk_index;
  std::vector<int32_t> token_id, target_id, exit_step;
  std::vector<double> nll_nats;
  std::vector<uint16_t> exit_reason;  // index into reason_names
  std::vector<std::string> reason_names;

  size_t n_rows() const { return pos.size(); }
};

struct PointFilter {
  std::optional<int64_t> run_id;  // points that this run asked for
  std::optional<PointStatus> status;
};

class RunReader {
 public:
  static Result<RunReader> open(const std::filesystem::path& path);
  RunReader(RunReader&&) noexcept;
  RunReader& operator=(RunReader&&) noexcept;
  ~RunReader();

  Result<std::vector<RunInfo>> runs();  // oldest first
  Result<std::vector<PointInfo>> points(const PointFilter& filter = {});
  Result<PointInfo> point(int64_t point_id);  // an error when there is none
  Result<std::vector<TrajectoryInfo>> trajectories();
  Result<std::vector<ChunkInfo>> chunks(int64_t point_id);  // ascending
  Result<std::vector<DepthPerplexityRow>> depth_perplexity();
  Result<std::vector<StrategyRow>> strategies();
  // What the model of this hash costs; nullopt when the file does not say.
  Result<std::optional<ModelRecord>> model_cost(const std::string& model_sha256);
  Result<std::vector<ExitHistogramRow>> exit_histogram(std::optional<int64_t> point_id = {});
  Result<std::vector<TimingInfo>> timings(std::optional<int64_t> run_id = {});

  Result<TokenTable> read_tokens(int64_t point_id);
  Result<StepTable> read_steps(int64_t trajectory_id, const StepQuery& query);
  Result<LagTable> read_lags(int64_t trajectory_id, int32_t lag);
  Result<std::vector<HaltingRow>> read_halting(int64_t trajectory_id);
  Result<std::vector<PonderRow>> read_ponder(int64_t trajectory_id);
  // Positions [first_pos, end_pos) of one step, or of all.
  Result<std::vector<LatentInfo>> read_latents(int64_t trajectory_id, const StepQuery& query);

  const std::filesystem::path& path() const;

 private:
  struct Impl;
  explicit RunReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace plumb
