#include <algorithm>
#include <memory>

#include "core/cache/kv_storage.h"
#include "core/decode/generate.h"
#include "core/exit/step_scalars.h"
#include "experiments/bench/decode_loop.h"
#include "experiments/bench/model_bench.h"

namespace plumb {
namespace {

BenchRow traffic(const ModelBench& bench, const char* name, double bytes, const Measured& ms,
                 const Level& level) {
  BenchRow row = bench.row(name, {bytes / ms.value * 1e-6, ms.runs}, "GB/s");
  row.ceiling = level.gbs;
  row.of = level.name;
  return row;
}

// Greedy generation as `plumb generate` runs it: what the machinery around the model adds.
Result<double> generate_ms(const ModelBench& bench) {
  GenerateRequest request;
  request.prompts = {bench.ids(static_cast<size_t>(bench.options().context), 0)};
  request.max_new_tokens = bench.options().decoded + 1;
  request.num_steps = bench.steps();
  PLUMB_ASSIGN(const auto made, generate(bench.model(), bench.team(), request));
  const GenerateStats& stats = made.front().stats;
  return (stats.elapsed_ms - stats.prefill_ms) / bench.options().decoded;
}

// Keys and values: bytes a token holds, and how fast a long context is read. The time of a token
// over `context` tokens less that over none is the reading.
Status kv_rows(const ModelBench& bench, std::vector<BenchRow>& rows) {
  PLUMB_ASSIGN(DecodeLoop near, DecodeLoop::make(bench, 1, bench.options().context, bench.steps()));
  const double per_token = near.kv_bytes_per_token();
  rows.push_back(bench.row("kv_bytes_per_token", {per_token, 1}, "bytes"));
  if (bench.info().distinct_blocks || bench.info().segments) return ok_status();
  constexpr double kMostBytes = 1e9;  // of context held
  int context = static_cast<int>(std::min(1024.0, kMostBytes / std::max(per_token, 1.0)));
  if (bench.info().max_positions > 0)
    context = std::min(context, bench.info().max_positions - 2 * bench.options().decoded);
  if (context < 4 * bench.options().context) return ok_status();
  PLUMB_ASSIGN(DecodeLoop far, DecodeLoop::make(bench, 1, context, bench.steps()));
  const auto token_ms = [&](DecodeLoop& loop) {
    return [&]() -> Result<double> {
      PLUMB_ASSIGN(const TokenTimes times, loop.token());
      return times.total();
    };
  };
  const Repeat repeat{bench.options().decoded, bench.options().repeat.budget_s};
  PLUMB_ASSIGN(const Measured near_ms, median_of(repeat, token_ms(near)));
  PLUMB_ASSIGN(const Measured far_ms, median_of(repeat, token_ms(far)));
  const double bytes = per_token * (context - bench.options().context);
  rows.push_back(bench.row("kv_traffic_per_token", {per_token * context, 1}, "bytes"));
  rows.push_back(bench.row("decode_ms_at_long_context", far_ms, "ms"));
  const double reading_ms = far_ms.value - near_ms.value;
  if (reading_ms > 0)
    rows.push_back(traffic(
        bench, "kv_read", bytes, {reading_ms, far_ms.runs},
        {"kv_set_gbs", measure_read_bandwidth(bench.team(), static_cast<size_t>(bytes)).all}));
  return ok_status();
}

}  // namespace

BenchRows decode_rows(const ModelBench& bench) {
  PLUMB_ASSIGN(DecodeLoop loop, DecodeLoop::make(bench, 1, bench.options().context, bench.steps()));
  std::vector<double> core, readout, total;
  PLUMB_RETURN_IF_ERROR(loop.token());  // warms up
  const int wanted = bench.options().decoded * bench.options().repeat.runs;
  const auto began = std::chrono::steady_clock::now();
  while (static_cast<int>(total.size()) < wanted &&
         (total.empty() || ms_since(began) < bench.options().repeat.budget_s * 1e3)) {
    if (loop.context() >= 2 * bench.options().context) {
      PLUMB_RETURN_IF_ERROR(loop.restart());
    }
    PLUMB_ASSIGN(const TokenTimes times, loop.token());
    core.push_back(times.core);
    readout.push_back(times.readout);
    total.push_back(times.total());
  }
  const ModelCost& cost = bench.cost();
  const double core_bytes = cost.bytes(cost.core, bench.precision());
  const Measured core_ms = median(core), readout_ms = median(readout);
  const Level level = level_for(bench.machine(), core_bytes);
  std::vector<BenchRow> rows = {
      traffic(bench, "decode_core", core_bytes * bench.steps(), core_ms, level)};
  const Ceiling at_size = measure_read_bandwidth(bench.team(), static_cast<size_t>(core_bytes));
  rows.push_back(traffic(bench, "decode_core_of_set", core_bytes * bench.steps(), core_ms,
                         {"core_set_gbs", at_size.all}));
  rows.push_back(bench.row("recurrence_ms", {core_ms.value / bench.steps(), core_ms.runs}, "ms"));
  const double readout_bytes =
      cost.bytes(cost.coda, bench.precision()) + cost.bytes(cost.head, bench.precision());
  rows.push_back(traffic(bench, "readout", readout_bytes, readout_ms,
                         level_for(bench.machine(), readout_bytes)));
  rows.push_back(bench.row("readout_ms", readout_ms, "ms"));
  rows.push_back(bench.row("decode_ms_per_token", median(total), "ms"));
  PLUMB_ASSIGN(const Measured generated,
               median_of(bench.options().repeat, [&] { return generate_ms(bench); }));
  rows.push_back(bench.row("generate_ms_per_token", generated, "ms"));
  PLUMB_RETURN_IF_ERROR(kv_rows(bench, rows));
  return rows;
}

BenchRows stage_rows(const ModelBench& bench, double store_ms_per_token) {
  PLUMB_ASSIGN(DecodeLoop loop, DecodeLoop::make(bench, 1, bench.options().context, bench.steps()));
  std::vector<double> stages[kStages];
  std::vector<double> totals;
  PLUMB_RETURN_IF_ERROR(loop.checked_token());
  const auto began = std::chrono::steady_clock::now();
  while (static_cast<int>(totals.size()) < bench.options().decoded &&
         (totals.empty() || ms_since(began) < bench.options().repeat.budget_s * 1e3)) {
    PLUMB_ASSIGN(const StageTimes times, loop.checked_token());
    for (size_t s = 0; s < kStages; ++s) stages[s].push_back(times.ms[s]);
    totals.push_back(times.total());
  }
  const double total = median(totals).value + store_ms_per_token;
  std::vector<BenchRow> rows;
  const auto add = [&](const char* stage, const Measured& ms) {
    BenchRow row = bench.row(fmt::format("stage_{}", stage).c_str(), ms, "ms");
    row.ceiling = total;
    row.of = "a recorded token";
    rows.push_back(row);
  };
  for (size_t s = 0; s < kStages; ++s) add(kStageNames[s], median(stages[s]));
  add("store", {store_ms_per_token, 1});
  return rows;
}

}  // namespace plumb
