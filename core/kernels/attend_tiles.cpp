#include "core/kernels/attend_tiles.h"

#include <algorithm>
#include <numbers>
#include <vector>

#include "core/kernels/bf16_units.h"
#include "core/kernels/tile_rounding.h"

namespace plumb {
namespace {

constexpr size_t kBlockRows = 2 * kTileRows;  // two tiles of rows share every tile of keys
constexpr size_t kKeysPerTask = 128;

constexpr size_t round_down(size_t n, size_t step) { return n / step * step; }
constexpr size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

// A job's keys and values as the tiles read them, shared by all its rows.
struct TiledJob {
  const AttentionJob* job = nullptr;
  size_t first = 0;        // position of the first key kept, a multiple of 32
  size_t n_keys = 0;       // kept, a multiple of 32
  BF16* keys = nullptr;    // [n_kv_heads][n_keys / 16][depth / 2][16][2]
  BF16* values = nullptr;  // [n_kv_heads][columns / 16][n_keys / 2][16][2]
};

struct TiledHeads {
  AttentionShape shape;
  size_t group, depth,
      columns;  // query heads a key head; head_dim in whole tiles of either product

  explicit TiledHeads(const AttentionShape& s)
      : shape(s),
        group(s.n_heads / s.n_kv_heads),
        depth(round_up(s.head_dim, kTileDepth)),
        columns(round_up(s.head_dim, 16)) {}
};

void round_cache(const TiledHeads& heads, const TiledJob& tiled, size_t kv_head, size_t chunk) {
  const AttentionJob& job = *tiled.job;
  HeadSource source{job.kv, kv_head * heads.shape.head_dim, heads.shape.head_dim,
                    first_key_of(job, job.n_before + 1), job.n_before + job.queries.rows()};
  const size_t from = chunk * kKeysPerTask, to = std::min(tiled.n_keys, from + kKeysPerTask);
  round_keys(source, tiled.first + from, tiled.first + to, heads.depth,
             tiled.keys + (kv_head * tiled.n_keys + from) * heads.depth);
  round_values(source, tiled.first + from, tiled.first + to, tiled.n_keys * 16,
               tiled.values + kv_head * heads.columns * tiled.n_keys + from * 16);
}

struct BlockScratch {
  Mat<BF16> queries;  // [32 rows in tiles, depth]
  Mat<float> scores;  // [32, keys and some]
  Mat<BF16> weights;  // [32 rows in tiles, keys]
  Mat<float> sums;    // [32, columns]
};

// Rows [first_row, + n_rows) of a key head's queries: token by token, its query heads side by side.
void attend_block(const TiledHeads& heads, const TiledJob& tiled, size_t kv_head, size_t first_row,
                  size_t n_rows, BlockScratch& scratch) {
  const AttentionJob& job = *tiled.job;
  const size_t head_dim = heads.shape.head_dim, depth = heads.depth;
  const auto token = [&](size_t i) { return (first_row + i) / heads.group; };
  const auto column = [&](size_t i) {
    return (kv_head * heads.group + (first_row + i) % heads.group) * head_dim;
  };
  const auto end_of = [&](size_t i) { return job.n_before + token(i) + 1; };
  const size_t begin = round_down(first_key_of(job, end_of(0)), kTileDepth);
  const size_t n_keys = round_up(end_of(n_rows - 1), kTileDepth) - begin;
  const size_t skipped = begin - tiled.first;
  scratch.queries.resize(kBlockRows, depth);
  // Rows a power of two apart would share a few lines of L1.
  scratch.scores.resize(kBlockRows, n_keys + 16);
  scratch.weights.resize(kBlockRows, n_keys);
  scratch.sums.resize(kBlockRows, heads.columns);
  for (size_t i = 0; i < n_rows; ++i)
    round_row_to_tiles(job.queries.row(token(i)) + column(i), head_dim, depth,
                       tile_row(scratch.queries, i));
  PanelProduct product{scratch.queries.data(),
                       n_rows,
                       tiled.keys + (kv_head * tiled.n_keys + skipped) * depth,
                       n_keys / 16,
                       depth,
                       scratch.scores.data(),
                       scratch.scores.cols()};
  multiply_tiles(product);
  const float scale = heads.shape.scale * std::numbers::log2e_v<float>;
  float inverse[kBlockRows];
  for (size_t i = 0; i < n_rows; ++i)
    inverse[i] =
        1.0F / softmax_to_tiles(scratch.scores.row(i), first_key_of(job, end_of(i)) - begin,
                                end_of(i) - begin, n_keys, scale, tile_row(scratch.weights, i));
  product = {scratch.weights.data(),
             n_rows,
             tiled.values + kv_head * heads.columns * tiled.n_keys + skipped * 16,
             heads.columns / 16,
             n_keys,
             scratch.sums.data(),
             heads.columns};
  product.panel_stride = tiled.n_keys * 16;
  multiply_tiles(product);
  for (size_t i = 0; i < n_rows; ++i)
    write_scaled(scratch.sums.row(i), head_dim, inverse[i], job.out.row(token(i)) + column(i));
}

// The keys that a job's rows see, and room for them.
std::vector<TiledJob> lay_out(const TiledHeads& heads, std::span<const AttentionJob> jobs,
                              Mat<BF16>& keys, Mat<BF16>& values) {
  std::vector<TiledJob> list;
  size_t total = 0;
  for (const AttentionJob& job : jobs) {
    if (!attends_by_tiles(job)) continue;
    TiledJob tiled{&job};
    tiled.first = round_down(first_key_of(job, job.n_before + 1), kTileDepth);
    tiled.n_keys = round_up(job.n_before + job.queries.rows(), kTileDepth) - tiled.first;
    total += tiled.n_keys;
    list.push_back(tiled);
  }
  keys.resize(total * heads.shape.n_kv_heads, heads.depth);
  values.resize(total * heads.shape.n_kv_heads, heads.columns);
  size_t row = 0;
  for (TiledJob& tiled : list) {
    tiled.keys = keys.row(row);
    tiled.values = values.row(row);
    row += tiled.n_keys * heads.shape.n_kv_heads;
  }
  return list;
}

struct HeadTask {
  const TiledJob* tiled;
  size_t kv_head, part;
};

// (job, key head, part), `count_parts(job)` parts each.
template <class CountParts>
std::vector<HeadTask> tasks_of(const TiledHeads& heads, const std::vector<TiledJob>& list,
                               CountParts&& count_parts) {
  std::vector<HeadTask> tasks;
  for (const TiledJob& tiled : list)
    for (size_t kv_head = 0; kv_head < heads.shape.n_kv_heads; ++kv_head)
      for (size_t part = 0; part < count_parts(tiled); ++part)
        tasks.push_back({&tiled, kv_head, part});
  return tasks;
}

void attend_tiled(Team& team, const TiledHeads& heads, std::span<const AttentionJob> jobs) {
  thread_local Mat<BF16> keys, values;
  const std::vector<TiledJob> list = lay_out(heads, jobs, keys, values);
  const auto chunks = tasks_of(heads, list, [](const TiledJob& tiled) {
    return (tiled.n_keys + kKeysPerTask - 1) / kKeysPerTask;
  });
  team.run(chunks.size(), [&](size_t i) {
    round_cache(heads, *chunks[i].tiled, chunks[i].kv_head, chunks[i].part);
  });
  const auto rows_of = [&](const TiledJob& tiled) {
    return tiled.job->queries.rows() * heads.group;
  };
  const auto blocks = tasks_of(heads, list, [&](const TiledJob& tiled) {
    return (rows_of(tiled) + kBlockRows - 1) / kBlockRows;
  });
  team.run(blocks.size(), [&](size_t i) {
    thread_local BlockScratch scratch;
    const HeadTask& task = blocks[i];
    const size_t first = task.part * kBlockRows;
    attend_block(heads, *task.tiled, task.kv_head, first,
                 std::min(kBlockRows, rows_of(*task.tiled) - first), scratch);
  });
}

}  // namespace

bool attends_by_tiles(const AttentionJob& job) {
  return job.queries.rows() >= kFewestTiledRows && tile_unit_available();
}

void attend_bf16(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs) {
  PLUMB_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0);
  PLUMB_CHECK(shape.scale > 0);  // the largest score is looked for before it is scaled
  thread_local std::vector<AttentionJob> others;
  others.clear();
  for (const AttentionJob& job : jobs)
    if (!attends_by_tiles(job)) others.push_back(job);
  if (others.size() < jobs.size()) attend_tiled(team, TiledHeads(shape), jobs);
  if (!others.empty()) attend(team, shape, others);
}

}  // namespace plumb
