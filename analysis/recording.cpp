#include "analysis/recording.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace plumb {
namespace {

constexpr float kNoValue = std::numeric_limits<float>::quiet_NaN();

std::vector<StepColumn> all_columns() {
  std::vector<StepColumn> columns;
  for (int i = 0; i < kStepColumns; ++i) columns.push_back(static_cast<StepColumn>(i));
  return columns;
}

Result<std::vector<int>> recorded_lags(const RunReader& reader, const TrajectoryInfo& info) {
  const auto json = nlohmann::json::parse(info.record.lags_json, nullptr, false);
  std::vector<int> lags;
  bool good = json.is_array();
  if (good)
    for (const auto& lag : json) {
      good = good && lag.is_number_integer() && lag.get<int64_t>() >= 0 &&
             lag.get<int64_t>() <= info.record.max_steps;
      if (good && lag.get<int>() != 1) lags.push_back(lag.get<int>());
    }
  if (good && std::is_sorted(lags.begin(), lags.end()) &&
      std::adjacent_find(lags.begin(), lags.end()) == lags.end())
    return lags;
  return input_error("{}: trajectory {} has lags_json {}, expected ascending steps up to {}",
                     reader.path().string(), info.id, info.record.lags_json,
                     info.record.max_steps);
}

// Every token must have the steps 1..R, in order.
Status check_dense(const RunReader& reader, const TrajectoryInfo& info, const StepTable& table) {
  const size_t n_steps = static_cast<size_t>(info.record.max_steps);
  for (size_t row = 0; row < table.n_rows(); ++row) {
    const size_t first = row - row % n_steps;
    if (table.step[row] == static_cast<int32_t>(row % n_steps) + 1 &&
        table.pos[row] == table.pos[first])
      continue;
    return input_error("{}: trajectory {} has step {} at pos {}, expected step {} of pos {}",
                       reader.path().string(), info.id, table.step[row], table.pos[row],
                       row % n_steps + 1, table.pos[first]);
  }
  if (table.n_rows() % n_steps == 0) return ok_status();
  return input_error("{}: trajectory {} ends at step {} of pos {}, expected step {}",
                     reader.path().string(), info.id, table.step.back(), table.pos.back(), n_steps);
}

// Moves the columns over, dropping tokens that lack a loss.
void take_columns(StepTable& table, Recording& recording) {
  const size_t n_steps = static_cast<size_t>(recording.n_steps);
  const std::span<const float> nll = table.column(StepColumn::kNll);
  std::vector<size_t> kept;
  for (size_t first = 0; first < table.n_rows(); first += n_steps) {
    const auto steps = nll.subspan(first, n_steps);
    if (std::all_of(steps.begin(), steps.end(), [](float x) { return std::isfinite(x); }))
      kept.push_back(first);
  }
  recording.n_without_target = static_cast<int64_t>(table.n_rows() / n_steps - kept.size());
  for (const size_t first : kept) recording.pos.push_back(table.pos[first]);
  for (size_t column = 0; column < kStepColumns; ++column) {
    std::vector<float>& values = table.values[column];
    for (size_t i = 0; i < kept.size(); ++i)
      if (kept[i] != i * n_steps)
        std::copy_n(values.begin() + static_cast<ptrdiff_t>(kept[i]), n_steps,
                    values.begin() + static_cast<ptrdiff_t>(i * n_steps));
    values.resize(kept.size() * n_steps);
    recording.columns[column] = std::move(values);
  }
}

// Both tables are in the order (pos, step): one walk.
void take_lag(const LagTable& table, Recording& recording) {
  const size_t n_steps = static_cast<size_t>(recording.n_steps);
  auto& columns = recording.lagged.emplace_back();
  for (auto& column : columns) column.assign(recording.n_tokens() * n_steps, kNoValue);
  size_t token = 0;
  for (size_t row = 0; row < table.n_rows(); ++row) {
    while (token < recording.n_tokens() && recording.pos[token] < table.pos[row]) ++token;
    if (token == recording.n_tokens()) return;
    const bool inside = table.step[row] >= 1 && table.step[row] <= recording.n_steps;
    if (recording.pos[token] != table.pos[row] || !inside) continue;
    const size_t at = token * n_steps + static_cast<size_t>(table.step[row] - 1);
    for (size_t column = 0; column < kLagColumns; ++column)
      columns[column][at] = table.values[column][row];
  }
}

// Both are in the order of pos: one walk.
Status take_own_exits(const RunReader& reader, const std::vector<PonderRow>& rows,
                      Recording& recording) {
  if (rows.empty()) return ok_status();
  size_t row = 0;
  for (const int64_t pos : recording.pos) {
    while (row < rows.size() && rows[row].pos < pos) ++row;
    const bool found = row < rows.size() && rows[row].pos == pos;
    if (!found || rows[row].n_steps < 1 || rows[row].n_steps > recording.n_steps)
      return input_error("{}: pos {} of trajectory {} has {}, expected 1 to {} in table ponder",
                         reader.path().string(), pos, recording.info.id,
                         found ? fmt::format("n_steps {}", rows[row].n_steps) : "no row",
                         recording.n_steps);
    recording.own_exits.push_back(rows[row].n_steps);
  }
  return ok_status();
}

int32_t id_of(float value) { return std::isnan(value) ? -1 : static_cast<int32_t>(value); }

}  // namespace

