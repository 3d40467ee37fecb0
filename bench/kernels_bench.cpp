// What the kernels reach on their own. Run on an idle machine; compare lines of one run only.
#include <benchmark/benchmark.h>

#include <filesystem>

#include "bench/random_matrix.h"
#include "core/decode/think.h"
#include "core/exit/row_history.h"
#include "core/kernels/attend.h"
#include "core/kernels/attend_bf16.h"
#include "core/kernels/distribution.h"
#include "core/kernels/elementwise.h"
#include "core/kernels/gated_bf16.h"
#include "core/kernels/matmul.h"
#include "core/kernels/matmul_bf16.h"
#include "core/model/families.h"
#include "core/record/provenance.h"
#include "core/store/run_writer.h"

namespace plumb {
namespace {

// rows x 512 times [2816, 512]: the feed-forward of a 512-wide core.
void BM_Matmul(benchmark::State& state, WeightType type) {
  const auto rows = static_cast<size_t>(state.range(0)),
             threads = static_cast<size_t>(state.range(1));
  const size_t n_in = 512, n_out = 2816;
  Team team(static_cast<int>(threads));
  const PackedMatrix w = random_matrix(type, n_out, n_in);
  Mat<float> x(rows, n_in), y(rows, n_out);
  x.fill(0.5F);
  for (auto _ : state) matmul(team, x, w, y);
  const double flop = 2.0 * static_cast<double>(rows * n_in * n_out);
  state.counters["GFLOP/s"] =
      benchmark::Counter(flop * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["weights GB/s"] = benchmark::Counter(
      static_cast<double>(w.bytes()) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
// The same with inputs rounded to bf16, by each unit that this machine has.
void BM_MatmulBf16(benchmark::State& state, Bf16Unit unit) {
  if (!available(unit)) return state.SkipWithError("this machine has no such unit");
  const auto rows = static_cast<size_t>(state.range(0)),
             threads = static_cast<size_t>(state.range(1));
  const size_t n_in = 512, n_out = 2816;
  Team team(static_cast<int>(threads));
  const PackedMatrix w = random_matrix(WeightType::kBF16, n_out, n_in);
  Mat<float> x(rows, n_in), y(rows, n_out);
  x.fill(0.5F);
  for (auto _ : state) matmul_bf16(team, x, w, y, MatmulMode::kReplace, unit);
  const double flop = 2.0 * static_cast<double>(rows * n_in * n_out);
  state.counters["GFLOP/s"] =
      benchmark::Counter(flop * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(BM_MatmulBf16, widen, Bf16Unit::kWiden)
    ->ArgsProduct({{1, 4, 16, 512}, {1, 2}})
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_MatmulBf16, dots, Bf16Unit::kDots)
    ->ArgsProduct({{1, 4, 16, 512}, {1, 2}})
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_MatmulBf16, tiles, Bf16Unit::kTiles)
    ->ArgsProduct({{1, 4, 16, 512}, {1, 2}})
    ->UseRealTime();

// A gated feed-forward of the same width in one piece, and the products alone as operations.
void BM_GatedBf16(benchmark::State& state) {
  const size_t rows = 512, n_in = 512, ff_dim = 1408;
  Team team(static_cast<int>(state.range(0)));
  const PackedMatrix gate_up = random_matrix(WeightType::kBF16, 2 * ff_dim, n_in),
                     down = random_matrix(WeightType::kBF16, n_in, ff_dim);
  if (!can_gate_bf16(rows, gate_up)) return state.SkipWithError("this machine has no unit");
  Mat<float> x(rows, n_in), y(rows, n_in);
  x.fill(0.5F);
  for (auto _ : state) gated_bf16(team, x, gate_up, down, y);
  state.counters["GFLOP/s"] = benchmark::Counter(6e-9 * static_cast<double>(rows * n_in * ff_dim),
                                                 benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_GatedBf16)->Arg(1)->Arg(2)->UseRealTime();

BENCHMARK_CAPTURE(BM_Matmul, f32, WeightType::kF32)
    ->ArgsProduct({{1, 8, 512}, {1, 2}})
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_Matmul, bf16, WeightType::kBF16)
    ->ArgsProduct({{1, 8, 512}, {1, 2}})
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_Matmul, int8, WeightType::kI8)
    ->ArgsProduct({{1, 8, 512}, {1, 2}})
    ->UseRealTime();

void attend_rounded(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs) {
  attend_bf16(team, shape, jobs);
}
void BM_Attend(benchmark::State& state, decltype(attend)* how) {
  const auto rows = static_cast<size_t>(state.range(0)),
             before = static_cast<size_t>(state.range(1));
  const AttentionShape shape{8, 4, 64, 0.125F};
  const size_t n = rows + before;
  Mat<float> keys((n + 15) / 16, 256 * 16), values(n, 256), q(rows, 512), out(rows, 512);
  q.fill(0.1F), keys.fill(0.2F), values.fill(0.3F);
  Team team(1);
  const AttentionJob job{q, out, {keys.data(), values.data(), 256, 256}, before, 0};
  for (auto _ : state) how(team, shape, {&job, 1});
}
BENCHMARK_CAPTURE(BM_Attend, f32, attend)->Args({512, 0})->Args({1, 1000})->Args({1, 100});
BENCHMARK_CAPTURE(BM_Attend, bf16, attend_rounded)->Args({512, 0})->Args({16, 1000});

void BM_RmsNorm(benchmark::State& state) {
  Mat<float> x(64, 512), y(64, 512);
  const std::vector<float> weight(512, 1.0F);
  x.fill(0.5F);
  for (auto _ : state) rms_norm(x, weight, 1e-5F, y);
}
BENCHMARK(BM_RmsNorm);

void BM_Distribution(benchmark::State& state) {
  Mat<float> logits(1, 32003), shifted(1, 32003);
  for (auto _ : state)
    benchmark::DoNotOptimize(
        read_distribution({logits.data(), 32003}, {shifted.data(), 32003}).entropy);
}
BENCHMARK(BM_Distribution);

// One recurrence of pocket-raven: rows of one sequence, no cache.
void BM_Recurrence(benchmark::State& state, Precision precision) {
  const auto rows = static_cast<size_t>(state.range(0));
  Team team(static_cast<int>(state.range(1)));
  const auto checkpoint = Checkpoint::open(PLUMB_SOURCE_DIR "/experiments/models/pocket-raven");
  const auto model = load_model(checkpoint.value(), precision, team);
  const auto states = StateSource::make({}, model.value()->info(), StateSource::FileRows::kCall);
  std::vector<int32_t> ids(rows, 5);
  DepthPass pass(*model.value(), team);
  if (!pass.begin({ids, {{.n_rows = rows}}}, states.value()).ok())
    return state.SkipWithError("begin failed");
  for (auto _ : state)
    if (!pass.advance().ok()) return state.SkipWithError("a recurrence failed");
}
BENCHMARK_CAPTURE(BM_Recurrence, f32, Precision::kF32)
    ->ArgsProduct({{1, 16, 256}, {1, 2}})
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_Recurrence, bf16, Precision::kBF16)
    ->ArgsProduct({{1, 16, 256}, {1, 2}})
    ->UseRealTime();

// Every scalar of one step of one token, logits of April's size.
void BM_StepScalars(benchmark::State& state) {
  std::vector<float> latent(512), logits(32003);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(i * 7919 % 1000) / 100.0F;
  RowHistory history({}, latent);
  StepScratch scratch;
  StepInput input{.state = latent, .logits = logits, .target = 17};
  for (auto _ : state) {
    ++input.step;
    benchmark::DoNotOptimize(history.next(input, scratch, {}).entropy);
  }
}
BENCHMARK(BM_StepScalars);

// One chunk of a recording: 256 tokens x 32 steps, and with range 1 a latent of 512 halves each.
void BM_WriteChunk(benchmark::State& state) {
  const auto folder = std::filesystem::temp_directory_path() / "plumb_bench_store";
  std::filesystem::create_directories(folder);
  int64_t index = 0;
  {
    auto writer = RunWriter::open(folder / "store.db", {});
    const auto run = writer.value().begin_run(describe_run("bench", "", {}, 1, "{}"));
    TrajectoryRecord trajectory{.run_id = run.value(), .max_steps = 32, .planned_chunks = 1};
    trajectory.key_hash = trajectory_key_hash(trajectory);
    const auto added = writer.value().upsert_trajectory(trajectory);
    ChunkBatch batch{.run_id = run.value()};
    batch.trajectories.push_back({.trajectory_id = added.value().id});
    TrajectoryChunk& chunk = batch.trajectories[0];
    for (int64_t pos = 0; pos < 256; ++pos)
      for (int32_t step = 1; step <= 32; ++step) {
        chunk.steps.push_back({.pos = pos, .step = step, .nll = 2.5F, .entropy = 3.5F});
        if (state.range(0) == 1)
          chunk.latents.push_back({.pos = pos,
                                   .step = step,
                                   .dtype = "F16",
                                   .shape = {512},
                                   .data = std::vector<std::byte>(1024)});
      }
    for (auto _ : state) {
      state.PauseTiming();
      batch.chunk_index = index++;
      for (StepRecord& row : chunk.steps) row.pos += 256;
      for (LatentRow& row : chunk.latents) row.pos += 256;
      state.ResumeTiming();
      if (!writer.value().write_chunk(batch).ok())
        return state.SkipWithError("a chunk was not written");
    }
    state.counters["rows/s"] = benchmark::Counter(static_cast<double>(chunk.steps.size()),
                                                  benchmark::Counter::kIsIterationInvariantRate);
  }
  std::filesystem::remove_all(folder);
}
BENCHMARK(BM_WriteChunk)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace plumb
