#include "core/model/looped_transformer.h"

#include <cmath>

namespace plumb {
namespace {

// freqs_cis [1, n, 1, d/2, 2] as stored: the table the model was trained with.
Result<RopeTable> stored_rope(WeightLoader& loader, int n_positions, int half_dim) {
  PLUMB_ASSIGN(const std::vector<float> values,
               loader.vector("freqs_cis", {1, n_positions, 1, half_dim, 2}));
  const auto half = static_cast<size_t>(half_dim);
  Mat<float> cos(static_cast<size_t>(n_positions), half), sin(static_cast<size_t>(n_positions), half);
  for (size_t pos = 0; pos < cos.rows(); ++pos)
    for (size_t j = 0; j < half; ++j) {
      cos(pos, j) = values[(pos * half + j) * 2];
      sin(pos, j) = values[(pos * half + j) * 2 + 1];
    }
  return RopeTable(std::move(cos), std::move(sin));
}

}  // namespace

Status load_branches(WeightLoader& loader, const RavenConfig& config, const std::string& block,
                     FusedAttention& attention, FusedFeedForward& feed_forward) {
  const int64_t e = config.model_dim, d = config.head_dim(), ff = config.ff_dim;
  PLUMB_ASSIGN(attention.qkv, loader.linear(block + ".attn.Wqkv.weight",
                                            (config.n_heads + 2 * config.n_kv_heads) * d, e));
  PLUMB_ASSIGN(attention.proj, loader.linear(block + ".attn.proj.weight", e, e));
  PLUMB_ASSIGN(feed_forward.fc, loader.linear(block + ".mlp.fc.weight", 2 * ff, e));
  PLUMB_ASSIGN(feed_forward.proj, loader.linear(block + ".mlp.proj.weight", e, ff));
  return ok_status();
}

Status LoopedTransformer::load_shared(const RavenConfig& config, WeightLoader& loader) {
  config_ = config;
  const int64_t e = config.model_dim, v = config.vocab_size;
  const bool has_table = loader.has("transformer.wte.weight");
  PLUMB_ASSIGN(embedding_, loader.linear(has_table || !config.tied ? "transformer.wte.weight" : "lm_head.weight", v, e));
  if (!config.tied) {
    Linear head;
    PLUMB_ASSIGN(head, loader.linear("lm_head.weight", v, e));
    head_ = std::move(head);
  } else if (loader.has("lm_head.weight")) {
    // A tied head is published as a second copy; its shape is checked, the embedding is used.
    PLUMB_RETURN_IF_ERROR(loader.tensor("lm_head.weight", {v, e}));
  }
  PLUMB_ASSIGN(adapter_, loader.linear("transformer.adapter.weight", e, 2 * e));
  if (config.adapter_bias) {
    PLUMB_ASSIGN(adapter_bias_, loader.vector("transformer.adapter.bias", {e}));
  }
  PLUMB_ASSIGN(ln_f_, loader.vector("transformer.ln_f.weight", {e}));

  const auto d = static_cast<size_t>(config.head_dim());
  attention_spec_.shape = {static_cast<size_t>(config.n_heads), static_cast<size_t>(config.n_kv_heads), d,
                           static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)))};
  attention_spec_.rope = &rope_;
  if (loader.has("freqs_cis")) {
    PLUMB_ASSIGN(rope_, stored_rope(loader, config.max_positions, config.head_dim() / 2));
  } else {
    const size_t positions = config.max_positions > 0 ? static_cast<size_t>(config.max_positions)
                                                      : RopeTable::kMostTabulated;
    rope_ = RopeTable(rope_frequencies(d, config.rope_theta, config.rope_scaling),
                      std::min(positions, RopeTable::kMostTabulated));
  }
  return ok_status();
}

void LoopedTransformer::fill_info(const char* family) {
  const RavenConfig& c = config_;
  info_.family = family;
  info_.axis = "recurrences";
  info_.model_dim = info_.state_dim = c.model_dim;
  info_.vocab_size = c.vocab_size;
  info_.layers = {c.n_prelude, c.n_core, c.n_coda};
  info_.n_heads = c.n_heads;
  info_.n_kv_heads = c.n_kv_heads;
  info_.head_dim = c.head_dim();
  info_.default_steps = c.mean_recurrence;
  info_.max_positions = c.max_positions;
  info_.random_state = true;
  info_.state_std = c.state_std;
  info_.state_scale = c.embed_scale;
  info_.latent_is_normed = c.variant == RavenVariant::kHuginn;
  info_.stop_ids = {65504, 65505, 65508};
  info_.open_switches = c.open_switches;
  if (c.max_positions == 0) info_.trained_positions = c.trained_positions;
  info_.notes = c.notes;
  info_.taps = {Tap::kEmbedding, Tap::kInjected, Tap::kAdapterOut, Tap::kBlockOut, Tap::kAttentionOut,
                Tap::kQuery, Tap::kKey, Tap::kFeedForwardOut, Tap::kState, Tap::kLatent,
                Tap::kHeadInput, Tap::kLogits, Tap::kEntropy};
  const int64_t e = c.model_dim, q = e, kv = int64_t{c.n_kv_heads} * c.head_dim();
  const int64_t norms = c.variant == RavenVariant::kHuginn ? 4 : 2;
  const int64_t block = (q + 2 * kv) * e + e * e + 3 * int64_t{c.ff_dim} * e + norms * e +
                        (c.qk_bias ? 2 * q : 0);
  info_.parts = {{"embedding", int64_t{c.vocab_size} * e, false},
                 {"prelude", block * c.n_prelude, false, PartWork::kPrelude},
                 {"adapter", 2 * e * e + (c.adapter_bias ? e : 0), true, PartWork::kStep},
                 {"core", block * c.n_core, true, PartWork::kStep},
                 {"coda", block * c.n_coda, false, PartWork::kReadout},
                 {"final norm", e, false}};
  if (head_) info_.parts.push_back({"head", int64_t{c.vocab_size} * e, false, PartWork::kReadout});
}

