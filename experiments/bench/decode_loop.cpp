#include "experiments/bench/decode_loop.h"

#include <numeric>

#include "core/cache/kv_storage.h"
#include "core/decode/generate.h"

namespace plumb {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the milliseconds of its life to `target`.
class Lap {
 public:
  explicit Lap(double& target) : target_(&target), began_(Clock::now()) {}
  ~Lap() { *target_ += ms_since(began_); }
  Lap(const Lap&) = delete;
  Lap& operator=(const Lap&) = delete;

 private:
  double* target_;
  Clock::time_point began_;
};

}  // namespace

double StageTimes::total() const { return std::accumulate(std::begin(ms), std::end(ms), 0.0); }

DecodeLoop::DecodeLoop(const ModelBench& bench, int context, int num_steps, StateSource states)
    : bench_(&bench),
      context_(context),
      num_steps_(num_steps),
      states_(std::move(states)),
      pass_(std::make_unique<DepthPass>(bench.model(), bench.team())) {}

Result<DecodeLoop> DecodeLoop::make(const ModelBench& bench, int batch, int context,
                                    int num_steps) {
  PLUMB_ASSIGN(StateSource states, bench.states());
  DecodeLoop loop(bench, context, num_steps, std::move(states));
  loop.caches_.resize(static_cast<size_t>(batch));
  PLUMB_RETURN_IF_ERROR(loop.restart());
  return loop;
}

Status DecodeLoop::begin(std::span<const int32_t> ids, size_t rows_each) {
  Batch batch;
  batch.ids = ids;
  for (size_t s = 0; s < caches_.size(); ++s) {
    batch.groups.push_back({.first_row = s * rows_each,
                            .n_rows = rows_each,
                            .first_pos = caches_[s]->length(),
                            .sequence = static_cast<uint32_t>(s),
                            .cache = caches_[s].get()});
    caches_[s]->extend(ids.subspan(s * rows_each, rows_each));
  }
  return pass_->begin(std::move(batch), states_);
}

Status DecodeLoop::restart() {
  const ModelInfo& info = bench_->info();
  PLUMB_ASSIGN(const auto policy,
               make_kv_policy(default_cache(info, false), CacheIndex::kRecurrence, info.layers, 0,
                              std::max(num_steps_, 1)));
  for (auto& cache : caches_) {
    PLUMB_ASSIGN(cache, bench_->model().make_cache(policy));
  }
  const size_t n = static_cast<size_t>(context_) * caches_.size();
  ids_ = bench_->ids(n, 1);
  PLUMB_RETURN_IF_ERROR(begin(ids_, static_cast<size_t>(context_)));
  for (int k = 0; k < num_steps_; ++k) PLUMB_RETURN_IF_ERROR(pass_->advance());
  // The coda's entries are wanted, the logits are not.
  return pass_->read(Readout::kKeep, {});
}

Result<TokenTimes> DecodeLoop::token() {
  TokenTimes times;
  const size_t batch = caches_.size();
  ids_ = bench_->ids(batch, static_cast<uint32_t>(context()));
  logits_.resize(batch, static_cast<size_t>(bench_->info().vocab_size));
  {
    Lap lap(times.prelude);
    PLUMB_RETURN_IF_ERROR(begin(ids_, 1));
  }
  {
    Lap lap(times.core);
    for (int k = 0; k < num_steps_; ++k) PLUMB_RETURN_IF_ERROR(pass_->advance());
  }
  {
    Lap lap(times.readout);
    PLUMB_RETURN_IF_ERROR(pass_->read(Readout::kKeep, logits_));
  }
  return times;
}

Result<StageTimes> DecodeLoop::checked_token() {
  PLUMB_CHECK(caches_.size() == 1);
  if (entry_ms_ < 0) {
    PLUMB_ASSIGN(entry_ms_, cache_ms_per_entry());
  }
  StageTimes times;
  double with_head = 0;
  ids_ = bench_->ids(1, static_cast<uint32_t>(context()));
  logits_.resize(1, static_cast<size_t>(bench_->info().vocab_size));
  const auto e = static_cast<size_t>(bench_->info().model_dim);
  {
    Lap lap(times.ms[kPreludeStage]);
    PLUMB_RETURN_IF_ERROR(begin(ids_, 1));
  }
  memory_.start(pass_->state().row_span(0).first(e));
  for (int k = 1; k <= num_steps_; ++k) {
    {
      Lap lap(times.ms[kCoreStage]);
      PLUMB_RETURN_IF_ERROR(pass_->advance());
    }
    {
      Lap lap(times.ms[kCodaStage]);
      PLUMB_RETURN_IF_ERROR(pass_->read(Readout::kPeek, {}));
    }
    {
      Lap lap(with_head);
      PLUMB_RETURN_IF_ERROR(
          pass_->read(k == num_steps_ ? Readout::kKeep : Readout::kPeek, logits_));
    }
    Lap lap(times.ms[kCriterionStage]);
    StepInput input;
    input.step = k;
    input.state = pass_->state().row_span(0).first(e);
    input.logits = logits_.view().row_span(0);
    const StepRow row = next_row(input, memory_, scratch_);
    if (!row.finite) return work_error("logits at depth {} are not finite", k);
  }
  times.ms[kHeadStage] = std::max(0.0, with_head - times.ms[kCodaStage]);
  const LayerCounts& layers = bench_->cost().layers;
  const double entries[] = {static_cast<double>(layers.n_prelude),
                            static_cast<double>(layers.n_core) * num_steps_,
                            static_cast<double>(layers.n_coda) * num_steps_};
  for (size_t s = 0; s < 3; ++s) {
    const double share = std::min(times.ms[s], entries[s] * entry_ms_);
    times.ms[s] -= share;
    times.ms[kCacheStage] += share;
  }
  return times;
}

double DecodeLoop::kv_bytes_per_token() const {
  return static_cast<double>(caches_.front()->bytes()) / context();
}

// Stores and plans as the blocks do, with nothing computed. Families with a store of their own
// keep that cost in their stages.
Result<double> DecodeLoop::cache_ms_per_entry() const {
  const ModelInfo& info = bench_->info();
  PLUMB_ASSIGN(const auto policy, make_kv_policy("full", CacheIndex::kRecurrence, info.layers, 0,
                                                 std::max(num_steps_, 1)));
  PLUMB_ASSIGN(const auto made, bench_->model().make_cache(policy));
  auto* cache = dynamic_cast<KvCache*>(made.get());
  if (cache == nullptr || info.distinct_blocks || bench_->cost().layers.n_core == 0) return 0.0;
  const auto kv_dim = static_cast<size_t>(info.n_kv_heads * info.head_dim);
  constexpr int kTokens = 32;
  Mat<float> row(1, kv_dim);
  double elapsed = 0;
  int64_t entries = 0;
  for (int token = 0; token < context_ + kTokens; ++token) {
    const int32_t id = 0;
    cache->extend({&id, 1});
    const auto began = Clock::now();
    for (int k = 0; k < num_steps_; ++k)
      for (int j = 0; j < info.layers.n_core; ++j)
        PLUMB_RETURN_IF_ERROR(cache->append({Stage::kCore, j, k}, token, row, row));
    if (token < context_) continue;
    elapsed += ms_since(began);
    entries += int64_t{num_steps_} * info.layers.n_core;
  }
  return elapsed / static_cast<double>(entries);
}

}  // namespace plumb
