#include "experiments/live_rules.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/decode/generate.h"
#include "core/decode/segments.h"
#include "experiments/spec.h"

namespace plumb {
namespace {

// What Setting keeps as extra_json, see runner.cpp.
struct Extras {
  bool warm_start = false, bf16_logits = false;
};

Result<Extras> extras_of(const Setting& setting) {
  PLUMB_ASSIGN(const Json json, parse_json(setting.extra_json, "extra_json of the recording"));
  return Extras{json.value("continuous_compute", false), json.value("readout", "f32") == "bf16"};
}

// The flags of the sweep that decided which files were read.
Result<ModelFiles> files_of(RunReader& reader, int64_t run_id) {
  PLUMB_ASSIGN(const std::vector<RunInfo> runs, reader.runs());
  for (const RunInfo& run : runs) {
    if (run.id != run_id) continue;
    const std::string where = fmt::format("{}: spec of run {}", reader.path().string(), run_id);
    PLUMB_ASSIGN(const Json json, parse_json(run.record.spec_json, where));
    PLUMB_ASSIGN(const SweepSpec spec, spec_from_json(json, where));
    return ModelFiles{spec.namemap, spec.config, spec.tokenizer};
  }
  return ModelFiles{};
}

// Tokens 0, 1, 2, ... as far as they are there without a gap.
Result<std::vector<int32_t>> recorded_ids(RunReader& reader, int64_t trajectory_id) {
  std::vector<int32_t> longest;
  PLUMB_ASSIGN(const std::vector<PointInfo> points, reader.points());
  for (const PointInfo& point : points) {
    if (point.record.trajectory_id != trajectory_id || point.chunks_done == 0) continue;
    PLUMB_ASSIGN(const TokenTable table, reader.read_tokens(point.id));
    std::vector<int32_t> ids;
    size_t row = 0;
    for (; row < table.n_rows() && table.pos[row] == static_cast<int64_t>(row); ++row)
      ids.push_back(table.token_id[row]);
    if (row > 0 && table.target_id[row - 1] >= 0) ids.push_back(table.target_id[row - 1]);
    if (ids.size() > longest.size()) longest = std::move(ids);
    if (point.status == PointStatus::kDone) break;
  }
  return longest;
}

}  // namespace

Result<LiveText> recorded_text(RunReader& reader, const TrajectoryInfo& trajectory,
                               int64_t max_tokens) {
  LiveText text{.setting = trajectory.record.setting,
                .num_steps = static_cast<int>(trajectory.record.max_steps)};
  PLUMB_ASSIGN(text.ids, recorded_ids(reader, trajectory.id));
  const Setting& setting = text.setting;
  if (setting.window < 1 || setting.stride < 1 || setting.stride > setting.window)
    return input_error(
        "{}: trajectory {} has window {} and stride {}, expected 1 <= stride <= window",
        reader.path().string(), trajectory.id, setting.window, setting.stride);
  std::vector<ScoreWindow> all;
  if (text.ids.size() >= 2)
    all = plan_windows(text.ids.size(), static_cast<size_t>(setting.window),
                       static_cast<size_t>(setting.stride));
  if (all.empty())
    return input_error("{}: no point holds the tokens that trajectory {} was recorded on",
                       reader.path().string(), trajectory.id);
  const int64_t wanted = max_tokens == 0 ? std::numeric_limits<int64_t>::max()
                                         : (max_tokens + setting.stride - 1) / setting.stride;
  const size_t n = static_cast<size_t>(std::min<int64_t>(wanted, static_cast<int64_t>(all.size())));
  for (size_t i = 0; i < n; ++i) text.windows.push_back(all[i * all.size() / n]);
  return text;
}

Result<LiveRules> LiveRules::open(RunReader& reader, const TrajectoryInfo& trajectory,
                                  const LiveOptions& options) {
  LiveRules live;
  live.options_ = options;
  if (!live.options_.note) live.options_.note = [](const std::string&) {};
  live.team_ = std::make_unique<Team>(options.threads > 0 ? options.threads : available_cores());
  const Setting& setting = trajectory.record.setting;
  PLUMB_ASSIGN(const ModelFiles files, files_of(reader, trajectory.record.run_id));
  const std::string path = options.model.empty() ? setting.model_path : options.model;
  PLUMB_ASSIGN(LoadedModel loaded,
               open_loaded_model(path, setting.dtype, files, *live.team_, live.options_.note));
  if (loaded.sha256 != setting.model_sha256)
    return input_error(
        "{}: the model has another content (sha256 {}...) than the one recorded in {} ({}...)",
        path, loaded.sha256.substr(0, 12), reader.path().string(),
        setting.model_sha256.substr(0, 12));
  live.loaded_ = std::make_unique<LoadedModel>(std::move(loaded));
  if (setting.mem_len)
    PLUMB_RETURN_IF_ERROR(live.loaded_->model->set_memory_len(static_cast<int>(*setting.mem_len)));
  return live;
}

Status LiveRules::usable(const Rule& rule) const {
  Inputs available = Inputs::kState | Inputs::kLogits;
  if (loaded_->model->info().gate_column >= 0) available = available | Inputs::kGate;
  return rule.usable_live(available);
}

std::string LiveRules::cache_of(const LiveText& text, const Rule* rule) const {
  if (!text.setting.cache.empty() && (rule == nullptr || options_.cache.empty()))
    return text.setting.cache;
  if (rule != nullptr && !options_.cache.empty()) return options_.cache;
  return default_cache(loaded_->model->info(), rule != nullptr);
}

Result<std::vector<LiveToken>> LiveRules::run(const LiveText& text, const Rule* rule) {
  const Setting& setting = text.setting;
  PLUMB_ASSIGN(const Extras extras, extras_of(setting));
  StateOptions state{.seed = static_cast<uint64_t>(setting.seed), .init_scale = setting.init_scale};
  if (!setting.state.empty()) state.kind = setting.state;
  PLUMB_ASSIGN(const StateSource states,
               StateSource::make(state, loaded_->model->info(), StateSource::FileRows::kPositions));
  std::vector<SequentialWindow> windows;
  for (const ScoreWindow& window : text.windows)
    windows.push_back(
        {window, std::span(text.ids).subspan(window.first_token, window.n_inputs + 1)});
  SequentialRequest request;
  request.num_steps = text.num_steps;
  request.rule = rule;
  request.segment_len = static_cast<int>(setting.segment_len.value_or(0));
  request.cache = cache_of(text, rule);
  request.cache_index =
      setting.cache_index == "upstream" ? CacheIndex::kUpstream : CacheIndex::kRecurrence;
  request.cache_seed = static_cast<uint64_t>(setting.seed);
  request.continuous_compute = extras.warm_start;
  request.bf16_logits = extras.bf16_logits;
  PLUMB_ASSIGN(const auto scores,
               score_sequential(*loaded_->model, *team_, states, windows, request));
  std::vector<LiveToken> tokens;
  for (size_t w = 0; w < windows.size(); ++w) {
    const ScoreWindow& window = windows[w].window;
    for (size_t i = 0; i < scores[w].nll.size(); ++i)
      tokens.push_back({static_cast<int64_t>(window.first_token + window.first_scored + i),
                        scores[w].exit_steps[i], scores[w].nll[i],
                        scores[w].reasons[i] == DepthReason::kRule});
  }
  return tokens;
}

}  // namespace plumb
