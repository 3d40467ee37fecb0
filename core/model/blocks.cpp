#include "core/model/blocks.h"

#include "core/cache/kv_storage.h"
#include "core/kernels/attend_bf16.h"
#include "core/kernels/distribution.h"
#include "core/kernels/gated.h"
#include "core/kernels/gated_bf16.h"

namespace plumb {

void rms_norm_rows(Team& team, MatView<const float> x, std::span<const float> weight, float eps,
                   MatView<float> y) {
  for_row_chunks(team, x.rows(), [&](size_t first, size_t count) {
    rms_norm(x.rows_from(first, count), weight, eps, y.rows_from(first, count));
  });
}

void fire_entropy(const TapBus* bus, const Place& place, MatView<const float> logits) {
  if (bus == nullptr || !bus->wants(Tap::kEntropy, place)) return;
  Mat<float> entropy(logits.rows(), 1);
  std::vector<float> shifted(logits.cols());
  for (size_t r = 0; r < logits.rows(); ++r)
    entropy(r, 0) = static_cast<float>(read_distribution(logits.row_span(r), shifted).entropy);
  bus->show(Tap::kEntropy, place, entropy);
}

namespace {

// Stores the rows of groups [first, end), which share a cache.
void store_run(const Batch& batch, size_t first, size_t end, const Place& place,
               MatView<float> keys, MatView<float> values, AttentionWorkspace& scratch) {
  for (size_t g = first; g < end; ++g) {
    const Group& group = batch.groups[g];
    auto& cache = static_cast<KvCache&>(*group.cache);
    const auto group_keys = keys.rows_from(group.first_row, group.n_rows);
    const auto group_values = values.rows_from(group.first_row, group.n_rows);
    for (size_t i = 0; i < group.n_rows && cache.rounded(); ++i) {
      round_to_bf16(group_keys.row_span(i));
      round_to_bf16(group_values.row_span(i));
    }
    Place here = place;
    if (place.stage != Stage::kPrelude) here.step = group.step;
    scratch.reads[g] = cache.append(here, group.first_pos, group_keys, group_values);
  }
}

// A whole sequence: its keys are put in panels here, its values are read where they are.
KvView panels_of(Team& team, MatView<const float> keys, MatView<const float> values,
                 Mat<float>& panels) {
  panels.resize((keys.rows() + kKeyPanel - 1) / kKeyPanel, keys.cols() * kKeyPanel);
  for_row_chunks(team, keys.rows(), [&](size_t first, size_t count) {
    put_keys(keys.rows_from(first, count), first, panels.data());
  });
  return {panels.data(), values.data(), keys.cols(), values.stride()};
}

}  // namespace

Result<std::span<const AttentionJob>> plan_attention(const Batch& batch, Workspace& workspace,
                                                     AttentionWorkspace& scratch, const Place& place,
                                                     MatView<const float> queries,
                                                     MatView<float> keys, MatView<float> values,
                                                     MatView<float> out) {
  const std::vector<Group>& groups = batch.groups;
  scratch.jobs.clear();
  scratch.runs.clear();
  scratch.reads.assign(groups.size(), std::nullopt);
  if (scratch.keys.size() < groups.size()) scratch.keys.resize(groups.size());
  for (size_t g = 0; g < groups.size(); ++g)
    if (groups[g].cache != nullptr && (g == 0 || groups[g].cache != groups[g - 1].cache))
      scratch.runs.push_back(g);
  const auto end_of_run = [&](size_t g) {
    while (g + 1 < groups.size() && groups[g + 1].cache == groups[g].cache) ++g;
    return g + 1;
  };
  workspace.team->run(scratch.runs.size(), [&](size_t run) {
    const size_t first = scratch.runs[run];
    store_run(batch, first, end_of_run(first), place, keys, values, scratch);
  });
  for (size_t g = 0; g < groups.size();) {
    const bool cached = groups[g].cache != nullptr;
    const size_t end = cached ? end_of_run(g) : g + 1;
    const size_t first_row = groups[g].first_row;
    const size_t n_rows = groups[end - 1].first_row + groups[end - 1].n_rows - first_row;
    AttentionJob job;
    job.queries = queries.rows_from(first_row, n_rows);
    job.out = out.rows_from(first_row, n_rows);
    if (cached) {
      for (size_t i = g; i < end; ++i)
        if (!scratch.reads[i]->ok()) return scratch.reads[i]->error();
      job.kv = scratch.reads[end - 1]->value().view;
      job.n_before = scratch.reads[end - 1]->value().n_before;
    } else {
      job.kv = panels_of(*workspace.team, keys.rows_from(first_row, n_rows),
                         values.rows_from(first_row, n_rows), scratch.keys[g]);
    }
    if (end > g + 1) {
      job.own_keys = keys.rows_from(first_row, n_rows);
      job.own_values = values.rows_from(first_row, n_rows);
    }
    scratch.jobs.push_back(job);
    g = end;
  }
  return std::span<const AttentionJob>(scratch.jobs);
}

void rope_rows(Team& team, const Batch& batch, MatView<float> rows, size_t n_heads, size_t head_dim,
               RopeLayout layout, const RopeTable& table, std::span<const float> bias) {
  thread_local std::vector<size_t> positions_of_rows;
  std::vector<size_t>& positions = positions_of_rows;  // the caller's, not those of other threads
  positions.resize(rows.rows());
  for (const Group& group : batch.groups)
    for (size_t i = 0; i < group.n_rows; ++i)
      positions[group.first_row + i] = static_cast<size_t>(group.first_pos) + i;
  for_row_chunks(team, rows.rows(), [&](size_t first, size_t count) {
    thread_local std::vector<float> scratch;
    scratch.resize(2 * table.half_dim());
    for (size_t i = first; i < first + count; ++i) {
      if (!bias.empty()) add_row(bias, rows.row_span(i));
      const float* cos = nullptr;
      const float* sin = nullptr;
      table.at(positions[i], scratch, &cos, &sin);
      apply_rope(rows.row_span(i), n_heads, head_dim, layout, cos, sin, table.half_dim());
    }
  });
}

void attend_like(const Linear& projection, Team& team, const AttentionShape& shape,
                 std::span<const AttentionJob> jobs) {
  if (projection.round_inputs) return attend_bf16(team, shape, jobs);
  attend(team, shape, jobs);
}

Status attention_branch(const Batch& batch, Workspace& workspace, AttentionWorkspace& scratch,
                        const AttentionSpec& spec, const FusedAttention& weights, const Place& place,
                        MatView<const float> x, MatView<float> stream) {
  Team& team = *workspace.team;
  const size_t n = x.rows(), d = spec.shape.head_dim;
  const size_t q_dim = spec.shape.n_heads * d, kv_dim = spec.shape.n_kv_heads * d;
  scratch.qkv.resize(n, q_dim + 2 * kv_dim);
  scratch.attended.resize(n, q_dim);
  weights.qkv.apply(team, x, scratch.qkv);
  const MatView<float> qkv = scratch.qkv.view();
  const MatView<float> q = qkv.cols_from(0, q_dim), k = qkv.cols_from(q_dim, kv_dim),
                       v = qkv.cols_from(q_dim + kv_dim, kv_dim);
  // q and k lie side by side with the same head width: one rotation covers both.
  rope_rows(team, batch, qkv.cols_from(0, q_dim + kv_dim), spec.shape.n_heads + spec.shape.n_kv_heads,
            d, spec.layout, *spec.rope, weights.qk_bias);
  fire(workspace.taps, Tap::kQuery, place, q);
  fire(workspace.taps, Tap::kKey, place, k);
  PLUMB_ASSIGN(const auto jobs, plan_attention(batch, workspace, scratch, place, q, k, v, scratch.attended));
  attend_like(weights.qkv, team, spec.shape, jobs);
  if (workspace.taps != nullptr && workspace.taps->wants(Tap::kAttentionOut, place)) {
    scratch.branch.resize(n, stream.cols());
    weights.proj.apply(team, scratch.attended, scratch.branch);
    workspace.taps->show(Tap::kAttentionOut, place, scratch.branch);
    add_in_place(stream, scratch.branch);
    return ok_status();
  }
  weights.proj.apply(team, scratch.attended, stream, MatmulMode::kAdd);
  return ok_status();
}

namespace {

// y = proj( silu(gate x) * (up x) ) or y += it.
void feed_forward(Team& team, FeedForwardWorkspace& scratch, const FusedFeedForward& weights,
                  MatView<const float> x, MatView<float> y, MatmulMode mode) {
  const size_t n = x.rows(), ff_dim = weights.proj.w.n_in();
  if (weights.fc.round_inputs && weights.proj.round_inputs && can_gate_bf16(n, weights.fc.w))
    return gated_bf16(team, x, weights.fc.w, weights.proj.w, y, mode);
  scratch.hidden.resize(n, ff_dim);
  if (!weights.fc.round_inputs && !weights.proj.round_inputs && can_gate(weights.fc.w))
    return gated(team, x, weights.fc.w, weights.proj.w, scratch.hidden, y, mode);
  scratch.gate_up.resize(n, 2 * ff_dim);
  weights.fc.apply(team, x, scratch.gate_up);
  for_row_chunks(team, n, [&](size_t first, size_t count) {
    silu_gate(scratch.gate_up.view().rows_from(first, count), scratch.hidden.view().rows_from(first, count));
  }, 4);
  weights.proj.apply(team, scratch.hidden, y, mode);
}

}  // namespace

void feed_forward_branch(Workspace& workspace, FeedForwardWorkspace& scratch,
                         const FusedFeedForward& weights, const Place& place,
                         MatView<const float> x, MatView<float> stream) {
  Team& team = *workspace.team;
  if (workspace.taps != nullptr && workspace.taps->wants(Tap::kFeedForwardOut, place)) {
    scratch.branch.resize(x.rows(), stream.cols());
    feed_forward(team, scratch, weights, x, scratch.branch, MatmulMode::kReplace);
    workspace.taps->show(Tap::kFeedForwardOut, place, scratch.branch);
    add_in_place(stream, scratch.branch);
    return;
  }
  feed_forward(team, scratch, weights, x, stream, MatmulMode::kAdd);
}

}  // namespace plumb
