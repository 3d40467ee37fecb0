#include "experiments/runner.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/cache/kv_policies.h"
#include "core/decode/generate.h"
#include "core/decode/score_sequential.h"
#include "core/decode/segments.h"
#include "core/record/provenance.h"
#include "core/store/run_writer.h"
#include "experiments/chunk_rows.h"
#include "experiments/corpus.h"
#include "experiments/model_pool.h"
#include "experiments/point_summary.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;

// What one pass needs while it runs.
struct Pass {
  const PassPlan* plan = nullptr;
  const TokenizedText* text = nullptr;
  std::vector<int> depths;               // ascending
  bool own_halting = false;              // one point, where the model stops by itself
  std::optional<Rule> rule;              // sequential scoring under an exit rule
  int segment_len = 0;
  std::vector<int64_t> point_ids;        // one a depth
  std::vector<int64_t> mine;             // of those, claimed by us
  std::optional<int64_t> trajectory_id;
  std::vector<ScoreWindow> windows;
};

class SweepRun {
 public:
  SweepRun(const SweepSpec& spec, const SweepHost& host, const SweepObserver& observer, RunWriter writer)
      : spec_(spec), host_(host), observer_(observer), writer_(std::move(writer)),
        team_(spec.threads > 0 ? spec.threads : available_cores()) {}

  Result<SweepOutcome> run(std::optional<int64_t> existing_run) {
    PLUMB_ASSIGN(record_, parse_record(spec_.record));
    if (existing_run) {
      outcome_.run_id = *existing_run;
      PLUMB_RETURN_IF_ERROR(writer_.set_run_status(outcome_.run_id, RunStatus::kRunning));
    } else {
      const RunRecord record = describe_run("sweep", host_.binary_version, host_.argv, team_.size(), spec_to_json(spec_).dump());
      PLUMB_ASSIGN(outcome_.run_id, writer_.begin_run(record));
    }
    const Status done = run_passes();
    // Whatever happened, the committed chunks stay; the run's own status says how it ended.
    const RunStatus status = !done.ok() ? RunStatus::kFailed : outcome_.stopped ? RunStatus::kStopped : RunStatus::kDone;
    const Status marked = writer_.set_run_status(outcome_.run_id, status);
    if (!done.ok()) return done.error();
    PLUMB_RETURN_IF_ERROR(marked);
    return outcome_;
  }

 private:
  bool stop_wanted() const { return host_.stop != nullptr && host_.stop->load(); }

  Status run_passes() {
    const std::vector<PassPlan> passes = plan_passes(spec_);
    progress_.n_passes = passes.size();
    start_ = Clock::now();
    for (size_t i = 0; i < passes.size() && !outcome_.stopped; ++i) {
      progress_.pass = &passes[i];
      progress_.pass_index = i;
      PLUMB_RETURN_IF_ERROR(open_model(passes[i]));
      PLUMB_RETURN_IF_ERROR(run_pass(passes[i]));
    }
    return ok_status();
  }

  Status open_model(const PassPlan& plan) {
    if (model_ && model_->path == plan.model && model_->dtype == plan.dtype) return ok_status();
    model_.reset();
    texts_.clear();
    const ModelFiles files{spec_.namemap, spec_.config, spec_.tokenizer};
    PLUMB_ASSIGN(LoadedModel loaded, open_loaded_model(plan.model, plan.dtype, files, team_, observer_.note));
    model_ = std::make_unique<LoadedModel>(std::move(loaded));
    return writer_.upsert_model(cost_record(*model_));
  }

  Result<const TokenizedText*> text_of(const std::string& path) {
    if (const auto it = texts_.find(path); it != texts_.end()) return &it->second;
    PLUMB_ASSIGN(TokenizedText text, tokenize_file(path, *model_->tokenizer, spec_.max_tokens));
    return &texts_.emplace(path, std::move(text)).first->second;
  }