std::unique_ptr<Workspace> LoopedTransformer::make_workspace(Team& team) const {
  return std::make_unique<LoopedWorkspace>(team);
}

Result<std::unique_ptr<SequenceCache>> LoopedTransformer::make_cache(
    std::shared_ptr<const KvPolicy> policy) const {
  // What --dtype bf16 multiplies with keys is rounded, so they are too: half of what decoding reads.
  const KvFormat format{attention_spec_.shape.n_kv_heads, attention_spec_.shape.head_dim, adapter_.round_inputs};
  return std::unique_ptr<SequenceCache>(std::make_unique<KvCache>(info_.layers, format, std::move(policy)));
}

Status LoopedTransformer::prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const {
  auto& ws = static_cast<LoopedWorkspace&>(workspace);
  embed_rows(embedding_.w, batch.ids, static_cast<float>(config_.embed_scale), injected);
  fire(ws.taps, Tap::kEmbedding, {}, injected);
  for (int j = 0; j < config_.n_prelude; ++j)
    PLUMB_RETURN_IF_ERROR(block(batch, ws, {Stage::kPrelude, j, 0}, injected));
  fire(ws.taps, Tap::kInjected, {}, injected);
  return ok_status();
}

void LoopedTransformer::initial_state(MatView<const float> /*injected*/, MatView<float> /*state*/) const {
  PLUMB_CHECK(false && "the initial state of this family is drawn by the caller");
}

Status LoopedTransformer::step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
                               MatView<float> state) const {
  auto& ws = static_cast<LoopedWorkspace&>(workspace);
  Team& team = *ws.team;
  const size_t n = state.rows(), e = state.cols();
  const int shown_step = batch.groups.empty() ? 0 : batch.groups.front().step;
  if (noise_.kind != StateNoise::Kind::kNone) {
    add_state_noise(noise_, noise_.amount * config_.state_std * config_.embed_scale,
                    config_.mean_recurrence, batch, state);
    renormalise(state);
  }
  ws.joined.resize(n, 2 * e);
  for_row_chunks(team, n, [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) {
      std::copy(state.row(i), state.row(i) + e, ws.joined.row(i));
      std::copy(injected.row(i), injected.row(i) + e, ws.joined.row(i) + e);
    }
  });
  adapter_.apply(team, ws.joined, state);
  if (!adapter_bias_.empty())
    for (size_t i = 0; i < n; ++i)
      for (size_t c = 0; c < e; ++c) state(i, c) += adapter_bias_[c];
  fire(ws.taps, Tap::kAdapterOut, {Stage::kCore, 0, shown_step}, state);
  for (int j = 0; j < config_.n_core; ++j)
    PLUMB_RETURN_IF_ERROR(block(batch, ws, {Stage::kCore, j, shown_step}, state));
  fire(ws.taps, Tap::kState, {Stage::kCore, 0, shown_step}, state);
  return ok_status();
}

Status LoopedTransformer::readout(const Batch& batch, Workspace& workspace, MatView<const float> state,
                                  Readout mode, MatView<float> logits, MatView<float> latent) const {
  auto& ws = static_cast<LoopedWorkspace&>(workspace);
  Team& team = *ws.team;
  const TapBus* taps = ws.taps;
  if (mode == Readout::kPeek) ws.taps = nullptr;
  ws.stream.resize(state.rows(), state.cols());
  enter_coda(team, state, ws.stream);
  if (!latent.empty())
    for (size_t i = 0; i < latent.rows(); ++i)
      std::copy(ws.stream.row(i), ws.stream.row(i) + latent.cols(), latent.row(i));
  fire(ws.taps, Tap::kLatent, {Stage::kCoda, 0, 0}, ws.stream);
  Status status = ok_status();
  for (int j = 0; j < config_.n_coda && status.ok(); ++j)
    status = block(batch, ws, {Stage::kCoda, j, 0}, ws.stream);
  if (status.ok() && !logits.empty()) {
    ws.normed.resize(state.rows(), state.cols());
    rms_norm_rows(team, ws.stream, ln_f_, static_cast<float>(config_.norm_eps), ws.normed);
    fire(ws.taps, Tap::kHeadInput, {Stage::kCoda, 0, 0}, ws.normed);
    (head_ ? *head_ : embedding_).apply(team, ws.normed, logits);
    fire(ws.taps, Tap::kLogits, {Stage::kCoda, 0, 0}, logits);
    fire_entropy(ws.taps, {Stage::kCoda, 0, 0}, logits);
  }
  ws.taps = taps;
  if (mode == Readout::kPeek)
    for (const Group& group : batch.groups)
      if (group.cache != nullptr)
        static_cast<KvCache&>(*group.cache).drop_coda(group.first_pos, static_cast<int>(group.n_rows));
  return status;
}

void LoopedTransformer::keep_readout(const Batch& batch) const {
  for (const Group& group : batch.groups)
    if (group.cache != nullptr)
      static_cast<KvCache&>(*group.cache).keep_coda(group.first_pos, static_cast<int>(group.n_rows), group.step);
}

Status LoopedTransformer::set_noise(const StateNoise& noise) {
  noise_ = noise;
  return ok_status();
}

}  // namespace plumb
