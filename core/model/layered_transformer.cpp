#include "core/model/layered_transformer.h"

#include <cmath>

namespace plumb {

Result<LayeredBlock> load_layered_block(WeightLoader& loader, const LayeredBlockNames& names,
                                        const ModelInfo& info, int ff_dim) {
  const int64_t e = info.model_dim, q = int64_t{info.n_heads} * info.head_dim;
  const int64_t kv = int64_t{info.n_kv_heads} * info.head_dim, f = ff_dim;
  LayeredBlock block;
  PLUMB_ASSIGN(block.norm_1, loader.vector(names.norm_1, {e}));
  PLUMB_ASSIGN(block.norm_2, loader.vector(names.norm_2, {e}));
  PLUMB_ASSIGN(block.attention.qkv, loader.stacked({{names.q, q}, {names.k, kv}, {names.v, kv}}, e));
  PLUMB_ASSIGN(block.attention.proj, loader.linear(names.o, e, q));
  PLUMB_ASSIGN(block.feed_forward.fc, loader.stacked({{names.gate, f}, {names.up, f}}, e));
  PLUMB_ASSIGN(block.feed_forward.proj, loader.linear(names.down, e, f));
  return block;
}

LayeredTransformer::LayeredTransformer(LayeredParts parts) : parts_(std::move(parts)) {
  ModelInfo& info = parts_.info;
  const auto n_blocks = static_cast<int>(parts_.blocks.size());
  const auto d = static_cast<size_t>(info.head_dim);
  shape_ = {static_cast<size_t>(info.n_heads), static_cast<size_t>(info.n_kv_heads), d,
            static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)))};
  if (parts_.norm_heads) ones_.assign(d, 1.0F);
  info.axis = "blocks";
  info.distinct_blocks = true;
  info.state_dim = info.model_dim;
  info.layers = {0, n_blocks, 0};
  info.default_steps = info.max_steps = n_blocks;
  info.block_windows.clear();
  for (const LayeredBlock& block : parts_.blocks) {
    PLUMB_CHECK(block.rope < parts_.ropes.size());
    info.block_windows.push_back(static_cast<int>(block.window));
  }
  info.taps = {Tap::kEmbedding, Tap::kBlockOut, Tap::kAttentionOut, Tap::kQuery, Tap::kKey,
               Tap::kFeedForwardOut, Tap::kState, Tap::kLatent, Tap::kHeadInput, Tap::kLogits};
  const int64_t e = info.model_dim, b = n_blocks, heads = int64_t{info.n_heads} + info.n_kv_heads;
  info.parts = {{"embedding", int64_t{info.vocab_size} * e, false},
                {"attention", b * 2 * heads * info.head_dim * e, false, PartWork::kBlocks},
                {"feed-forward", b * 3 * parts_.ff_dim * e, false, PartWork::kBlocks},
                {"norms", (2 * b + 1) * e, false}};
  if (parts_.head)
    info.parts.push_back({"head", int64_t{info.vocab_size} * e, false, PartWork::kReadout});
}

std::unique_ptr<Workspace> LayeredTransformer::make_workspace(Team& team) const {
  return std::make_unique<LayeredWorkspace>(team);
}

Result<std::unique_ptr<SequenceCache>> LayeredTransformer::make_cache(std::shared_ptr<const KvPolicy> policy) const {
  if (policy != nullptr && policy->name() != "full")
    return input_error("cache strategy \"{}\" shares keys among the steps of a recurrent core; family {} has "
                       "distinct blocks and runs with \"full\" only",
                       policy->name(), parts_.info.family);
  return std::unique_ptr<SequenceCache>(
      std::make_unique<LayeredCache>(shape_.n_kv_heads * shape_.head_dim, parts_.info.block_windows));
}

Status LayeredTransformer::prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const {
  embed_rows(parts_.embedding.w, batch.ids, static_cast<float>(parts_.embed_scale), injected);
  fire(workspace.taps, Tap::kEmbedding, {}, injected);
  return ok_status();
}

