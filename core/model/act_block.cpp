#include "core/model/act_block.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace plumb {
namespace {

constexpr size_t kTabulatedPositions = 8192;

void gather(MatView<const float> from, std::span<const size_t> rows, Mat<float>& to) {
  to.resize(rows.size(), from.cols());
  for (size_t i = 0; i < rows.size(); ++i) std::copy(from.row(rows[i]), from.row(rows[i]) + from.cols(), to.row(i));
}

// One row a head; some code stores them flat, heads one after the other.
Result<std::vector<float>> head_bias(WeightLoader& loader, const std::string& name, int64_t n_heads, int64_t head_dim) {
  const TensorInfo* info = loader.checkpoint().find(name);
  if (info != nullptr && info->shape.size() == 1) return loader.vector(name, {n_heads * head_dim});
  return loader.vector(name, {n_heads, head_dim});
}

}  // namespace

Result<ActNorm> ActNorm::load(const ActConfig& config, WeightLoader& loader, const std::string& name) {
  ActNorm norm;
  norm.eps = static_cast<float>(config.norm_eps);
  PLUMB_ASSIGN(norm.weight, loader.vector(name + ".weight", {config.model_dim}));
  if (config.layer_norm) {
    PLUMB_ASSIGN(norm.bias, loader.vector(name + ".bias", {config.model_dim}));
  }
  return norm;
}

void ActNorm::apply(Team& team, MatView<const float> x, MatView<float> y) const {
  if (bias.empty()) return rms_norm_rows(team, x, weight, eps, y);
  for_row_chunks(team, x.rows(), [&](size_t first, size_t count) {
    layer_norm(x.rows_from(first, count), weight, bias, eps, y.rows_from(first, count));
  });
}

Status ActBlock::load(const ActConfig& c, WeightLoader& loader) {
  config_ = c;
  const int64_t e = c.model_dim, q = int64_t{c.n_heads} * c.head_dim, f = c.ff_dim;
  const auto heads = static_cast<size_t>(c.n_heads), d = static_cast<size_t>(c.head_dim);
  shape_ = {heads, heads, d, static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)))};
  PLUMB_ASSIGN(norm_1_, ActNorm::load(c, loader, "block.norm1"));
  PLUMB_ASSIGN(norm_2_, ActNorm::load(c, loader, "block.norm2"));
  PLUMB_ASSIGN(query_, loader.linear("block.attn.wq.weight", q, e));
  PLUMB_ASSIGN(key_value_, loader.stacked({{"block.attn.wk.weight", q}, {"block.attn.wv.weight", q}}, e));
  PLUMB_ASSIGN(out_, loader.linear("block.attn.wo.weight", e, q));
  PLUMB_ASSIGN(feed_forward_.fc, loader.stacked({{"block.mlp.gate.weight", f}, {"block.mlp.up.weight", f}}, e));
  PLUMB_ASSIGN(feed_forward_.proj, loader.linear("block.mlp.down.weight", e, f));
  if (c.position == ActPosition::kRelative) {
    PLUMB_ASSIGN(distance_, loader.linear("block.attn.wr.weight", q, e));
    PLUMB_ASSIGN(content_bias_, head_bias(loader, "block.attn.u", c.n_heads, c.head_dim));
    PLUMB_ASSIGN(position_bias_, head_bias(loader, "block.attn.v", c.n_heads, c.head_dim));
  } else if (c.position == ActPosition::kRope) {
    rope_ = RopeTable(rope_frequencies(d, c.rope_theta), kTabulatedPositions);
  }
  if (c.step_embedding == ActStepEmbedding::kLearned) {
    PLUMB_ASSIGN(step_embedding_, loader.vector("step_emb.weight", {c.max_steps, e}));
  } else if (c.step_embedding == ActStepEmbedding::kSinusoidal) {
    const auto width = static_cast<size_t>(e);
    step_embedding_.resize(static_cast<size_t>(c.max_steps) * width);
    for (size_t step = 0; step < static_cast<size_t>(c.max_steps); ++step)
      sinusoid(step, std::span(step_embedding_).subspan(step * width, width));
  }
  return ok_status();
}

void ActBlock::enter_row(int step, std::span<const float> state, std::span<const float> injected, std::span<float> out) const {
  std::copy(state.begin(), state.end(), out.begin());
  const size_t d = out.size(), at = static_cast<size_t>(step) * d;
  if (!step_embedding_.empty())
    for (size_t c = 0; c < d; ++c) out[c] += step_embedding_[at + c];
  if (config_.inject && step > 0)
    for (size_t c = 0; c < d; ++c) out[c] += injected[c];
}

