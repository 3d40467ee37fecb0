// What the kernels reach on their own. Run on an idle machine; compare lines of one run only.
#include <benchmark/benchmark.h>

#include "core/kernels/attend.h"
#include "core/kernels/distribution.h"
#include "core/kernels/elementwise.h"
#include "core/kernels/matmul.h"
#include "core/kernels/matmul_bf16.h"

namespace plumb {
namespace {

PackedMatrix random_matrix(WeightType type, size_t n_out, size_t n_in) {
  PackedMatrix w(type, n_out, n_in);
  std::vector<float> row(n_in);
  for (size_t r = 0; r < n_out; ++r) {
    for (size_t c = 0; c < n_in; ++c) row[c] = static_cast<float>((r * 31 + c * 17) % 101) / 50.0F - 1.0F;
    w.set_row(r, row);
  }
  return w;
}

// rows x 512 times [2816, 512]: the feed-forward of a 512-wide core.
void BM_Matmul(benchmark::State& state, WeightType type) {
  const auto rows = static_cast<size_t>(state.range(0)), threads = static_cast<size_t>(state.range(1));
  const size_t n_in = 512, n_out = 2816;
  Team team(static_cast<int>(threads));
  const PackedMatrix w = random_matrix(type, n_out, n_in);
  Mat<float> x(rows, n_in), y(rows, n_out);
  x.fill(0.5F);
  for (auto _ : state) matmul(team, x, w, y);
  const double flop = 2.0 * static_cast<double>(rows * n_in * n_out);
  state.counters["GFLOP/s"] = benchmark::Counter(flop * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["weights GB/s"] = benchmark::Counter(static_cast<double>(w.bytes()) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
// The same with inputs rounded to bf16, by each unit that this machine has.
void BM_MatmulBf16(benchmark::State& state, Bf16Unit unit) {
  if (!available(unit)) return state.SkipWithError("this machine has no such unit");
  const auto rows = static_cast<size_t>(state.range(0)), threads = static_cast<size_t>(state.range(1));
  const size_t n_in = 512, n_out = 2816;
  Team team(static_cast<int>(threads));
  const PackedMatrix w = random_matrix(WeightType::kBF16, n_out, n_in);
  Mat<float> x(rows, n_in), y(rows, n_out);
  x.fill(0.5F);
  for (auto _ : state) matmul_bf16(team, x, w, y, MatmulMode::kReplace, unit);
  const double flop = 2.0 * static_cast<double>(rows * n_in * n_out);
  state.counters["GFLOP/s"] = benchmark::Counter(flop * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK_CAPTURE(BM_MatmulBf16, widen, Bf16Unit::kWiden)->ArgsProduct({{1, 4, 16, 512}, {1, 2}})->UseRealTime();
BENCHMARK_CAPTURE(BM_MatmulBf16, dots, Bf16Unit::kDots)->ArgsProduct({{1, 4, 16, 512}, {1, 2}})->UseRealTime();
BENCHMARK_CAPTURE(BM_MatmulBf16, tiles, Bf16Unit::kTiles)->ArgsProduct({{1, 4, 16, 512}, {1, 2}})->UseRealTime();

BENCHMARK_CAPTURE(BM_Matmul, f32, WeightType::kF32)->ArgsProduct({{1, 8, 512}, {1, 2}})->UseRealTime();
BENCHMARK_CAPTURE(BM_Matmul, bf16, WeightType::kBF16)->ArgsProduct({{1, 8, 512}, {1, 2}})->UseRealTime();
BENCHMARK_CAPTURE(BM_Matmul, int8, WeightType::kI8)->ArgsProduct({{1, 8, 512}, {1, 2}})->UseRealTime();

void BM_Attend(benchmark::State& state) {
  const auto rows = static_cast<size_t>(state.range(0)), before = static_cast<size_t>(state.range(1));
  const AttentionShape shape{8, 4, 64, 0.125F};
  const size_t n = rows + before;
  Mat<float> keys((n + 15) / 16, 256 * 16), values(n, 256), q(rows, 512), out(rows, 512);
  q.fill(0.1F), keys.fill(0.2F), values.fill(0.3F);
  Team team(1);
  const AttentionJob job{q, out, {keys.data(), values.data(), 256, 256}, before, 0};
  for (auto _ : state) attend(team, shape, {&job, 1});
}
BENCHMARK(BM_Attend)->Args({512, 0})->Args({1, 1000})->Args({1, 100});

void BM_RmsNorm(benchmark::State& state) {
  Mat<float> x(64, 512), y(64, 512);
  const std::vector<float> weight(512, 1.0F);
  x.fill(0.5F);
  for (auto _ : state) rms_norm(x, weight, 1e-5F, y);
}
BENCHMARK(BM_RmsNorm);

void BM_Distribution(benchmark::State& state) {
  Mat<float> logits(1, 32003), shifted(1, 32003);
  for (auto _ : state) benchmark::DoNotOptimize(read_distribution({logits.data(), 32003}, {shifted.data(), 32003}).entropy);
}
BENCHMARK(BM_Distribution);

}  // namespace
}  // namespace plumb
