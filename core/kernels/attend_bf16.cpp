#include "core/kernels/attend_bf16.h"

#include <algorithm>
#include <numbers>
#include <vector>

#include "core/kernels/bf16_rounding.h"
#include "core/kernels/bf16_units.h"

namespace plumb {
namespace {

constexpr size_t kMostBlockRows = 2 * kTileRows;
// Two tiles of rows share every tile of keys; four times six rows those that dots read.
constexpr size_t block_rows(Bf16Unit unit) {
  return unit == Bf16Unit::kTiles ? kMostBlockRows : 24;
}
constexpr size_t kKeysPerTask = 128;

constexpr size_t round_down(size_t n, size_t step) { return n / step * step; }
constexpr size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

bool rounds_for(const AttentionJob& job) {
  return job.queries.rows() >= kFewestRoundedRows && !job.alternatives();
}

// A job's keys and values as the units read them, shared by all its rows.
struct RoundedJob {
  const AttentionJob* job = nullptr;
  size_t first = 0;        // position of the first key kept, a multiple of 32
  size_t n_keys = 0;       // kept, a multiple of 32
  BF16* keys = nullptr;    // [n_kv_heads][n_keys / 16][depth / 2][16][2]
  BF16* values = nullptr;  // [n_kv_heads][columns / 16][n_keys / 2][16][2]
};

struct RoundedHeads {
  Bf16Unit unit;
  AttentionShape shape;
  size_t group, depth,
      columns;  // query heads a key head; head_dim in whole tiles of either product