void ActBlock::enter(const Batch& batch, ActWorkspace& ws, MatView<const float> injected, MatView<const float> state) const {
  const auto d = static_cast<size_t>(config_.model_dim);
  ws.entering.resize(state.rows(), d);
  ws.positions.resize(state.rows());
  for (const Group& group : batch.groups)
    for (size_t i = 0; i < group.n_rows; ++i) {
      const size_t r = group.first_row + i;
      enter_row(group.step, state.row_span(r).first(d), injected.row_span(r), ws.entering.view().row_span(r));
      ws.positions[r] = group.first_pos + static_cast<int>(i);
    }
}

void ActBlock::rotate(Team& team, MatView<float> rows, std::span<const int> positions) const {
  if (config_.position != ActPosition::kRope) return;
  for_row_chunks(team, rows.rows(), [&](size_t first, size_t count) {
    thread_local std::vector<float> scratch;
    scratch.resize(2 * rope_.half_dim());
    for (size_t i = first; i < first + count; ++i) {
      const float* cos = nullptr;
      const float* sin = nullptr;
      rope_.at(static_cast<size_t>(positions[i]), scratch, &cos, &sin);
      apply_rope(rows.row_span(i), shape_.n_heads, shape_.head_dim, config_.rope_layout, cos, sin, rope_.half_dim());
    }
  });
}

void ActBlock::project_keys(Team& team, MatView<const float> entering, std::span<const int> positions, Mat<float>& normed,
                            Mat<float>& key_value) const {
  key_value.resize(entering.rows(), 2 * width());
  if (config_.post_norm) {
    key_value_.apply(team, entering, key_value);
  } else {
    normed.resize(entering.rows(), entering.cols());
    norm_1_.apply(team, entering, normed);
    key_value_.apply(team, normed, key_value);
  }
  rotate(team, key_value.view().cols_from(0, width()), positions);
}

// A halted token supplies a key at every step: where nobody has asked for it so far, it is made now.
void ActBlock::complete(SegmentMemory& memory, int step, int end, ActWorkspace& ws) const {
  std::vector<int> missing = memory.missing(step, end);
  std::erase_if(missing, [&](int pos) {
    const bool same_as_before = step > 0 && memory.enters_as_is(pos);
    if (same_as_before) memory.repeat(step, pos);
    return same_as_before;
  });
  if (missing.empty()) return;
  ws.late.resize(missing.size(), static_cast<size_t>(config_.model_dim));
  for (size_t i = 0; i < missing.size(); ++i) {
    const int pos = missing[i];
    const auto target = ws.late.view().row_span(i);
    if (!memory.enters_as_is(pos)) {
      enter_row(step, memory.row(pos), config_.inject ? memory.injected(pos) : std::span<const float>(), target);
    } else {
      const auto row = memory.row(pos);
      std::copy(row.begin(), row.end(), target.begin());
    }
  }
  project_keys(*ws.team, ws.late, missing, ws.late_normed, ws.late_key_value);
  const auto rows = ws.late_key_value.view();
  for (size_t i = 0; i < missing.size(); ++i)
    memory.put(step, missing[i], rows.row_span(i).first(width()), rows.row_span(i).last(width()));
}

void ActBlock::make_keys(const Batch& batch, ActWorkspace& ws) const {
  project_keys(*ws.team, ws.entering, ws.positions, ws.normed, ws.key_value);
  const auto rows = ws.key_value.view();
  ws.panels.resize(std::max(ws.panels.size(), batch.groups.size()));
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const Group& group = batch.groups[g];
    if (group.cache != nullptr) {
      auto& memory = static_cast<SegmentMemory&>(*group.cache);
      complete(memory, group.step, group.first_pos, ws);
      for (size_t i = 0; i < group.n_rows; ++i) {
        const auto row = rows.row_span(group.first_row + i);
        memory.put(group.step, ws.positions[group.first_row + i], row.first(width()), row.last(width()));
      }
      continue;
    }
    Mat<float>& panels = ws.panels[g];
    panels.resize((group.n_rows + kKeyPanel - 1) / kKeyPanel, width() * kKeyPanel);
    put_keys(rows.rows_from(group.first_row, group.n_rows).cols_from(0, width()), 0, panels.data());
  }
}

