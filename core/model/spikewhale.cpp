#include "core/model/spikewhale.h"

#include <algorithm>
#include <cmath>

#include "core/cache/kv_storage.h"
#include "core/model/blocks.h"
#include "core/model/spikewhale_names.h"
#include "core/model/spikewhale_weights.h"

namespace plumb {
namespace {

struct SpikeWhaleWorkspace : Workspace {
  using Workspace::Workspace;
  Mat<float> embedded;  // [n, model_dim] raw embeddings, where layers look at them
  Mat<float> streams;   // [n, n_streams * model_dim]
  Mat<float> input;     // [n, model_dim] what a branch reads
  Mat<float> normed;    // [n, model_dim]
  Mat<float> branch;    // [n, model_dim] what a branch adds
  EngramWorkspace engram;
  MlaWorkspace attention;
  FeedForwardWorkspace feed_forward;
  RefinementWorkspace refinement;
};

void copy_rows(MatView<const float> from, MatView<float> to) {
  for (size_t i = 0; i < to.rows(); ++i) std::copy_n(from.row(i), to.cols(), to.row(i));
}

class SpikeWhale final : public RecurrentModel {
 public:
  SpikeWhale(const SpikeWhaleConfig& config, const MlaSpec& attention, SpikeWhaleWeights weights,
             ModelInfo info)
      : config_(config), attention_(attention), w_(std::move(weights)), info_(std::move(info)) {}

  const ModelInfo& info() const override { return info_; }
  std::unique_ptr<Workspace> make_workspace(Team& team) const override {
    return std::make_unique<SpikeWhaleWorkspace>(team);
  }
  Result<std::unique_ptr<SequenceCache>> make_cache(
      std::shared_ptr<const KvPolicy> policy) const override;
  Status prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const override;
  void initial_state(MatView<const float> injected, MatView<float> state) const override {
    copy_rows(injected, state);
  }
  Status step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
              MatView<float> state) const override;
  Status readout(const Batch& batch, Workspace& workspace, MatView<const float> state, Readout mode,
                 MatView<float> logits, MatView<float> latent) const override;
  void keep_readout(const Batch& /*batch*/) const override {}
  Status set_noise(const StateNoise& noise) override;

 private:
  Status block(const Batch& batch, SpikeWhaleWorkspace& ws, int index) const;
  void read(SpikeWhaleWorkspace& ws, const HyperConnection& site) const;
  void write(SpikeWhaleWorkspace& ws, const HyperConnection& site) const;
  void mix(SpikeWhaleWorkspace& ws, MatView<float> x) const;
  float norm_eps() const { return static_cast<float>(config_.norm_eps); }