void LayeredTransformer::initial_state(MatView<const float> injected, MatView<float> state) const {
  for (size_t i = 0; i < state.rows(); ++i)
    std::copy(injected.row(i), injected.row(i) + state.cols(), state.row(i));
}

// Groups may be at different steps, which here are different blocks: each run of groups at one
// step is a call of its own.
Status LayeredTransformer::step(const Batch& batch, Workspace& workspace, MatView<const float> /*injected*/,
                                MatView<float> state) const {
  auto& ws = static_cast<LayeredWorkspace&>(workspace);
  for (size_t begin = 0; begin < batch.groups.size();) {
    size_t end = begin + 1;
    while (end < batch.groups.size() && batch.groups[end].step == batch.groups[begin].step) ++end;
    const size_t first_row = batch.groups[begin].first_row;
    const size_t n_rows = batch.groups[end - 1].first_row + batch.groups[end - 1].n_rows - first_row;
    Batch& part = ws.part;
    part.ids = batch.ids.subspan(first_row, n_rows);
    part.groups.assign(batch.groups.begin() + static_cast<std::ptrdiff_t>(begin), batch.groups.begin() + static_cast<std::ptrdiff_t>(end));
    for (Group& group : part.groups) group.first_row -= first_row;
    run_block(part, ws, batch.groups[begin].step, state.rows_from(first_row, n_rows));
    begin = end;
  }
  return ok_status();
}

void LayeredTransformer::run_block(const Batch& batch, LayeredWorkspace& ws, int index, MatView<float> x) const {
  PLUMB_CHECK(index >= 0 && index < static_cast<int>(parts_.blocks.size()));
  const LayeredBlock& block = parts_.blocks[static_cast<size_t>(index)];
  const auto eps = static_cast<float>(parts_.norm_eps);
  const Place place{Stage::kCore, index, index};
  ws.normed.resize(x.rows(), x.cols());
  rms_norm_rows(*ws.team, x, block.norm_1, eps, ws.normed);
  attention(batch, ws, place, x);
  rms_norm_rows(*ws.team, x, block.norm_2, eps, ws.normed);
  feed_forward_branch(ws, ws.feed_forward, block.feed_forward, place, ws.normed, x);
  fire(ws.taps, Tap::kBlockOut, place, x);
  fire(ws.taps, Tap::kState, place, x);
}

// stream += Attn(normed)
void LayeredTransformer::attention(const Batch& batch, LayeredWorkspace& ws, const Place& place,
                                   MatView<float> stream) const {
  const LayeredBlock& block = parts_.blocks[static_cast<size_t>(place.block)];
  Team& team = *ws.team;
  AttentionWorkspace& scratch = ws.attention;
  const size_t n = stream.rows(), d = shape_.head_dim, n_rotated = shape_.n_heads + shape_.n_kv_heads;
  scratch.qkv.resize(n, (n_rotated + shape_.n_kv_heads) * d);
  scratch.attended.resize(n, shape_.n_heads * d);
  block.attention.qkv.apply(team, ws.normed, scratch.qkv);
  // q and k lie side by side with the same head width: one pass over both.
  const MatView<float> rotated = scratch.qkv.view().cols_from(0, n_rotated * d);
  if (parts_.norm_heads) {
    for_row_chunks(team, n, [&](size_t first, size_t count) {
      for (size_t i = first; i < first + count; ++i) {
        const MatView<float> heads(rotated.row(i), n_rotated, d);
        rms_norm(heads, ones_, static_cast<float>(parts_.norm_eps), heads);
      }
    });
  }
  rope_rows(team, batch, rotated, n_rotated, d, parts_.rope_layout, parts_.ropes[block.rope]);
  fire(ws.taps, Tap::kQuery, place, rotated.cols_from(0, shape_.n_heads * d));
  fire(ws.taps, Tap::kKey, place, rotated.cols_from(shape_.n_heads * d, shape_.n_kv_heads * d));
  plan(batch, ws, place.block);
  attend_like(block.attention.qkv, team, shape_, scratch.jobs);
  if (ws.taps != nullptr && ws.taps->wants(Tap::kAttentionOut, place)) {
    scratch.branch.resize(n, stream.cols());
    block.attention.proj.apply(team, scratch.attended, scratch.branch);
    ws.taps->show(Tap::kAttentionOut, place, scratch.branch);
    add_in_place(stream, scratch.branch);
    return;
  }
  block.attention.proj.apply(team, scratch.attended, stream, MatmulMode::kAdd);
}