// One job for every run of neighbouring rows.
void ActBlock::plan(const Batch& batch, ActWorkspace& ws) const {
  ws.jobs.clear();
  const auto value_rows = ws.key_value.view().cols_from(width(), width());
  size_t next = 0;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const Group& group = batch.groups[g];
    const size_t group_end = group.first_row + group.n_rows;
    AttentionJob job;
    size_t index = 0;  // of the group's first row among its keys
    if (group.cache != nullptr) {
      const auto& memory = static_cast<const SegmentMemory&>(*group.cache);
      job.kv = memory.view(group.step);
      job.first_key = memory.index_of(memory.first_visible());
      index = memory.index_of(group.first_pos);
      job.window = config_.same_length ? static_cast<size_t>(memory.memory_len()) + 1 : 0;
    } else {
      job.kv = {ws.panels[g].data(), value_rows.row(group.first_row), width(), value_rows.stride()};
      job.window = config_.same_length ? static_cast<size_t>(config_.memory_len) + 1 : 0;
    }
    while (next < ws.rows.size() && ws.rows[next] < group_end) {
      const size_t begin = next++;
      while (next < ws.rows.size() && ws.rows[next] < group_end && ws.rows[next] == ws.rows[next - 1] + 1) ++next;
      job.queries = ws.query.view().rows_from(begin, next - begin);
      job.out = ws.attended.view().rows_from(begin, next - begin);
      job.n_before = index + ws.rows[begin] - group.first_row;
      ws.jobs.push_back(job);
    }
  }
}

void ActBlock::need_distances(ActWorkspace& ws, size_t n) const {
  if (n <= ws.n_distances) return;
  size_t n_panels = std::max<size_t>(4, ws.distances.rows());
  while (n_panels * kKeyPanel < n) n_panels *= 2;
  const size_t n_rows = n_panels * kKeyPanel;
  Mat<float> waves(n_rows, static_cast<size_t>(config_.model_dim)), projected(n_rows, width());
  for (size_t d = 0; d < n_rows; ++d) sinusoid(d, waves.view().row_span(d));
  distance_.apply(*ws.team, waves, projected);
  ws.distances = Mat<float>(n_panels, width() * kKeyPanel);
  put_keys(projected, 0, ws.distances.data());
  ws.n_distances = n_rows;
}

void ActBlock::attention(const Batch& batch, ActWorkspace& ws, const Place& place) const {
  Team& team = *ws.team;
  const size_t m = ws.rows.size();
  ws.query.resize(m, width());
  ws.attended.resize(m, width());
  gather(config_.post_norm ? ws.entering : ws.normed, ws.rows, ws.picked);
  query_.apply(team, ws.picked, ws.query);
  rotate(team, ws.query, ws.row_positions);
  fire(ws.taps, Tap::kQuery, place, ws.query);
  fire(ws.taps, Tap::kKey, place, ws.key_value.view().cols_from(0, width()));
  plan(batch, ws);
  if (config_.position == ActPosition::kRelative) {
    size_t n = 0;
    for (const AttentionJob& job : ws.jobs) {
      const size_t end = job.n_before + job.queries.rows();
      n = std::max(n, end - job.first_key);
    }
    need_distances(ws, n);
    attend_relative(team, shape_, {content_bias_, position_bias_, ws.distances.data(), ws.n_distances}, ws.jobs);
  } else {
    attend_like(query_, team, shape_, ws.jobs);
  }
  if (ws.taps != nullptr && ws.taps->wants(Tap::kAttentionOut, place)) {
    ws.branch.resize(m, ws.stream.cols());
    out_.apply(team, ws.attended, ws.branch);
    ws.taps->show(Tap::kAttentionOut, place, ws.branch);
    add_in_place(ws.stream, ws.branch);
    return;
  }
  out_.apply(team, ws.attended, ws.stream, MatmulMode::kAdd);
}

void ActBlock::run(const Batch& batch, ActWorkspace& ws, const Place& place) const {
  gather(ws.entering, ws.rows, ws.stream);
  ws.row_positions.resize(ws.rows.size());
  for (size_t i = 0; i < ws.rows.size(); ++i) ws.row_positions[i] = ws.positions[ws.rows[i]];
  attention(batch, ws, place);
  if (config_.post_norm) {
    norm_1_.apply(*ws.team, ws.stream, ws.stream);
    feed_forward_branch(ws, ws.feed_forward, feed_forward_, place, ws.stream, ws.stream);
    norm_2_.apply(*ws.team, ws.stream, ws.stream);
  } else {
    ws.picked.resize(ws.rows.size(), ws.stream.cols());
    norm_2_.apply(*ws.team, ws.stream, ws.picked);
    feed_forward_branch(ws, ws.feed_forward, feed_forward_, place, ws.picked, ws.stream);
  }
  fire(ws.taps, Tap::kBlockOut, place, ws.stream);
}

}  // namespace plumb
