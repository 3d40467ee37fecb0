#include <algorithm>

#include "core/decode/score.h"
#include "core/decode/score_sequential.h"
#include "experiments/bench/model_bench.h"

namespace plumb {
namespace {

Result<double> score_ms(const ModelBench& bench, DepthPass& pass, const StateSource& states,
                        std::span<const int32_t> tokens, const ScoreRequest& request) {
  const auto began = std::chrono::steady_clock::now();
  const ScoreWindow window{0, tokens.size() - 1, 0};
  PLUMB_ASSIGN(const WindowScore score,
               score_window(pass, states, bench.team(), tokens, window, request));
  (void)score;
  return ms_since(began);
}

}  // namespace

BenchRows sweep_rows(const ModelBench& bench) {
  PLUMB_ASSIGN(const StateSource states, bench.states());
  DepthPass pass(bench.model(), bench.team());
  const std::vector<int32_t> tokens = bench.ids(static_cast<size_t>(bench.n_tokens()) + 1, 2);
  ScoreRequest all, deepest;
  all.depths = bench.doubling_depths(64);
  deepest.depths = {all.depths.back()};
  // In turns, so that a drift of the clock falls on both.
  std::vector<double> single_ms, sweep_ms, ratios;
  const auto once = [&]() -> Result<double> {
    PLUMB_ASSIGN(const double single, score_ms(bench, pass, states, tokens, deepest));
    PLUMB_ASSIGN(const double sweep, score_ms(bench, pass, states, tokens, all));
    single_ms.push_back(single), sweep_ms.push_back(sweep);
    return sweep / single;
  };
  Repeat repeat = bench.options().repeat;
  repeat.budget_s *= 2;
  PLUMB_ASSIGN(const Measured overhead, median_of(repeat, once));
  return std::vector<BenchRow>{
      bench.row("sweep_overhead", overhead, "x"),
      bench.row("sweep_ms", median_beside(overhead, sweep_ms), "ms"),
      bench.row("single_pass_ms", median_beside(overhead, single_ms), "ms")};
}

BenchRows adaptive_rows(const ModelBench& bench) {
  constexpr size_t kSequences = 16, kTokens = 8;
  PLUMB_ASSIGN(const StateSource states, bench.states());
  PLUMB_ASSIGN(const Rule rule, Rule::parse("kl<5e-4"));
  std::vector<std::vector<int32_t>> texts;
  std::vector<SequentialWindow> windows;
  for (size_t s = 0; s < kSequences; ++s)
    texts.push_back(bench.ids(kTokens + 1, static_cast<uint32_t>(100 + s)));
  for (const auto& text : texts) windows.push_back({{0, kTokens, 0}, text});
  SequentialRequest request;
  request.num_steps = bench.steps();
  request.rule = &rule;
  int64_t exits = 0, tokens = 0;
  const auto run_ms = [&](size_t in_flight, bool run_ahead) -> Result<double> {
    request.max_in_flight = in_flight;
    request.run_ahead = run_ahead;
    const auto began = std::chrono::steady_clock::now();
    PLUMB_ASSIGN(const auto scores,
                 score_sequential(bench.model(), bench.team(), states, windows, request));
    const double ms = ms_since(began);
    exits = tokens = 0;
    for (const SequentialScore& score : scores)
      for (int step : score.exit_steps) exits += step, ++tokens;
    return ms / static_cast<double>(tokens);
  };
  std::vector<double> alone_ms, ahead_ms, together_ms, ahead_gains;
  const auto once = [&]() -> Result<double> {
    PLUMB_ASSIGN(const double alone, run_ms(1, false));
    PLUMB_ASSIGN(const double ahead, run_ms(1, true));
    PLUMB_ASSIGN(const double together, run_ms(kSequences, true));
    alone_ms.push_back(alone), ahead_ms.push_back(ahead), together_ms.push_back(together);
    ahead_gains.push_back(alone / ahead);
    return alone / together;
  };
  Repeat repeat = bench.options().repeat;
  repeat.budget_s *= 2;
  PLUMB_ASSIGN(const Measured gain, median_of(repeat, once));
  return std::vector<BenchRow>{
      bench.row("adaptive_batch16", gain, "x"),
      bench.row("adaptive_run_ahead", median_beside(gain, ahead_gains), "x"),
      bench.row("adaptive_one_ms_per_token", median_beside(gain, alone_ms), "ms"),
      bench.row("adaptive_run_ahead_ms_per_token", median_beside(gain, ahead_ms), "ms"),
      bench.row("adaptive_batch16_ms_per_token", median_beside(gain, together_ms), "ms"),
      bench.row("adaptive_mean_steps",
                {static_cast<double>(exits) / static_cast<double>(tokens), gain.runs}, "steps")};
}

}  // namespace plumb