// Where every row may look: the cache, or the rows of its own group.
void LayeredTransformer::plan(const Batch& batch, LayeredWorkspace& ws, int index) const {
  AttentionWorkspace& scratch = ws.attention;
  const size_t d = shape_.head_dim, q_dim = shape_.n_heads * d, kv_dim = shape_.n_kv_heads * d;
  const size_t window = parts_.blocks[static_cast<size_t>(index)].window;
  scratch.jobs.clear();
  if (scratch.keys.size() < batch.groups.size()) scratch.keys.resize(batch.groups.size());
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const Group& group = batch.groups[g];
    const auto rows = scratch.qkv.view().rows_from(group.first_row, group.n_rows);
    const auto out = scratch.attended.view().rows_from(group.first_row, group.n_rows);
    const MatView<const float> queries = rows.cols_from(0, q_dim), keys = rows.cols_from(q_dim, kv_dim),
                               values = rows.cols_from(q_dim + kv_dim, kv_dim);
    if (group.cache != nullptr) {
      static_cast<LayeredCache&>(*group.cache)
          .block(index)
          .append(group.first_pos, keys, values, queries, out, scratch.jobs);
      continue;
    }
    Mat<float>& panels = scratch.keys[g];
    panels.resize((group.n_rows + kKeyPanel - 1) / kKeyPanel, kv_dim * kKeyPanel);
    for_row_chunks(*ws.team, group.n_rows, [&](size_t first, size_t count) {
      put_keys(keys.rows_from(first, count), first, panels.data());
    }, kKeyPanel);
    scratch.jobs.push_back({queries, out, {panels.data(), values.data(), kv_dim, values.stride()}, 0, window});
  }
}

Status LayeredTransformer::readout(const Batch& /*batch*/, Workspace& workspace, MatView<const float> state,
                                   Readout mode, MatView<float> logits, MatView<float> latent) const {
  auto& ws = static_cast<LayeredWorkspace&>(workspace);
  const TapBus* taps = mode == Readout::kKeep ? ws.taps : nullptr;
  const Place place{Stage::kCoda, 0, 0};
  fire(taps, Tap::kLatent, place, state);
  for (size_t i = 0; i < latent.rows(); ++i)
    std::copy(state.row(i), state.row(i) + latent.cols(), latent.row(i));
  if (logits.empty()) return ok_status();
  ws.normed.resize(state.rows(), state.cols());
  rms_norm_rows(*ws.team, state, parts_.final_norm, static_cast<float>(parts_.norm_eps), ws.normed);
  fire(taps, Tap::kHeadInput, place, ws.normed);
  (parts_.head ? *parts_.head : parts_.embedding).apply(*ws.team, ws.normed, logits);
  if (parts_.logit_softcap != 0) {
    const auto cap = static_cast<float>(parts_.logit_softcap);
    for_row_chunks(*ws.team, logits.rows(), [&](size_t first, size_t count) {
      for (size_t i = first; i < first + count; ++i)
        for (float& z : logits.row_span(i)) z = cap * std::tanh(z / cap);
    }, 1);
  }
  fire(taps, Tap::kLogits, place, logits);
  return ok_status();
}

Status LayeredTransformer::set_noise(const StateNoise& noise) {
  if (noise.kind == StateNoise::Kind::kNone) return ok_status();
  return input_error("test-time noise acts on the recurrent state; family {} has none", parts_.info.family);
}

}  // namespace plumb
