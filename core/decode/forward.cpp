#include "core/decode/forward.h"

#include <algorithm>
#include <array>

#include "core/decode/segments.h"
#include "core/exit/scalars.h"

namespace plumb {
namespace {

// The criteria of the public code, per position, as `exit.{name}`.
constexpr std::array<const char*, 6> kExitCriteria = {"entropy-diff", "latent-diff", "kl",
                                                      "minp-kl", "argmax-stability", "cosine"};

class TapWriter final : public TapObserver {
 public:
  TapWriter(std::vector<Tap> asked, ForwardResult& result) : asked_(std::move(asked)), result_(&result) {}
  bool wants(Tap tap, const Place&) override {
    return std::find(asked_.begin(), asked_.end(), tap) != asked_.end();
  }
  void show(Tap tap, const Place& place, MatView<const float> rows) override {
    ForwardTensor& tensor = (*result_)[fmt::format("tap.{}.{}{}.s{}", tap_row(tap).name, stage_name(place.stage),
                                                   place.block, place.step)];
    tensor.shape = {static_cast<int64_t>(rows.rows()), static_cast<int64_t>(rows.cols())};
    tensor.values = Mat<float>(rows.rows(), rows.cols());
    for (size_t r = 0; r < rows.rows(); ++r) std::copy(rows.row(r), rows.row(r) + rows.cols(), tensor.values.row(r));
  }

 private:
  std::vector<Tap> asked_;
  ForwardResult* result_;
};

class ForwardRun {
 public:
  ForwardRun(const RecurrentModel& model, Team& team, const ForwardRequest& request)
      : model_(&model), team_(&team), request_(&request), n_rows_(request.rows.size()),
        n_tokens_(request.rows.front().size()) {}

  Result<ForwardResult> run() {
    const ModelInfo& info = model_->info();
    depths_ = request_->depths;
    own_halting_ = depths_.empty() && info.halts_itself;
    if (depths_.empty()) depths_ = {info.default_steps};
    for (int depth : depths_) PLUMB_RETURN_IF_ERROR(check_depth(info, depth));
    largest_ = *std::max_element(depths_.begin(), depths_.end());
    PLUMB_RETURN_IF_ERROR(check_emit(info));
    PLUMB_ASSIGN(segment_len_, resolve_segment_len(info, request_->segment_len));
    const bool segmented = segment_len_ > 0 && n_tokens_ > static_cast<size_t>(segment_len_);
    if (segmented && !request_->taps.empty())
      return input_error("--taps shows one call of the model, but {} tokens in segments of {} take several", n_tokens_, segment_len_);
    TapBus bus;
    TapWriter writer(request_->taps, result_);
    if (!request_->taps.empty()) PLUMB_RETURN_IF_ERROR(bus.subscribe(&writer, request_->taps, info.taps));
    PLUMB_ASSIGN(const StateSource states, StateSource::make(request_->state, info, StateSource::FileRows::kCall));

    DepthPass pass(*model_, *team_, request_->taps.empty() ? nullptr : &bus);
    if (!segmented || !info.memory_of_last_step || depths_.size() == 1) {
      PLUMB_RETURN_IF_ERROR(run_rows(pass, states, segmented));
      return std::move(result_);
    }
    // Every depth leaves another memory. What spans all steps is of the deepest, which runs last.
    std::vector<int> ascending = depths_;
    std::sort(ascending.begin(), ascending.end());
    for (const int depth : ascending) {
      depths_ = {depth};
      deepest_ = depth == largest_;
      PLUMB_RETURN_IF_ERROR(run_rows(pass, states, segmented));
    }
    return std::move(result_);
  }

 private:
  bool wants(const char* name) const { return request_->emit.contains(name); }
  // What has a row a step: of the deepest pass alone.
  bool wants_steps(const char* name) const { return deepest_ && wants(name); }
  size_t total() const { return n_rows_ * n_tokens_; }
  size_t in_call() const { return n_rows_ * call_tokens_; }
  // Where row `r` of the call lies among all tokens, [B, T].
  size_t place_of(size_t r) const { return r / call_tokens_ * n_tokens_ + call_first_ + r % call_tokens_; }

  Status run_rows(DepthPass& pass, const StateSource& states, bool segmented) {
    std::vector<std::unique_ptr<SequenceCache>> caches;
    for (size_t b = 0; segmented && b < n_rows_; ++b) {
      PLUMB_ASSIGN(auto cache, model_->make_cache(nullptr));
      caches.push_back(std::move(cache));
    }
    const SegmentBorders borders(segment_len_, SegmentMode::kAligned);
    for (call_first_ = 0; call_first_ < n_tokens_; call_first_ += call_tokens_) {
      call_tokens_ = n_tokens_ - call_first_;
      for (const auto& cache : caches) call_tokens_ = borders.next_call(*cache, n_tokens_ - call_first_, SegmentBorders::Phase::kPrompt);
      PLUMB_RETURN_IF_ERROR(run_call(pass, states, caches));
    }
    return ok_status();
  }

