#include "experiments/bench/model_bench.h"

#include <algorithm>

#include "core/base/rng.h"

namespace plumb {

ModelBench::ModelBench(const RecurrentModel& model, Team& team, const ModelCost& cost,
                       Precision precision, const MachineCeilings& machine,
                       const BenchOptions& options)
    : model_(&model),
      team_(&team),
      cost_(&cost),
      precision_(precision),
      machine_(&machine),
      options_(options) {
  const ModelInfo& i = model.info();
  steps_ = i.max_steps > 0 ? std::min(options.num_steps, i.max_steps) : options.num_steps;
  n_tokens_ = i.max_positions > 0 ? std::min(options.n_tokens, i.max_positions) : options.n_tokens;
}

BenchRow ModelBench::row(const char* name, const Measured& measured, const char* unit) const {
  return {fmt::format("{}_{}", name, precision_name(precision_)),
          measured.value,
          unit,
          std::nullopt,
          "",
          measured.runs};
}

std::vector<int32_t> ModelBench::ids(size_t n, uint32_t salt) const {
  std::vector<int32_t> list(n);
  const DrawKey key{.stream = RngStream::kSubsample, .row = salt};
  for (size_t i = 0; i < n; ++i)
    list[i] = static_cast<int32_t>(uniform_below(key, i, static_cast<uint64_t>(info().vocab_size)));
  return list;
}

Result<StateSource> ModelBench::states() const {
  return StateSource::make(StateOptions{}, info(), StateSource::FileRows::kPositions);
}

std::vector<int> ModelBench::doubling_depths(int deepest) const {
  if (info().max_steps > 0) deepest = std::min(deepest, info().max_steps);
  std::vector<int> depths;
  for (int depth = 1; depth < deepest; depth *= 2) depths.push_back(depth);
  depths.push_back(deepest);
  return depths;
}

BenchRows forward_rows(const ModelBench& bench) {
  using Clock = std::chrono::steady_clock;
  const auto n = static_cast<size_t>(bench.n_tokens());
  const std::vector<int32_t> ids = bench.ids(n, 0);
  PLUMB_ASSIGN(const StateSource states, bench.states());
  DepthPass pass(bench.model(), bench.team());
  Mat<float> logits(n, static_cast<size_t>(bench.info().vocab_size));
  std::vector<double> core_ms;
  const auto once = [&]() -> Result<double> {
    const auto began = Clock::now();
    Batch batch{ids, {{.n_rows = n}}};
    PLUMB_RETURN_IF_ERROR(pass.begin(std::move(batch), states));
    const auto core_began = Clock::now();
    for (int k = 0; k < bench.steps(); ++k) PLUMB_RETURN_IF_ERROR(pass.advance());
    core_ms.push_back(ms_since(core_began) / bench.steps());
    PLUMB_RETURN_IF_ERROR(pass.read(Readout::kPeek, logits));
    return ms_since(began);
  };
  PLUMB_ASSIGN(const Measured ms, median_of(bench.options().repeat, once));
  const double flops = bench.cost().flops(static_cast<int64_t>(n), bench.steps());
  const ArithmeticCeilings& peak = bench.machine().arithmetic;

  BenchRow speed = bench.row("forward", {flops / ms.value * 1e-6, ms.runs}, "GFLOP/s");
  const bool halves = bench.precision() == Precision::kBF16;
  speed.ceiling = halves ? peak.bf16().all : peak.f32.all;  // int8 weights meet f32 inputs
  speed.of = halves ? "bf16_gflops" : "f32_gflops";
  std::vector<BenchRow> rows = {speed};
  if (halves && peak.amx_bf16.present()) {
    BenchRow tiles = speed;
    tiles.name = "forward_bf16_of_amx";
    tiles.ceiling = peak.amx_bf16.all;
    tiles.of = "amx_bf16_gflops";
    rows.push_back(tiles);
  }
  rows.push_back(bench.row("forward_ms", ms, "ms"));
  rows.push_back(bench.row("forward_recurrence_ms", median_beside(ms, core_ms), "ms"));
  return rows;
}

}  // namespace plumb