  SpikeWhaleConfig config_;
  MlaSpec attention_;
  SpikeWhaleWeights w_;
  ModelInfo info_;
};

Result<std::unique_ptr<SequenceCache>> SpikeWhale::make_cache(
    std::shared_ptr<const KvPolicy> policy) const {
  if (policy != nullptr && policy->name() != "full")
    return input_error(
        "cache strategy \"{}\" shares keys among the steps of a recurrent core; the {} of family "
        "{} keep "
        "no keys, so it runs with \"full\" only",
        policy->name(), info_.axis, info_.family);
  if (policy == nullptr) {
    PLUMB_ASSIGN(policy, make_kv_policy("full", CacheIndex::kRecurrence, info_.layers, 0));
  }
  const size_t kv_dim = attention_.shape.n_kv_heads * attention_.shape.head_dim;
  return std::unique_ptr<SequenceCache>(
      std::make_unique<KvCache>(info_.layers, KvFormat{1, kv_dim}, std::move(policy)));
}

// ws.input <- what the branch reads of the streams; without hyper-connections there is one stream.
void SpikeWhale::read(SpikeWhaleWorkspace& ws, const HyperConnection& site) const {
  if (config_.has_streams) read_streams(*ws.team, site.read, ws.streams, ws.input);
}

// The streams <- with ws.branch. Without hyper-connections ws.input is the stream.
void SpikeWhale::write(SpikeWhaleWorkspace& ws, const HyperConnection& site) const {
  if (config_.has_streams) return write_streams(*ws.team, site.write, ws.branch, ws.streams);
  for_row_chunks(*ws.team, ws.input.rows(), [&](size_t first, size_t count) {
    add_in_place(ws.input.view().rows_from(first, count), ws.branch.view().rows_from(first, count));
  });
}

void SpikeWhale::mix(SpikeWhaleWorkspace& ws, MatView<float> x) const {
  if (config_.has_streams) return read_streams(*ws.team, w_.out_mix, ws.streams, x);
  copy_rows(ws.input, x);
}

Status SpikeWhale::block(const Batch& batch, SpikeWhaleWorkspace& ws, int index) const {
  const SpikeWhaleBlock& w = w_.blocks[static_cast<size_t>(index)];
  const Place place{Stage::kPrelude, index, 0};
  Team& team = *ws.team;
  const size_t n = ws.input.rows(), e = ws.input.cols();

  read(ws, w.around_attention);
  if (config_.value_embed)
    for (size_t i = 0; i < n; ++i)
      for (size_t c = 0; c < e; ++c) ws.input(i, c) += w.value_gate * ws.embedded(i, c);
  rms_norm_rows(team, ws.input, w.attn_norm, norm_eps(), ws.normed);
  PLUMB_RETURN_IF_ERROR(mla_attention(batch, ws, ws.attention, attention_, w_.rope, w.attention,
                                      place, ws.normed, ws.branch));
  write(ws, w.around_attention);

  read(ws, w.around_ffn);
  rms_norm_rows(team, ws.input, w.ffn_norm, norm_eps(), ws.normed);
  ws.branch.fill(0);
  feed_forward_branch(ws, ws.feed_forward, w.feed_forward, place, ws.normed, ws.branch);
  write(ws, w.around_ffn);

  // One row a token: what the head would get if this were the last layer.
  if (ws.taps != nullptr && ws.taps->wants(Tap::kBlockOut, place)) {
    mix(ws, ws.branch);
    ws.taps->show(Tap::kBlockOut, place, ws.branch);
  }
  return ok_status();
}

Status SpikeWhale::prelude(const Batch& batch, Workspace& workspace,
                           MatView<float> injected) const {
  auto& ws = static_cast<SpikeWhaleWorkspace&>(workspace);
  const size_t n = injected.rows(), e = injected.cols();
  for (Mat<float>* rows : {&ws.input, &ws.normed, &ws.branch}) rows->resize(n, e);
  embed_rows(w_.embedding.w, batch.ids, 1.0F, ws.input);
  fire(ws.taps, Tap::kEmbedding, {}, ws.input);
  if (config_.value_embed) {
    ws.embedded.resize(n, e);
    copy_rows(ws.input, ws.embedded);
  }
  if (w_.engram) PLUMB_RETURN_IF_ERROR(w_.engram->add(batch, *ws.team, ws.engram, ws.input));
  if (config_.has_streams) {
    ws.streams.resize(n, static_cast<size_t>(config_.streams.n_streams) * e);
    split_streams(*ws.team, ws.input, ws.streams);
  }
  for (int index = 0; index < config_.n_layers; ++index)
    PLUMB_RETURN_IF_ERROR(block(batch, ws, index));
  mix(ws, injected);
  fire(ws.taps, Tap::kInjected, {}, injected);
  return ok_status();
}

Status SpikeWhale::step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
                        MatView<float> state) const {
  auto& ws = static_cast<SpikeWhaleWorkspace&>(workspace);
  if (!w_.refinement)
    return input_error(
        "this checkpoint has no HRM refinement (use_hrm_refine is false), so it runs 0 {} only",
        info_.axis);
  refine(batch, *ws.team, ws.refinement, *w_.refinement, norm_eps(), injected, state);
  fire(ws.taps, Tap::kState,
       {Stage::kCore, 0, batch.groups.empty() ? 0 : batch.groups.front().step}, state);
  return ok_status();
}

Status SpikeWhale::readout(const Batch& /*batch*/, Workspace& workspace, MatView<const float> state,
                           Readout mode, MatView<float> logits, MatView<float> latent) const {
  auto& ws = static_cast<SpikeWhaleWorkspace&>(workspace);
  const TapBus* taps = mode == Readout::kKeep ? ws.taps : nullptr;
  const Place place{Stage::kCoda, 0, 0};
  fire(taps, Tap::kLatent, place, state);
  if (!latent.empty()) copy_rows(state, latent);
  if (logits.empty()) return ok_status();
  ws.normed.resize(state.rows(), state.cols());
  rms_norm_rows(*ws.team, state, w_.final_norm, norm_eps(), ws.normed);
  fire(taps, Tap::kHeadInput, place, ws.normed);
  (w_.head ? *w_.head : w_.embedding).apply(*ws.team, ws.normed, logits);
  fire(taps, Tap::kLogits, place, logits);
  return ok_status();
}

Status SpikeWhale::set_noise(const StateNoise& noise) {
  if (noise.kind == StateNoise::Kind::kNone) return ok_status();
  return input_error("test-time noise acts on a drawn recurrent state; family {} defines its own",
                     info_.family);
}

MlaSpec attention_spec(const SpikeWhaleConfig& c) {
  MlaSpec spec;
  const auto d = static_cast<size_t>(c.head_dim);
  spec.shape = {static_cast<size_t>(c.n_heads), static_cast<size_t>(c.n_kv_heads), d,
                static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)))};
  spec.q_rank = static_cast<size_t>(c.q_rank);
  spec.o_rank = static_cast<size_t>(c.o_rank);
  spec.norm_eps = static_cast<float>(c.norm_eps);
  spec.norm_heads = c.norm_heads;
  spec.exclusive = c.exclusive;
  spec.erf = c.erf_attention;
  spec.erf_mask_always = c.erf_mask_always;
  return spec;
}