  Status run_call(DepthPass& pass, const StateSource& states, const std::vector<std::unique_ptr<SequenceCache>>& caches) {
    std::vector<int32_t> ids;
    Batch batch;
    for (size_t b = 0; b < n_rows_; ++b) {
      const std::span<const int32_t> row = std::span(request_->rows[b]).subspan(call_first_, call_tokens_);
      Group group{.first_row = ids.size(), .n_rows = call_tokens_, .first_pos = static_cast<int>(call_first_),
                  .sequence = static_cast<uint32_t>(b), .own_halting = own_halting_};
      if (!caches.empty()) {
        group.cache = caches[b].get();
        group.cache->extend(row);
      }
      batch.groups.push_back(group);
      ids.insert(ids.end(), row.begin(), row.end());
    }
    batch.ids = ids;
    PLUMB_RETURN_IF_ERROR(pass.begin(std::move(batch), states));
    if (wants_steps("exits")) start_exits(pass.state());
    const int end = *std::max_element(depths_.begin(), depths_.end());
    const bool all_steps = wants_steps("exits") || wants_steps("states");
    for (;;) {
      const bool last = pass.depth() == end || (own_halting_ && !all_steps && pass.settled());
      PLUMB_RETURN_IF_ERROR(take(pass, last));
      if (last) return ok_status();
      PLUMB_RETURN_IF_ERROR(pass.advance());
    }
  }

  Status check_emit(const ModelInfo& info) const {
    for (const std::string& name : request_->emit) {
      if (name == "logits" || name == "latent" || name == "states" || name == "exits") continue;
      if (name == "hidden" && info.distinct_blocks) continue;
      if (name == "halting" && info.halting_column >= 0) continue;
      return input_error("--emit \"{}\" is not something this family has; expected logits, latent, states, exits{}{}",
                         name, info.distinct_blocks ? ", hidden" : "", info.halting_column >= 0 ? ", halting" : "");
    }
    return ok_status();
  }

  // `whole`: every number of it will be written, so that none need be 0 first.
  ForwardTensor& tensor(const std::string& name, std::vector<int64_t> leading, size_t width, bool whole = false) {
    ForwardTensor& made = result_[name];
    if (!made.shape.empty()) return made;
    made.shape = std::move(leading);
    made.shape.insert(made.shape.end(), {static_cast<int64_t>(n_rows_), static_cast<int64_t>(n_tokens_)});
    int64_t rows = 1;
    for (int64_t extent : made.shape) rows *= extent;
    if (width > 0) made.shape.push_back(static_cast<int64_t>(width));
    made.values.resize(static_cast<size_t>(rows), width > 0 ? width : 1);
    if (!whole) made.values.fill(0);
    return made;
  }

  // Room for the call's rows of a [B, T, width] tensor: its own where the call is all of it.
  MatView<float> rows_of(const std::string& name, size_t width, Mat<float>& scratch) {
    ForwardTensor& target = tensor(name, {}, width, true);
    if (in_call() == total()) return target.values;
    scratch.resize(in_call(), width);
    return scratch;
  }
  void store_rows(const std::string& name, MatView<const float> rows) {
    ForwardTensor& target = result_[name];
    if (rows.data() != target.values.data()) store(target, 0, rows);
  }

  void store(ForwardTensor& target, size_t block, MatView<const float> rows) {
    for (size_t r = 0; r < rows.rows(); ++r)
      std::copy(rows.row(r), rows.row(r) + target.values.cols(), target.values.row(block * total() + place_of(r)));
  }

  void start_exits(MatView<const float> state) {
    memories_.resize(in_call());
    for (size_t r = 0; r < in_call(); ++r)
      memories_[r].start(state.row_span(r).first(static_cast<size_t>(model_->info().model_dim)));
  }

  // Everything that is wanted of the state the pass is at; `last`: it goes no deeper.
  Status take(DepthPass& pass, bool last) {
    const ModelInfo& info = model_->info();
    const auto e = static_cast<size_t>(info.model_dim), v = static_cast<size_t>(info.vocab_size);
    const int depth = pass.depth();
    const auto view = pass.state().cols_from(0, e);
    if (wants_steps("states")) store(tensor("states", {largest_ + 1}, e), static_cast<size_t>(depth), view);
    if (wants("hidden") && depth > 0) store(tensor(fmt::format("hidden.l{}", depth - 1), {}, e), 0, view);
    if (wants_steps("halting")) take_halting(pass, last);
    const bool listed = own_halting_ ? last : std::find(depths_.begin(), depths_.end(), depth) != depths_.end();
    const bool exits = wants_steps("exits") && depth > 0;
    const bool logits = exits || (listed && wants("logits"));
    const bool latent = listed && wants("latent");
    if (!logits && !latent && !(last && !request_->taps.empty())) return ok_status();
    const std::string suffix = request_->depths.empty() ? "" : fmt::format(".r{}", depth);
    const bool emits_logits = listed && wants("logits");
    MatView<float> logits_rows, latent_rows;
    if (emits_logits) {
      logits_rows = rows_of("logits" + suffix, v, logits_);
    } else if (logits) {
      logits_.resize(in_call(), v);
      logits_rows = logits_;
    }
    if (latent) latent_rows = rows_of("latent" + suffix, e, latent_);
    // Taps of the coda show the deepest readout; shallower ones only peek.
    PLUMB_RETURN_IF_ERROR(pass.read(last ? Readout::kKeep : Readout::kPeek, logits_rows, latent_rows));
    if (exits) PLUMB_RETURN_IF_ERROR(take_exits(pass, depth, logits_rows));
    if (emits_logits) store_rows("logits" + suffix, logits_rows);
    if (latent) store_rows("latent" + suffix, latent_rows);
    return ok_status();
  }