int64_t Recording::window_of(size_t token) const {
  const Setting& setting = info.record.setting;
  if (setting.window <= 0 || setting.stride <= 0 || pos[token] < setting.window) return 0;
  return 1 + (pos[token] - setting.window) / setting.stride;
}

int64_t Recording::place_in_window(size_t token) const {
  return pos[token] - window_of(token) * std::max<int64_t>(info.record.setting.stride, 0);
}

Result<Recording> load_recording(RunReader& reader, const TrajectoryInfo& trajectory) {
  const int64_t max_steps = trajectory.record.max_steps;
  if (max_steps < 1 || max_steps > (1 << 20))
    return input_error("{}: trajectory {} has max_steps {}, expected 1 to {}",
                       reader.path().string(), trajectory.id, max_steps, 1 << 20);
  Recording recording;
  recording.info = trajectory;
  recording.n_steps = static_cast<int>(max_steps);
  PLUMB_ASSIGN(recording.cost, reader.model_cost(trajectory.record.setting.model_sha256));
  PLUMB_ASSIGN(recording.lags, recorded_lags(reader, trajectory));
  {
    PLUMB_ASSIGN(StepTable table, reader.read_steps(trajectory.id, {.columns = all_columns()}));
    PLUMB_RETURN_IF_ERROR(check_dense(reader, trajectory, table));
    take_columns(table, recording);
  }
  if (recording.n_tokens() == 0)
    return input_error(
        "{}: none of the {} recorded tokens of trajectory {} has a loss at each of its {} steps, "
        "which replay needs",
        reader.path().string(), recording.n_without_target, trajectory.id, max_steps);
  PLUMB_ASSIGN(const std::vector<PonderRow> ponder, reader.read_ponder(trajectory.id));
  PLUMB_RETURN_IF_ERROR(take_own_exits(reader, ponder, recording));
  for (const int lag : recording.lags) {
    PLUMB_ASSIGN(const LagTable table, reader.read_lags(trajectory.id, lag));
    take_lag(table, recording);
  }
  return recording;
}

Result<std::vector<Recording>> load_recordings(RunReader& reader, const Selection& selection) {
  PLUMB_ASSIGN(const std::vector<TrajectoryInfo> found, recorded_trajectories(reader, selection));
  std::vector<Setting> settings;
  for (const TrajectoryInfo& row : found) {
    settings.push_back(row.record.setting);
    settings.back().text_name.clear(), settings.back().text_sha256.clear();
  }
  const SeriesSplit split = split_by_setting(settings);
  if (split.series.size() > 1)
    return input_error(
        "{}: found recordings that differ in {}, expected one setting on one or more texts: "
        "choose with --model or --run",
        reader.path().string(), split.varies);
  std::vector<Recording> recordings;
  for (const TrajectoryInfo& row : found) {
    PLUMB_ASSIGN(Recording recording, load_recording(reader, row));
    recordings.push_back(std::move(recording));
  }
  return recordings;
}