ModelInfo describe(const SpikeWhaleConfig& c) {
  ModelInfo info;
  info.family = "spikewhale";
  info.axis = "HRM refinement passes";
  info.model_dim = info.state_dim = c.model_dim;
  info.vocab_size = c.vocab_size;
  info.layers = {c.n_layers, 1, 0};
  info.n_heads = c.n_heads;
  info.n_kv_heads = c.n_kv_heads;
  info.head_dim = c.head_dim;
  info.default_steps = c.has_refinement ? c.refine_steps : 0;
  info.max_positions = c.max_positions;
  info.stop_ids = c.stop_ids;
  info.taps = {Tap::kEmbedding, Tap::kInjected,  Tap::kBlockOut,       Tap::kAttentionOut,
               Tap::kQuery,     Tap::kKey,       Tap::kFeedForwardOut, Tap::kLatent,
               Tap::kHeadInput, Tap::kLogits};
  if (c.has_refinement) info.taps.push_back(Tap::kState);
  info.open_switches = c.open_switches;
  info.notes = c.notes;
  if (c.has_refinement)
    info.notes.push_back(fmt::format(
        "trained with {} HRM refinement pass(es); more of them are extrapolation and use the last "
        "gate again",
        c.refine_steps));
  else
    info.notes.emplace_back("no HRM refinement in this checkpoint: 0 passes only");
  return info;
}

}  // namespace

std::vector<PartCount> spikewhale_parts(const SpikeWhaleConfig& c, int64_t training_heads) {
  const int64_t e = c.model_dim, v = c.vocab_size, layers = c.n_layers, d = c.head_dim;
  const int64_t q = int64_t{c.n_heads} * d, kv = int64_t{c.n_kv_heads} * d;
  const int64_t attention =
      c.q_rank * (e + 1 + q) + 2 * kv * e + c.o_rank * (q + e) + (c.norm_heads ? 2 * d : 0) +
      (c.erf_attention ? 3 * int64_t{c.n_heads} : 0) + (c.value_embed ? 1 : 0);
  std::vector<PartCount> parts = {{"embedding", v * e}};
  // Nearly all of the engram are tables, of which a token reads a few rows.
  if (c.has_engram)
    parts.push_back({"engram", c.engram.compress_dim * e +
                                   int64_t{c.engram.n_heads} * c.engram.table_size * e + 2 * e * e +
                                   4 * e});
  parts.push_back({"attention", layers * attention, false, PartWork::kPrelude});
  parts.push_back({"feed-forward", layers * 3 * c.ff_dim * e, false, PartWork::kPrelude});
  parts.push_back({"norms", (2 * layers + 1) * e});
  if (c.has_streams) parts.push_back({"hyper-connections", (4 * layers + 1) * c.streams.n_streams});
  if (c.has_refinement) {
    parts.push_back({"refinement", e + 3 * e * c.refine_dim, true, PartWork::kStep});
    parts.push_back({"refinement gates", c.refine_steps});
  }
  if (!c.tied) parts.push_back({"head", v * e, false, PartWork::kReadout});
  if (training_heads > 0) parts.push_back({"training heads", training_heads});
  return parts;
}

Result<std::unique_ptr<RecurrentModel>> load_spikewhale(const Checkpoint& checkpoint,
                                                        Precision precision, Team& team) {
  PLUMB_ASSIGN(const SpikeWhaleConfig config, read_spikewhale_config(checkpoint));
  WeightLoader loader(checkpoint, precision, team);
  const MlaSpec spec = attention_spec(config);
  ModelInfo info = describe(config);
  PLUMB_ASSIGN(SpikeWhaleWeights weights,
               load_spikewhale_weights(loader, config, spec, info.notes));
  int64_t training_heads = 0, stored = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    stored += static_cast<int64_t>(tensor.element_count());
    if (!is_training_head(tensor.name)) continue;
    training_heads += static_cast<int64_t>(tensor.element_count());
    loader.ignore(tensor.name);
  }
  PLUMB_RETURN_IF_ERROR(loader.finish());
  info.parts = spikewhale_parts(config, training_heads);
  int64_t unique = 0;
  for (const PartCount& part : info.parts) unique += part.parameters;
  if (stored != unique)
    info.notes.push_back(fmt::format(
        "{} numbers are stored, {} of them parameters: the rest are rope tables, hash projections "
        "and a copy of the tied head, as far as the file has them",
        stored, unique));
  return std::unique_ptr<RecurrentModel>(
      std::make_unique<SpikeWhale>(config, spec, std::move(weights), std::move(info)));
}

}  // namespace plumb