  Status run_pass(const PassPlan& plan) {
    Pass pass;
    pass.plan = &plan;
    PLUMB_ASSIGN(pass.text, text_of(plan.text));
    const ModelInfo& info = model_->model->info();
    pass.depths = spec_.num_steps;
    pass.own_halting = pass.depths.empty() && info.halts_itself && plan.rule.empty();
    if (pass.depths.empty()) pass.depths = {info.halts_itself ? info.max_steps : info.default_steps};
    PLUMB_RETURN_IF_ERROR(prepare_sequential(pass));
    PLUMB_ASSIGN(pass.segment_len, resolve_segment_len(info, plan.segment_len.value_or(0)));
    if (plan.mem_len) PLUMB_RETURN_IF_ERROR(model_->model->set_memory_len(*plan.mem_len));
    note_lengths(plan, info);
    std::sort(pass.depths.begin(), pass.depths.end());
    for (int depth : pass.depths) PLUMB_RETURN_IF_ERROR(check_depth(info, depth));
    if (info.max_positions > 0 && spec_.window > info.max_positions)
      return input_error("--window {} exceeds the {} positions of {}", spec_.window, info.max_positions, model_->name);
    pass.windows = plan_windows(pass.text->ids.size(), static_cast<size_t>(spec_.window), static_cast<size_t>(spec_.stride));
    const StateOptions state{plan.state, plan.seed, spec_.init_scale};
    PLUMB_ASSIGN(const StateSource states, StateSource::make(state, info, StateSource::FileRows::kPositions));
    PLUMB_RETURN_IF_ERROR(register_points(pass));
    if (pass.mine.empty()) return ok_status();
    const Status done = run_chunks(pass, states);
    if (!done.ok()) {
      // The sentence of the failure is kept with the points; a failure to keep it changes nothing.
      for (int64_t id : pass.mine) (void)writer_.set_point_status(id, PointStatus::kFailed, done.error().message).ok();
      return done;
    }
    if (outcome_.stopped) {
      for (int64_t id : pass.mine) PLUMB_RETURN_IF_ERROR(writer_.set_point_status(id, PointStatus::kPending));
      return ok_status();
    }
    for (int64_t id : pass.mine) PLUMB_RETURN_IF_ERROR(finish(id));
    return ok_status();
  }

  // Lengths that can be run, but mean less than they seem to.
  void note_lengths(const PassPlan& plan, const ModelInfo& info) const {
    if (plan.mem_len && *plan.mem_len > spec_.window)
      observer_.note(fmt::format("--mem-len {}: a window of {} tokens never fills that memory, which is empty when it begins",
                                 *plan.mem_len, spec_.window));
    if (info.trained_positions > 0 && spec_.window > info.trained_positions)
      observer_.note(fmt::format("--window {} goes past the {} positions that {} was made for: its rope is extrapolated",
                                 spec_.window, info.trained_positions, model_->name));
  }

  // Rules and caches act on sequential scoring; a rule runs up to the largest depth asked for.
  Status prepare_sequential(Pass& pass) const {
    const PassPlan& plan = *pass.plan;
    if (!plan.cache.empty()) {
      const int deepest = *std::max_element(pass.depths.begin(), pass.depths.end());
      PLUMB_ASSIGN(const CacheIndex index, cache_index());
      PLUMB_RETURN_IF_ERROR(make_kv_policy(plan.cache, index, model_->model->info().layers, plan.seed, deepest));
    }
    if (plan.rule.empty()) return ok_status();
    PLUMB_ASSIGN(Rule rule, Rule::parse(plan.rule));
    const ModelInfo& info = model_->model->info();
    const Inputs available = Inputs::kState | Inputs::kLogits | (info.gate_column >= 0 ? Inputs::kGate : Inputs::kNone);
    PLUMB_RETURN_IF_ERROR(rule.usable_live(available));
    if (pass.depths.size() != 1)
      return input_error("--rule runs up to one depth, but --num-steps lists {}; give the largest only", pass.depths.size());
    rule.resolve_max(pass.depths.front());
    pass.rule = std::move(rule);
    return ok_status();
  }

  Result<CacheIndex> cache_index() const {
    if (spec_.cache_index == "recurrence") return CacheIndex::kRecurrence;
    if (spec_.cache_index == "upstream") return CacheIndex::kUpstream;
    return input_error("--cache-index is \"{}\", expected recurrence or upstream", spec_.cache_index);
  }