TokenRows::TokenRows(const Recording& recording, bool with_lags)
    : recording_(recording), with_lags_(with_lags) {
  const size_t n_steps = static_cast<size_t>(recording.n_steps);
  rows_.resize(n_steps);
  trajectory_.rows = rows_;
  if (!with_lags) return;
  lagged_.resize(n_steps * recording.lags.size());
  trajectory_.lags = recording.lags;
  trajectory_.lagged = lagged_;
}

const Trajectory& TokenRows::load(size_t token) {
  const size_t first = token * rows_.size();
  const auto at = [&](StepColumn column, size_t k) {
    return recording_.columns[static_cast<size_t>(column)][first + k];
  };
  for (size_t k = 0; k < rows_.size(); ++k) {
    StepRow& row = rows_[k];
    row = {};
    row.step = static_cast<int>(k) + 1;
    row.state_norm = at(StepColumn::kStateNorm, k);
    row.entropy = at(StepColumn::kEntropy, k);
    row.top1 = id_of(at(StepColumn::kTop1Id, k));
    row.p1 = at(StepColumn::kP1, k), row.p2 = at(StepColumn::kP2, k);
    row.gate = at(StepColumn::kGate, k);
    row.nll = at(StepColumn::kNll, k);
    const int32_t rank = id_of(at(StepColumn::kTargetRank, k));
    row.target_rank = rank < 0 ? -1 : rank + 1;  // stored: tokens that are more likely
    row.kl_final = at(StepColumn::kKlFinal, k);
    row.prev.delta_norm = at(StepColumn::kDeltaNorm, k);
    row.prev.accel_norm = at(StepColumn::kAccelNorm, k);
    row.prev.cos = at(StepColumn::kCos, k);
    row.prev.kl = at(StepColumn::kKlPrev, k), row.prev.minp_kl = at(StepColumn::kMinpKl, k);
  }
  // The file has NULL where no earlier difference exists; the live row has infinity.
  Comparison& start = rows_.front().prev;
  if (!std::isnan(start.delta_norm)) start.accel_norm = std::numeric_limits<double>::infinity();
  derive_rows(rows_);
  fill_hindsight(rows_);
  if (with_lags_) load_lags(token);
  return trajectory_;
}

void TokenRows::load_lags(size_t token) {
  const size_t n_lags = recording_.lags.size();
  for (size_t k = 0; k < rows_.size(); ++k)
    for (size_t i = 0; i < n_lags; ++i) {
      const auto at = [&](LagColumn column) {
        return recording_.lagged[i][static_cast<size_t>(column)][token * rows_.size() + k];
      };
      const int lag = recording_.lags[i] == kStartLag ? rows_[k].step : recording_.lags[i];
      Comparison& out = lagged_[k * n_lags + i];
      out = {};
      if (lag > rows_[k].step) continue;
      out.lag = lag;
      out.delta_norm = at(LagColumn::kLatentDiff) * rows_[k].state_norm;
      out.cos = at(LagColumn::kCos);
      out.kl = at(LagColumn::kKl), out.minp_kl = at(LagColumn::kMinpKl);
      // Against the start there is no earlier pair; between two checks it was not recorded.
      if (lag == rows_[k].step && !std::isnan(out.delta_norm))
        out.accel_norm = std::numeric_limits<double>::infinity();
    }
}

Status replayable_on(const Recording& recording, const Rule& rule) {
  PLUMB_RETURN_IF_ERROR(replayable(rule, recording.lags));
  if (rule.check_every() == 1) return ok_status();
  for (const Rule::Node& node : rule.nodes())
    if (node.scalar != nullptr && node.scalar->name.starts_with("accel"))
      return input_error(
          "rule '{}' compares two differences over {} steps each (every={}), which are not "
          "recorded; {} can be replayed with every=1",
          rule.canonical(), rule.check_every(), rule.check_every(), node.scalar->name);
  return ok_status();
}

}  // namespace plumb
