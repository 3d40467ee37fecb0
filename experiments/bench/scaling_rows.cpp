#include <algorithm>
#include <cmath>

#include "experiments/bench/decode_loop.h"
#include "experiments/bench/model_bench.h"

namespace plumb {
namespace {

struct Line {
  double slope = 0, at_zero = 0;
  double worst = 0;  // largest relative distance of a point from the line
};

// Least squares of relative errors, so that short and long runs count alike.
Line fit_line(const std::vector<double>& x, const std::vector<double>& y) {
  double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double weight = 1 / (y[i] * y[i]);
    w += weight, wx += weight * x[i], wy += weight * y[i], wxx += weight * x[i] * x[i],
        wxy += weight * x[i] * y[i];
  }
  Line line;
  line.slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  line.at_zero = (wy - line.slope * wx) / w;
  for (size_t i = 0; i < x.size(); ++i)
    line.worst = std::max(line.worst, std::fabs(line.at_zero + line.slope * x[i] - y[i]) / y[i]);
  return line;
}

Result<Measured> decoded(const ModelBench& bench, int batch, int context, int num_steps) {
  PLUMB_ASSIGN(DecodeLoop loop, DecodeLoop::make(bench, batch, context, num_steps));
  Repeat repeat = bench.options().repeat;
  repeat.runs = std::max(repeat.runs, bench.options().decoded);
  return median_of(repeat, [&]() -> Result<double> {
    PLUMB_ASSIGN(const TokenTimes times, loop.token());
    return times.total();
  });
}

}  // namespace

BenchRows scaling_rows(const ModelBench& bench) {
  std::vector<BenchRow> rows;
  const int context = bench.options().context;
  std::vector<double> depths, ms;
  for (int depth : bench.doubling_depths(64)) {
    PLUMB_ASSIGN(const Measured token, decoded(bench, 1, context, depth));
    rows.push_back(bench.row(fmt::format("scaling_depth_{}", depth).c_str(), token, "ms"));
    depths.push_back(depth), ms.push_back(token.value);
  }
  if (depths.size() > 2) {
    const Line line = fit_line(depths, ms);
    rows.push_back(bench.row("scaling_depth_slope", {line.slope, 1}, "ms a step"));
    rows.push_back(bench.row("scaling_depth_worst_residual", {line.worst, 1}, "share"));
  }
  const int steps = std::min(bench.steps(), 8);  // a deep cache would fill the memory first
  std::vector<double> contexts, context_ms;
  for (int length : {32, 64, 128, 256, 512, 1024, 2048}) {
    if (bench.info().max_positions > 0 &&
        length + 2 * bench.options().decoded > bench.info().max_positions)
      break;
    PLUMB_ASSIGN(const Measured token, decoded(bench, 1, length, steps));
    rows.push_back(bench.row(fmt::format("scaling_context_{}", length).c_str(), token, "ms"));
    contexts.push_back(length), context_ms.push_back(token.value);
  }
  if (contexts.size() > 2) {
    const Line line = fit_line(contexts, context_ms);
    rows.push_back(bench.row("scaling_context_slope", {line.slope * 1e3, 1}, "us a token held"));
    rows.push_back(bench.row("scaling_context_worst_residual", {line.worst, 1}, "share"));
  }
  for (int batch : {1, 2, 4, 8, 16, 32}) {
    PLUMB_ASSIGN(const Measured token, decoded(bench, batch, std::min(context, 32), steps));
    rows.push_back(bench.row(fmt::format("scaling_batch_{}", batch).c_str(),
                             {token.value / batch, token.runs}, "ms a token"));
  }
  return rows;
}

}  // namespace plumb