  bool sequential() const { return spec_.scoring == "sequential"; }

  Setting setting_of(const Pass& pass) const {
    const ModelInfo& info = model_->model->info();
    Setting setting;
    setting.model_path = pass.plan->model;
    setting.model_name = model_->name;
    setting.model_sha256 = model_->sha256;
    setting.family = info.family;
    setting.axis = info.axis;
    setting.text_name = pass.text->name;
    setting.text_sha256 = pass.text->sha256;
    setting.window = spec_.window;
    setting.stride = spec_.stride;
    setting.scoring = spec_.scoring;
    setting.seed = static_cast<int64_t>(pass.plan->seed);
    setting.state = info.random_state ? pass.plan->state : "";
    setting.init_scale = spec_.init_scale;
    setting.dtype = pass.plan->dtype;
    if (sequential()) {
      setting.cache = pass.plan->cache.empty() ? default_cache(info, pass.rule.has_value()) : pass.plan->cache;
      setting.cache_index = spec_.cache_index;
    }
    if (pass.rule) setting.rule = pass.rule->canonical();
    if (pass.segment_len > 0) setting.segment_len = pass.segment_len;
    if (info.segments) setting.mem_len = info.memory_len;
    Json extra = Json::object();
    if (spec_.max_tokens > 0) extra["max_tokens"] = spec_.max_tokens;
    if (pass.plan->warm_start) extra["continuous_compute"] = true;
    if (pass.plan->bf16_logits) extra["readout"] = "bf16";
    setting.extra_json = extra.dump();
    return setting;
  }

  Status register_points(Pass& pass) {
    const Setting setting = setting_of(pass);
    const auto planned = static_cast<int64_t>(pass.windows.size());
    if (record_.steps) {
      TrajectoryRecord trajectory{.run_id = outcome_.run_id, .setting = setting, .max_steps = pass.depths.back(),
                                  .record = spec_.record, .lags_json = Json(spec_.lags).dump(), .planned_chunks = planned};
      trajectory.key_hash = trajectory_key_hash(trajectory);
      PLUMB_ASSIGN(const UpsertedTrajectory upserted, writer_.upsert_trajectory(trajectory));
      pass.trajectory_id = upserted.id;
    }
    std::vector<PointRecord> records;
    for (int depth : pass.depths) {
      PointRecord point;
      point.run_id = outcome_.run_id;
      point.trajectory_id = pass.trajectory_id;
      point.setting = setting;
      if (!pass.own_halting && !pass.rule) point.num_steps = depth;
      point.record = spec_.record;
      point.planned_tokens = static_cast<int64_t>(pass.text->ids.size()) - 1;
      point.planned_chunks = planned;
      point.key_hash = point_key_hash(point);
      records.push_back(std::move(point));
    }
    PLUMB_ASSIGN(const auto upserted, writer_.upsert_points(records));
    std::vector<int64_t> open;
    for (const UpsertedPoint& point : upserted) {
      pass.point_ids.push_back(point.id);
      outcome_.point_ids.push_back(point.id);
      if (point.already_done) ++outcome_.points_found;
      else open.push_back(point.id);
    }
    if (open.empty()) return ok_status();
    PLUMB_ASSIGN(pass.mine, writer_.claim_points(open, {.retry_failed = true}));
    const auto elsewhere = static_cast<int64_t>(open.size() - pass.mine.size());
    outcome_.points_elsewhere += elsewhere;
    if (elsewhere > 0)
      observer_.note(fmt::format("{} point(s) of {} are being computed by another process", elsewhere, pass_text(*pass.plan)));
    return ok_status();
  }