  RoundedHeads(Bf16Unit u, const AttentionShape& s)
      : unit(u),
        shape(s),
        group(s.n_heads / s.n_kv_heads),
        depth(round_up(s.head_dim, kTileDepth)),
        columns(round_up(s.head_dim, 16)) {}
};

void round_cache(const RoundedHeads& heads, const RoundedJob& rounded, size_t kv_head,
                 size_t chunk) {
  const AttentionJob& job = *rounded.job;
  HeadSource source{job.kv, kv_head, heads.shape.head_dim, first_key_of(job, job.n_before + 1),
                    job.n_before + job.queries.rows()};
  const size_t from = chunk * kKeysPerTask, to = std::min(rounded.n_keys, from + kKeysPerTask);
  round_keys(source, rounded.first + from, rounded.first + to, heads.depth,
             rounded.keys + (kv_head * rounded.n_keys + from) * heads.depth);
  round_values(source, rounded.first + from, rounded.first + to, rounded.n_keys * 16,
               rounded.values + kv_head * heads.columns * rounded.n_keys + from * 16);
}

struct BlockScratch {
  Mat<BF16> queries;  // [rows as their unit wants them, depth]
  Mat<float> scores;  // [32, keys and some]
  Mat<BF16> weights;  // [rows as their unit wants them, keys]
  Mat<float> sums;    // [32, columns]
};

// Rows [first_row, + n_rows) of a key head's queries: token by token, its query heads side by side.
void attend_block(const RoundedHeads& heads, const RoundedJob& rounded, size_t kv_head,
                  size_t first_row, size_t n_rows, BlockScratch& scratch) {
  const AttentionJob& job = *rounded.job;
  const Bf16Unit unit = heads.unit;
  const size_t head_dim = heads.shape.head_dim, depth = heads.depth;
  const auto token = [&](size_t i) { return (first_row + i) / heads.group; };
  const auto column = [&](size_t i) {
    return (kv_head * heads.group + (first_row + i) % heads.group) * head_dim;
  };
  const auto end_of = [&](size_t i) { return job.n_before + token(i) + 1; };
  const size_t begin = round_down(first_key_of(job, end_of(0)), kTileDepth);
  const size_t n_keys = round_up(end_of(n_rows - 1), kTileDepth) - begin;
  const size_t skipped = begin - rounded.first;
  scratch.queries.resize(kMostBlockRows, depth);
  // Rows a power of two apart would share a few lines of L1.
  scratch.scores.resize(kMostBlockRows, n_keys + 16);
  scratch.weights.resize(kMostBlockRows, n_keys);
  scratch.sums.resize(kMostBlockRows, heads.columns);
  for (size_t i = 0; i < n_rows; ++i)
    round_chunks(job.queries.row(token(i)) + column(i), head_dim, depth, chunk_step(unit),
                 rounded_row(unit, scratch.queries, i));
  PanelProduct product{scratch.queries.data(),
                       n_rows,
                       rounded.keys + (kv_head * rounded.n_keys + skipped) * depth,
                       n_keys / 16,
                       depth,
                       scratch.scores.data(),
                       scratch.scores.cols()};
  multiply(unit, product);
  const float scale = heads.shape.scale * std::numbers::log2e_v<float>;
  float inverse[kMostBlockRows];
  for (size_t i = 0; i < n_rows; ++i)
    inverse[i] = 1.0F / softmax_chunks(scratch.scores.row(i), first_key_of(job, end_of(i)) - begin,
                                       end_of(i) - begin, n_keys, scale, chunk_step(unit),
                                       rounded_row(unit, scratch.weights, i));
  product = {scratch.weights.data(),
             n_rows,
             rounded.values + kv_head * heads.columns * rounded.n_keys + skipped * 16,
             heads.columns / 16,
             n_keys,
             scratch.sums.data(),
             heads.columns};
  product.panel_stride = rounded.n_keys * 16;
  multiply(unit, product);
  for (size_t i = 0; i < n_rows; ++i)
    write_scaled(scratch.sums.row(i), head_dim, inverse[i], job.out.row(token(i)) + column(i));
}

// The keys that a job's rows see, and room for them.
std::vector<RoundedJob> lay_out(const RoundedHeads& heads, std::span<const AttentionJob> jobs,
                                Mat<BF16>& keys, Mat<BF16>& values) {
  std::vector<RoundedJob> list;
  size_t total = 0;
  for (const AttentionJob& job : jobs) {
    if (!rounds_for(job)) continue;
    RoundedJob rounded{&job};
    rounded.first = round_down(first_key_of(job, job.n_before + 1), kTileDepth);
    rounded.n_keys = round_up(job.n_before + job.queries.rows(), kTileDepth) - rounded.first;
    total += rounded.n_keys;
    list.push_back(rounded);
  }
  keys.resize(total * heads.shape.n_kv_heads, heads.depth);
  values.resize(total * heads.shape.n_kv_heads, heads.columns);
  size_t row = 0;
  for (RoundedJob& rounded : list) {
    rounded.keys = keys.row(row);
    rounded.values = values.row(row);
    row += rounded.n_keys * heads.shape.n_kv_heads;
  }
  return list;
}

struct HeadTask {
  const RoundedJob* rounded;
  size_t kv_head, part;
};

// (job, key head, part), `count_parts(job)` parts each.
template <class CountParts>
std::vector<HeadTask> tasks_of(const RoundedHeads& heads, const std::vector<RoundedJob>& list,
                               CountParts&& count_parts) {
  std::vector<HeadTask> tasks;
  for (const RoundedJob& rounded : list)
    for (size_t kv_head = 0; kv_head < heads.shape.n_kv_heads; ++kv_head)
      for (size_t part = 0; part < count_parts(rounded); ++part)
        tasks.push_back({&rounded, kv_head, part});
  return tasks;
}

void attend_rounded(Team& team, const RoundedHeads& heads, std::span<const AttentionJob> jobs) {
  thread_local Mat<BF16> keys, values;
  const std::vector<RoundedJob> list = lay_out(heads, jobs, keys, values);
  const auto chunks = tasks_of(heads, list, [](const RoundedJob& rounded) {
    return (rounded.n_keys + kKeysPerTask - 1) / kKeysPerTask;
  });
  team.run(chunks.size(), [&](size_t i) {
    round_cache(heads, *chunks[i].rounded, chunks[i].kv_head, chunks[i].part);
  });
  const size_t n_block = block_rows(heads.unit);
  const auto rows_of = [&](const RoundedJob& rounded) {
    return rounded.job->queries.rows() * heads.group;
  };
  const auto blocks = tasks_of(heads, list, [&](const RoundedJob& rounded) {
    return (rows_of(rounded) + n_block - 1) / n_block;
  });
  team.run(blocks.size(), [&](size_t i) {
    thread_local BlockScratch scratch;
    const HeadTask& task = blocks[i];
    const size_t first = task.part * n_block;
    attend_block(heads, *task.rounded, task.kv_head, first,
                 std::min(n_block, rows_of(*task.rounded) - first), scratch);
  });
}

}  // namespace

void attend_bf16(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs,
                 std::optional<Bf16Unit> wanted) {
  PLUMB_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0);
  PLUMB_CHECK(shape.scale > 0);  // the largest score is looked for before it is scaled
  const Bf16Unit unit = wanted.value_or(bf16_unit());
  if (unit == Bf16Unit::kWiden) return attend(team, shape, jobs);
  thread_local std::vector<AttentionJob> others;
  others.clear();
  for (const AttentionJob& job : jobs)
    if (!rounds_for(job)) others.push_back(job);
  if (others.size() < jobs.size()) attend_rounded(team, RoundedHeads(unit, shape), jobs);
  if (!others.empty()) attend(team, shape, others);
}

}  // namespace plumb
