#include "core/decode/forward.h"

#include <algorithm>
#include <array>

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
    if (depths_.empty()) depths_ = {info.default_steps};
    for (int depth : depths_) PLUMB_RETURN_IF_ERROR(check_depth(info, depth));
    largest_ = *std::max_element(depths_.begin(), depths_.end());
    PLUMB_RETURN_IF_ERROR(check_emit(info));
    TapBus bus;
    TapWriter writer(request_->taps, result_);
    if (!request_->taps.empty()) PLUMB_RETURN_IF_ERROR(bus.subscribe(&writer, request_->taps, info.taps));
    PLUMB_ASSIGN(const StateSource states, StateSource::make(request_->state, info, StateSource::FileRows::kCall));

    DepthPass pass(*model_, *team_, request_->taps.empty() ? nullptr : &bus);
    std::vector<int32_t> ids;
    for (const auto& row : request_->rows) ids.insert(ids.end(), row.begin(), row.end());
    Batch batch;
    batch.ids = ids;
    for (size_t b = 0; b < n_rows_; ++b)
      batch.groups.push_back({.first_row = b * n_tokens_, .n_rows = n_tokens_, .sequence = static_cast<uint32_t>(b)});
    PLUMB_RETURN_IF_ERROR(pass.begin(std::move(batch), states));

    if (wants("exits")) start_exits(pass.state());
    PLUMB_RETURN_IF_ERROR(take(pass));
    while (pass.depth() < largest_) {
      PLUMB_RETURN_IF_ERROR(pass.advance());
      PLUMB_RETURN_IF_ERROR(take(pass));
    }
    return std::move(result_);
  }

 private:
  bool wants(const char* name) const { return request_->emit.contains(name); }
  size_t total() const { return n_rows_ * n_tokens_; }

  Status check_emit(const ModelInfo& info) const {
    for (const std::string& name : request_->emit) {
      if (name == "logits" || name == "latent" || name == "states" || name == "exits") continue;
      if (name == "hidden" && info.distinct_blocks) continue;
      if (name == "halting" && info.halts_itself) continue;
      return input_error("--emit \"{}\" is not something this family has; expected logits, latent, states, exits{}{}",
                         name, info.distinct_blocks ? ", hidden" : "", info.halts_itself ? ", halting" : "");
    }
    return ok_status();
  }

  ForwardTensor& tensor(const std::string& name, std::vector<int64_t> leading, size_t width) {
    ForwardTensor& made = result_[name];
    if (!made.shape.empty()) return made;
    made.shape = std::move(leading);
    made.shape.insert(made.shape.end(), {static_cast<int64_t>(n_rows_), static_cast<int64_t>(n_tokens_)});
    int64_t rows = 1;
    for (int64_t extent : made.shape) rows *= extent;
    if (width > 0) made.shape.push_back(static_cast<int64_t>(width));
    made.values = Mat<float>(static_cast<size_t>(rows), width > 0 ? width : 1);
    return made;
  }

  void store(ForwardTensor& target, size_t block, MatView<const float> rows) {
    for (size_t r = 0; r < rows.rows(); ++r)
      std::copy(rows.row(r), rows.row(r) + target.values.cols(), target.values.row(block * total() + r));
  }

  void start_exits(MatView<const float> state) {
    memories_.resize(total());
    for (size_t r = 0; r < total(); ++r)
      memories_[r].start(state.row_span(r).first(static_cast<size_t>(model_->info().model_dim)));
  }

  // Everything that is wanted of the state the pass is at.
  Status take(DepthPass& pass) {
    const ModelInfo& info = model_->info();
    const auto e = static_cast<size_t>(info.model_dim), v = static_cast<size_t>(info.vocab_size);
    const int depth = pass.depth();
    const auto view = pass.state().cols_from(0, e);
    if (wants("states")) store(tensor("states", {largest_ + 1}, e), static_cast<size_t>(depth), view);
    if (wants("hidden") && depth > 0) store(tensor(fmt::format("hidden.l{}", depth - 1), {}, e), 0, view);
    const bool listed = std::find(depths_.begin(), depths_.end(), depth) != depths_.end();
    const bool exits = wants("exits") && depth > 0;
    const bool logits = exits || (listed && wants("logits"));
    const bool latent = listed && wants("latent");
    const bool last = depth == largest_;
    if (!logits && !latent && !(last && !request_->taps.empty())) return ok_status();
    if (logits) logits_.resize(total(), v);
    if (latent) latent_.resize(total(), e);
    // Taps of the coda show the deepest readout; shallower ones only peek.
    PLUMB_RETURN_IF_ERROR(pass.read(last ? Readout::kKeep : Readout::kPeek, logits ? logits_.view() : MatView<float>(),
                                    latent ? latent_.view() : MatView<float>()));
    const std::string suffix = request_->depths.empty() ? "" : fmt::format(".r{}", depth);
    if (exits) PLUMB_RETURN_IF_ERROR(take_exits(pass, depth));
    if (listed && wants("logits")) store(tensor("logits" + suffix, {}, v), 0, logits_);
    if (latent) store(tensor("latent" + suffix, {}, e), 0, latent_);
    return ok_status();
  }

  Status take_exits(DepthPass& pass, int depth) {
    const ModelInfo& info = model_->info();
    std::vector<StepRow> rows(total());
    const auto state = pass.state();
    team_->run(total(), [&](size_t r) {
      thread_local StepScratch scratch;
      StepInput input;
      input.step = depth;
      input.state = state.row_span(r).first(static_cast<size_t>(info.model_dim));
      input.logits = logits_.view().row_span(r);
      if (info.gate_column >= 0) input.gate = state(r, static_cast<size_t>(info.gate_column));
      rows[r] = next_row(input, memories_[r], scratch);
    });
    const auto block = static_cast<size_t>(depth - 1) * total();
    for (const char* name : kExitCriteria) {
      ForwardTensor& target = tensor(fmt::format("exit.{}", name), {largest_}, 0);
      const Scalar* scalar = find_scalar(name);
      PLUMB_CHECK(scalar != nullptr);
      for (size_t r = 0; r < total(); ++r) target.values.data()[block + r] = static_cast<float>(scalar->value(rows[r]));
    }
    ForwardTensor& entropy = tensor("entropy", {largest_}, 0);
    for (size_t r = 0; r < total(); ++r) entropy.values.data()[block + r] = static_cast<float>(rows[r].entropy);
    return ok_status();
  }

  const RecurrentModel* model_;
  Team* team_;
  const ForwardRequest* request_;
  size_t n_rows_, n_tokens_;
  std::vector<int> depths_;
  int largest_ = 0;
  Mat<float> logits_, latent_;
  std::vector<RowMemory> memories_;
  ForwardResult result_;
};

}  // namespace

Result<ForwardResult> run_forward(const RecurrentModel& model, Team& team, const ForwardRequest& request) {
  if (request.rows.empty() || request.rows.front().empty()) return input_error("there are no tokens to run");
  return ForwardRun(model, team, request).run();
}

}  // namespace plumb