  // Chunks that some point (or the trajectory) still lacks.
  Result<std::vector<size_t>> missing_chunks(const Pass& pass) {
    std::vector<int> have(pass.windows.size(), 0);
    const auto count = [&](const std::vector<int64_t>& recorded) {
      for (int64_t index : recorded)
        if (index >= 0 && index < static_cast<int64_t>(have.size())) ++have[static_cast<size_t>(index)];
    };
    int wanted = 0;
    for (int64_t id : pass.mine) {
      PLUMB_ASSIGN(const auto recorded, writer_.recorded_chunks(id));
      count(recorded);
      ++wanted;
    }
    if (pass.trajectory_id) {
      PLUMB_ASSIGN(const auto recorded, writer_.recorded_trajectory_chunks(*pass.trajectory_id));
      count(recorded);
      ++wanted;
    }
    std::vector<size_t> missing;
    for (size_t i = 0; i < have.size(); ++i)
      if (have[i] < wanted) missing.push_back(i);
    return missing;
  }

  Status run_chunks(const Pass& pass, const StateSource& states) {
    PLUMB_ASSIGN(const std::vector<size_t> chunks, missing_chunks(pass));
    if (sequential()) return run_sequential(pass, states, chunks);
    ScoreRequest request;
    request.own_halting = pass.own_halting;
    request.record_steps = record_.steps;
    request.lags = spec_.lags;
    request.latents = record_.latents;
    request.bf16_logits = pass.plan->bf16_logits;
    for (size_t i = 0; i < pass.depths.size(); ++i)
      if (std::find(pass.mine.begin(), pass.mine.end(), pass.point_ids[i]) != pass.mine.end() || i + 1 == pass.depths.size())
        request.depths.push_back(pass.depths[i]);
    DepthPass depth_pass(*model_->model, team_);
    for (size_t done = 0; done < chunks.size(); ++done) {
      if (stop_wanted()) {
        outcome_.stopped = true;
        return ok_status();
      }
      report(done, chunks.size());
      PLUMB_RETURN_IF_ERROR(run_chunk(pass, states, request, depth_pass, chunks[done]));
    }
    report(chunks.size(), chunks.size());
    return ok_status();
  }

  Status run_chunk(const Pass& pass, const StateSource& states, const ScoreRequest& request, DepthPass& depth_pass, size_t index) {
    const ScoreWindow& window = pass.windows[index];
    const auto began = Clock::now();
    const std::span<const int32_t> tokens(pass.text->ids.data() + window.first_token, window.n_inputs + 1);
    PLUMB_ASSIGN(const WindowScore score, score_segments(depth_pass, states, team_, tokens, window, request, pass.segment_len));
    const double elapsed_ms = std::chrono::duration<double, std::milli>(Clock::now() - began).count();
    ChunkSource source{*pass.text, window, score, request};
    ChunkBatch batch;
    batch.run_id = outcome_.run_id;
    batch.chunk_index = static_cast<int64_t>(index);
    batch.first_token = static_cast<int64_t>(window.first_token + window.first_scored);
    for (size_t i = 0; i < pass.depths.size(); ++i) {
      if (std::find(pass.mine.begin(), pass.mine.end(), pass.point_ids[i]) == pass.mine.end()) continue;
      batch.points.push_back(point_chunk(source, pass.point_ids[i], pass.depths[i]));
      batch.points.back().elapsed_ms = elapsed_ms;
    }
    if (pass.trajectory_id) batch.trajectories.push_back(trajectory_chunk(source, *pass.trajectory_id));
    for (const StageTime& stage : score.timings)
      if (stage.calls > 0) batch.timings.push_back({.stage = stage.stage, .elapsed_ms = stage.elapsed_ms, .calls = stage.calls});
    const auto store_began = Clock::now();
    PLUMB_ASSIGN(const ChunkOutcome written, writer_.write_chunk(batch));
    store_ms_ += std::chrono::duration<double, std::milli>(Clock::now() - store_began).count();
    (void)written;
    progress_.tokens_done += static_cast<int64_t>(window.n_inputs - window.first_scored);
    return ok_status();
  }

