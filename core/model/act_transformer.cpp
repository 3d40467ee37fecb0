#include "core/model/act_transformer.h"

#include <algorithm>
#include <cmath>

#include "core/model/act_block.h"
#include "core/model/act_halting.h"

namespace plumb {
namespace {

constexpr int32_t kEndOfText = 50256;  // of the GPT-2 vocabulary
constexpr int kGpt2Vocabulary = 50257;

class ActTransformer final : public RecurrentModel {
 public:
  Status load(const ActConfig& config, WeightLoader& loader);

  const ModelInfo& info() const override { return info_; }
  std::unique_ptr<Workspace> make_workspace(Team& team) const override { return std::make_unique<ActWorkspace>(team); }
  Result<std::unique_ptr<SequenceCache>> make_cache(std::shared_ptr<const KvPolicy> policy) const override;
  Status prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const override;
  void initial_state(MatView<const float> injected, MatView<float> state) const override;
  Status step(const Batch& batch, Workspace& workspace, MatView<const float> injected, MatView<float> state) const override;
  bool settled(const Batch& batch, MatView<const float> state) const override;
  Status readout(const Batch& batch, Workspace& workspace, MatView<const float> state, Readout mode,
                 MatView<float> logits, MatView<float> latent) const override;
  void keep_readout(const Batch& /*batch*/) const override {}
  Status set_noise(const StateNoise& noise) override;
  Status set_memory_len(int tokens) override;

 private:
  size_t model_dim() const { return static_cast<size_t>(config_.model_dim); }
  bool halts() const { return config_.halting != ActHalting::kNone; }
  void fill_info();
  void leave_buffers(WeightLoader& loader);
  void pick_rows(const Batch& batch, MatView<const float> state, ActWorkspace& ws) const;
  void advance_rows(const Batch& batch, const ActWorkspace& ws, MatView<float> state) const;
  void keep_rows(const Batch& batch, ActWorkspace& ws, MatView<const float> injected, MatView<const float> state) const;
  void outputs(MatView<const float> state, Mat<float>& output) const;