  Status take_exits(DepthPass& pass, int depth, MatView<const float> logits) {
    const ModelInfo& info = model_->info();
    std::vector<StepRow> rows(in_call());
    const auto state = pass.state();
    team_->run(in_call(), [&](size_t r) {
      thread_local StepScratch scratch;
      StepInput input;
      input.step = depth;
      input.state = state.row_span(r).first(static_cast<size_t>(info.model_dim));
      input.logits = logits.row_span(r);
      if (info.gate_column >= 0) input.gate = state(r, static_cast<size_t>(info.gate_column));
      rows[r] = next_row(input, memories_[r], scratch);
    });
    const auto block = static_cast<size_t>(depth - 1) * total();
    for (const char* name : kExitCriteria) {
      ForwardTensor& target = tensor(fmt::format("exit.{}", name), {largest_}, 0);
      const Scalar* scalar = find_scalar(name);
      PLUMB_CHECK(scalar != nullptr);
      for (size_t r = 0; r < in_call(); ++r)
        target.values.data()[block + place_of(r)] = static_cast<float>(scalar->value(rows[r]));
    }
    ForwardTensor& entropy = tensor("entropy", {largest_}, 0);
    for (size_t r = 0; r < in_call(); ++r)
      entropy.values.data()[block + place_of(r)] = static_cast<float>(rows[r].entropy);
    return ok_status();
  }

  // p, cum and w of every step that was run; N, R and ponder at the end. Steps that were not run
  // read like steps after halting.
  void take_halting(DepthPass& pass, bool last) {
    const ModelInfo& info = model_->info();
    const auto cell = [&](size_t r, HaltingColumn column) {
      return pass.state()(r, static_cast<size_t>(info.halting_column) + static_cast<size_t>(column));
    };
    const auto put = [&](const char* name, float unset, HaltingColumn column) {
      const bool fresh = !result_.contains(name);
      ForwardTensor& target = tensor(name, {info.max_steps}, 0);
      if (fresh) target.values.fill(unset);
      for (size_t r = 0; pass.depth() > 0 && r < in_call(); ++r)
        target.values.data()[static_cast<size_t>(pass.depth() - 1) * total() + place_of(r)] = cell(r, column);
    };
    const float after = own_halting_ ? -1.0F : 0.0F;
    put("p", after, HaltingColumn::kProbability);
    put("cum", after, HaltingColumn::kCumulative);
    // At a forced depth the whole weight is on the last step.
    if (own_halting_ || last) put("w", 0, HaltingColumn::kWeight);
    if (!last) return;
    ForwardTensor& steps = tensor("N", {}, 0);
    steps.integer = true;
    ForwardTensor& remainder = tensor("R", {}, 0);
    ForwardTensor& ponder = tensor("ponder", {}, 0);
    for (size_t r = 0; r < in_call(); ++r) {
      const size_t at = place_of(r);
      steps.values.data()[at] = cell(r, HaltingColumn::kSteps);
      remainder.values.data()[at] = cell(r, HaltingColumn::kRemainder);
      ponder.values.data()[at] = cell(r, HaltingColumn::kSteps) + cell(r, HaltingColumn::kRemainder);
    }
  }

  const RecurrentModel* model_;
  Team* team_;
  const ForwardRequest* request_;
  size_t n_rows_, n_tokens_;
  std::vector<int> depths_;
  int largest_ = 0;
  int segment_len_ = 0;
  bool own_halting_ = false;
  bool deepest_ = true;                      // this pass is the one of the largest depth
  size_t call_first_ = 0, call_tokens_ = 0;  // tokens of every row that the call holds
  Mat<float> logits_, latent_;               // of a call that is not all tokens, or not emitted
  std::vector<RowMemory> memories_;
  ForwardResult result_;
};

}  // namespace

Result<ForwardResult> run_forward(const RecurrentModel& model, Team& team, const ForwardRequest& request) {
  if (request.rows.empty() || request.rows.front().empty()) return input_error("there are no tokens to run");
  return ForwardRun(model, team, request).run();
}

}  // namespace plumb