  // Windows run side by side, a few at a time so that little is lost when the process dies.
  Status run_sequential(const Pass& pass, const StateSource& states, const std::vector<size_t>& chunks) {
    constexpr size_t kWindowsAtOnce = 8;
    SequentialRequest request;
    request.rule = pass.rule ? &*pass.rule : nullptr;
    request.own_halting = pass.own_halting;
    request.segment_len = pass.segment_len;
    request.cache = pass.plan->cache;
    PLUMB_ASSIGN(request.cache_index, cache_index());
    request.cache_seed = pass.plan->seed;
    request.continuous_compute = pass.plan->warm_start;
    request.bf16_logits = pass.plan->bf16_logits;
    request.record_steps = record_.steps;
    request.lags = spec_.lags;
    for (size_t done = 0; done < chunks.size(); done += kWindowsAtOnce) {
      if (stop_wanted()) {
        outcome_.stopped = true;
        return ok_status();
      }
      report(done, chunks.size());
      const std::span<const size_t> group(chunks.data() + done, std::min(kWindowsAtOnce, chunks.size() - done));
      std::vector<SequentialWindow> windows;
      for (size_t index : group) {
        const ScoreWindow& window = pass.windows[index];
        windows.push_back({window, {pass.text->ids.data() + window.first_token, window.n_inputs + 1}});
      }
      std::vector<ChunkBatch> batches(group.size());
      for (size_t d = 0; d < pass.depths.size(); ++d) {
        if (std::find(pass.mine.begin(), pass.mine.end(), pass.point_ids[d]) == pass.mine.end()) continue;
        request.num_steps = pass.depths[d];
        const auto began = Clock::now();
        PLUMB_ASSIGN(const auto scores, score_sequential(*model_->model, team_, states, windows, request));
        const double elapsed_ms = std::chrono::duration<double, std::milli>(Clock::now() - began).count() / static_cast<double>(group.size());
        for (size_t w = 0; w < group.size(); ++w) {
          batches[w].points.push_back(sequential_chunk(*pass.text, windows[w].window, scores[w], pass.point_ids[d]));
          batches[w].points.back().elapsed_ms = elapsed_ms;
          if (pass.trajectory_id && d + 1 == pass.depths.size())
            batches[w].trajectories.push_back(sequential_trajectory(windows[w].window, scores[w], spec_.lags, *pass.trajectory_id));
        }
      }
      for (size_t w = 0; w < group.size(); ++w) {
        batches[w].run_id = outcome_.run_id;
        batches[w].chunk_index = static_cast<int64_t>(group[w]);
        batches[w].first_token = static_cast<int64_t>(windows[w].window.first_token + windows[w].window.first_scored);
        PLUMB_ASSIGN(const ChunkOutcome written, writer_.write_chunk(batches[w]));
        (void)written;
        progress_.tokens_done += static_cast<int64_t>(windows[w].window.n_inputs - windows[w].window.first_scored);
      }
    }
    report(chunks.size(), chunks.size());
    return ok_status();
  }

  void report(size_t done, size_t total) {
    progress_.chunk = done;
    progress_.n_chunks = total;
    progress_.elapsed_s = std::chrono::duration<double>(Clock::now() - start_).count();
    if (observer_.progress) observer_.progress(progress_);
  }

  Status finish(int64_t point_id) {
    PLUMB_ASSIGN(const PointSummary summary, summarise_point(writer_.path(), point_id));
    PLUMB_RETURN_IF_ERROR(writer_.finish_point(point_id, summary));
    if (store_ms_ > 0) PLUMB_RETURN_IF_ERROR(writer_.write_timings(outcome_.run_id, {{.point_id = point_id, .stage = "store", .elapsed_ms = store_ms_}}));
    store_ms_ = 0;
    ++outcome_.points_computed;
    return ok_status();
  }

  const SweepSpec& spec_;
  const SweepHost& host_;
  const SweepObserver& observer_;
  RunWriter writer_;
  Team team_;
  RecordPlan record_;
  std::unique_ptr<LoadedModel> model_;
  std::map<std::string, TokenizedText> texts_;
  SweepProgress progress_;
  SweepOutcome outcome_;
  Clock::time_point start_;
  double store_ms_ = 0;
};

}  // namespace

Result<SweepOutcome> run_sweep(const SweepSpec& spec, const SweepHost& host, const SweepObserver& observer,
                               std::optional<int64_t> existing_run) {
  PLUMB_ASSIGN(RunWriter writer, RunWriter::open(spec.db, {}));
  return SweepRun(spec, host, observer, std::move(writer)).run(existing_run);
}

}  // namespace plumb