  ActConfig config_;
  ModelInfo info_;
  ActBlock block_;
  Linear embedding_;               // [vocab_size, model_dim]; also the head when tied
  std::optional<Linear> head_;
  std::vector<float> positions_;   // [max_positions, model_dim]; learned positions only
  std::optional<ActNorm> final_norm_;
  std::vector<float> halt_weight_; // [model_dim]
  float halt_bias_ = 0;
};

Status ActTransformer::load(const ActConfig& c, WeightLoader& loader) {
  config_ = c;
  const int64_t e = c.model_dim, v = c.vocab_size;
  PLUMB_ASSIGN(embedding_, loader.linear("tok_emb.weight", v, e));
  if (!c.tied) {
    PLUMB_ASSIGN(Linear head, loader.linear("lm_head.weight", v, e));
    head_ = std::move(head);
  } else {
    loader.ignore("lm_head.weight");  // a copy, as the config's reader has seen
  }
  if (c.position == ActPosition::kLearned) {
    PLUMB_ASSIGN(positions_, loader.vector("pos_emb.weight", {c.max_positions, e}));
  }
  PLUMB_RETURN_IF_ERROR(block_.load(c, loader));
  if (c.final_norm) {
    PLUMB_ASSIGN(ActNorm norm, ActNorm::load(c, loader, "norm_f"));
    final_norm_ = std::move(norm);
  }
  if (halts()) {
    PLUMB_ASSIGN(halt_weight_, loader.vector("halt.weight", {1, e}));
    PLUMB_ASSIGN(const std::vector<float> bias, loader.vector("halt.bias", {1}));
    halt_bias_ = bias[0];
  }
  fill_info();
  leave_buffers(loader);
  return loader.finish();
}

void ActTransformer::fill_info() {
  const ActConfig& c = config_;
  info_.family = "act";
  info_.axis = "recurrences";
  info_.model_dim = c.model_dim;
  info_.state_dim = 2 * c.model_dim + static_cast<int>(kHaltingColumns);
  info_.halting_column = 2 * c.model_dim;
  if (halts()) info_.gate_column = info_.halting_column + static_cast<int>(HaltingColumn::kGate);
  info_.vocab_size = c.vocab_size;
  info_.layers = {0, 1, 0};
  info_.n_heads = info_.n_kv_heads = c.n_heads;
  info_.head_dim = c.head_dim;
  info_.default_steps = info_.max_steps = c.max_steps;
  info_.min_steps = 1;
  info_.max_positions = c.max_positions;
  info_.halts_itself = halts();
  info_.segments = true;
  info_.segment_len = c.segment_len;
  info_.memory_len = c.memory == MemoryKind::kNone ? 0 : c.memory_len;
  info_.memory_of_last_step = c.memory == MemoryKind::kFinalOutput || c.memory == MemoryKind::kFinalState;
  if (c.vocab_size == kGpt2Vocabulary) info_.stop_ids = {kEndOfText};
  info_.open_switches = c.open_switches;
  info_.notes = c.notes;
  info_.taps = {Tap::kEmbedding, Tap::kInjected, Tap::kAdapterOut, Tap::kBlockOut, Tap::kAttentionOut, Tap::kQuery,
                Tap::kKey, Tap::kFeedForwardOut, Tap::kState, Tap::kLatent, Tap::kHeadInput, Tap::kLogits};
  if (halts()) info_.taps.push_back(Tap::kGate);
  const int64_t e = c.model_dim, q = int64_t{c.n_heads} * c.head_dim, f = c.ff_dim, norm = c.layer_norm ? 2 * e : e;
  info_.parts = {{"embedding", int64_t{c.vocab_size} * e, false}};
  if (c.position == ActPosition::kLearned) info_.parts.push_back({"positions", int64_t{c.max_positions} * e, false});
  if (c.step_embedding == ActStepEmbedding::kLearned) info_.parts.push_back({"step embedding", int64_t{c.max_steps} * e, false});
  info_.parts.push_back({"attention", 4 * q * e, true, PartWork::kStep});
  if (c.position == ActPosition::kRelative) info_.parts.push_back({"relative", q * e + 2 * q, true, PartWork::kStep});
  info_.parts.push_back({"feed-forward", 3 * e * f, true, PartWork::kStep});
  info_.parts.push_back({"block norms", 2 * norm, true});
  if (halts()) info_.parts.push_back({"halting", e + 1, true, PartWork::kStep});
  if (c.final_norm) info_.parts.push_back({"final norm", norm, false});
  if (!c.tied) info_.parts.push_back({"head", int64_t{c.vocab_size} * e, false, PartWork::kReadout});
}

void ActTransformer::leave_buffers(WeightLoader& loader) {
  std::string left;
  for (const TensorInfo& tensor : loader.checkpoint().tensors()) {
    if (!kActAliases.is_buffer(tensor.name)) continue;
    loader.ignore(tensor.name);
    left += fmt::format("{}{}", left.empty() ? "" : ", ", quote_name(tensor.name));
  }
  if (!left.empty()) info_.notes.push_back(fmt::format("tensors not used (rope tables, masks, FP8 scales): {}", left));
}

Result<std::unique_ptr<SequenceCache>> ActTransformer::make_cache(std::shared_ptr<const KvPolicy> policy) const {
  if (policy != nullptr && policy->name() != "full")
    return input_error("cache strategy \"{}\" chooses among the steps of a token, but a halted token of family {} supplies a "
                       "key at every step; expected \"full\"", policy->name(), info_.family);
  const MemoryShape shape{config_.memory, config_.memory_len, config_.max_steps, model_dim(),
                          static_cast<size_t>(config_.n_heads) * static_cast<size_t>(config_.head_dim), config_.inject};
  return std::unique_ptr<SequenceCache>(std::make_unique<SegmentMemory>(shape));
}

Status ActTransformer::prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const {
  auto& ws = static_cast<ActWorkspace&>(workspace);
  embed_rows(embedding_.w, batch.ids, static_cast<float>(config_.embed_scale), injected);
  fire(ws.taps, Tap::kEmbedding, {}, injected);
  if (!positions_.empty()) {
    for (const Group& group : batch.groups)
      for (size_t i = 0; i < group.n_rows; ++i) {
        const size_t at = (static_cast<size_t>(group.first_pos) + i) * model_dim();
        PLUMB_CHECK(at + model_dim() <= positions_.size());
        float* row = injected.row(group.first_row + i);
        for (size_t c = 0; c < model_dim(); ++c) row[c] += positions_[at + c];
      }
  }
  fire(ws.taps, Tap::kInjected, {}, injected);
  return ok_status();
}

void ActTransformer::initial_state(MatView<const float> injected, MatView<float> state) const {
  for (size_t r = 0; r < state.rows(); ++r) start_row(injected.row_span(r), state.row_span(r));
}

// Halted rows whose state is frozen need no block. A tap is shown every row.
void ActTransformer::pick_rows(const Batch& batch, MatView<const float> state, ActWorkspace& ws) const {
  ws.rows.clear();
  for (const Group& group : batch.groups)
    for (size_t r = group.first_row; r < group.first_row + group.n_rows; ++r) {
      const bool skips = halts() && group.own_halting && !config_.run_halted && !is_running(model_dim(), state.row_span(r));
      if (!skips || ws.taps != nullptr) ws.rows.push_back(r);
    }
}

void ActTransformer::advance_rows(const Batch& batch, const ActWorkspace& ws, MatView<float> state) const {
  for_row_chunks(*ws.team, batch.groups.size(), [&](size_t first_group, size_t n_groups) {
    for (size_t g = first_group; g < first_group + n_groups; ++g) {
      const Group& group = batch.groups[g];
      const size_t end = group.first_row + group.n_rows;
      size_t i = static_cast<size_t>(std::lower_bound(ws.rows.begin(), ws.rows.end(), group.first_row) - ws.rows.begin());
      for (size_t r = group.first_row; r < end; ++r) {
        ActStepRow step{.step = group.step, .own_halting = halts() && group.own_halting};
        if (i < ws.rows.size() && ws.rows[i] == r) step.z = {ws.stream.row(i++), model_dim()};
        if (!halt_weight_.empty() && !step.z.empty()) {
          const std::span<const float> h = config_.halt_before ? std::span<const float>(ws.entering.row(r), model_dim()) : step.z;
          const double x = static_cast<double>(dot(halt_weight_, h)) + halt_bias_;
          // The form that cannot overflow.
          step.p = x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
        }
        advance_row(config_, step, state.row_span(r));
      }
    }
  }, 1);
}

void ActTransformer::outputs(MatView<const float> state, Mat<float>& output) const {
  output.resize(state.rows(), model_dim());
  for (size_t r = 0; r < state.rows(); ++r) output_of_row(config_, state.row_span(r), output.view().row_span(r));
}

void ActTransformer::keep_rows(const Batch& batch, ActWorkspace& ws, MatView<const float> injected,
                               MatView<const float> state) const {
  const bool wants_output = config_.memory == MemoryKind::kFinalOutput;
  if (wants_output) outputs(state, ws.output);
  for (const Group& group : batch.groups) {
    if (group.cache == nullptr) continue;
    auto& memory = static_cast<SegmentMemory&>(*group.cache);
    for (size_t i = 0; i < group.n_rows; ++i) {
      const size_t r = group.first_row + i;
      memory.keep(group.first_pos + static_cast<int>(i), state.row_span(r).first(model_dim()), injected.row_span(r),
                  wants_output ? ws.output.view().row_span(r) : std::span<float>());
    }
  }
}

Status ActTransformer::step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
                            MatView<float> state) const {
  auto& ws = static_cast<ActWorkspace&>(workspace);
  for (const Group& group : batch.groups) PLUMB_CHECK(group.step < config_.max_steps);
  const Place place{Stage::kCore, 0, batch.groups.empty() ? 0 : batch.groups.front().step};
  block_.enter(batch, ws, injected, state);
  fire(ws.taps, Tap::kAdapterOut, place, ws.entering);
  pick_rows(batch, state, ws);
  block_.make_keys(batch, ws);
  block_.run(batch, ws, place);
  advance_rows(batch, ws, state);
  keep_rows(batch, ws, injected, state);
  fire(ws.taps, Tap::kState, place, state.cols_from(0, model_dim()));
  if (info_.gate_column >= 0) fire(ws.taps, Tap::kGate, place, state.cols_from(static_cast<size_t>(info_.gate_column), 1));
  return ok_status();
}

// A state that runs on is a key of later tokens at every step, so with a cache it runs to the end.
bool ActTransformer::settled(const Batch& batch, MatView<const float> state) const {
  for (const Group& group : batch.groups) {
    if (!halts() || !group.own_halting || (config_.run_halted && group.cache != nullptr)) return false;
    for (size_t r = group.first_row; r < group.first_row + group.n_rows; ++r)
      if (is_running(model_dim(), state.row_span(r))) return false;
  }
  return true;
}

Status ActTransformer::readout(const Batch& /*batch*/, Workspace& workspace, MatView<const float> state, Readout mode,
                               MatView<float> logits, MatView<float> latent) const {
  auto& ws = static_cast<ActWorkspace&>(workspace);
  Team& team = *ws.team;
  const TapBus* taps = mode == Readout::kKeep ? ws.taps : nullptr;
  const Place place{Stage::kCoda, 0, 0};
  outputs(state, ws.output);
  fire(taps, Tap::kLatent, place, ws.output);
  if (!latent.empty())
    for (size_t r = 0; r < latent.rows(); ++r) std::copy(ws.output.row(r), ws.output.row(r) + latent.cols(), latent.row(r));
  if (logits.empty()) return ok_status();
  Mat<float>& input = final_norm_ ? ws.head_input : ws.output;
  if (final_norm_) {
    input.resize(state.rows(), model_dim());
    final_norm_->apply(team, ws.output, input);
  }
  fire(taps, Tap::kHeadInput, place, input);
  (head_ ? *head_ : embedding_).apply(team, input, logits);
  if (config_.logit_softcap > 0) {
    const auto cap = static_cast<float>(config_.logit_softcap);
    for_row_chunks(team, logits.rows(), [&](size_t first, size_t count) {
      for (size_t r = first; r < first + count; ++r)
        for (float& x : logits.row_span(r)) x = cap * std::tanh(x / cap);
    }, 1);
  }
  fire(taps, Tap::kLogits, place, logits);
  return ok_status();
}

Status ActTransformer::set_noise(const StateNoise& noise) {
  if (noise.kind == StateNoise::Kind::kNone) return ok_status();
  return input_error("--noise has no meaning for family {}: it has no adapter before its steps", info_.family);
}

Status ActTransformer::set_memory_len(int tokens) {
  if (tokens < 0) return input_error("--mem-len is {}, expected 0 or more", tokens);
  if (config_.memory == MemoryKind::kNone && tokens > 0)
    return input_error("--mem-len is {}, but this model's config says \"memory\": \"none\"", tokens);
  config_.memory_len = info_.memory_len = tokens;
  block_.set_memory_len(tokens);
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<RecurrentModel>> load_act_as(const ActConfig& config, const Checkpoint& checkpoint,
                                                    Precision precision, Team& team) {
  WeightLoader loader(checkpoint, precision, team);
  auto model = std::make_unique<ActTransformer>();
  PLUMB_RETURN_IF_ERROR(model->load(config, loader));
  return std::unique_ptr<RecurrentModel>(std::move(model));
}

Result<std::unique_ptr<RecurrentModel>> load_act(const Checkpoint& given, Precision precision, Team& team) {
  CanonicalNames names;
  if (given.find("block.attn.wq.weight") == nullptr || given.find("tok_emb.weight") == nullptr) {
    PLUMB_ASSIGN(names, guess_names(kActAliases, given));
  }
  const Checkpoint& checkpoint = names.renamed ? *names.renamed : given;
  PLUMB_ASSIGN(ActConfig config, read_act_config(checkpoint));
  config.notes.insert(config.notes.begin(), names.notes.begin(), names.notes.end());
  return load_act_as(config, checkpoint, precision, team);
}

}  // namespace plumb
