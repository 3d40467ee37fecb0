#include "core/kernels/attend.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/kernels/unroll.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/attend.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>

#include "core/kernels/vector_rows-inl.h"

// This file is read once for every instruction set; what they share is declared the first time.
#ifndef PLUMB_ATTEND_SHARED
#define PLUMB_ATTEND_SHARED
namespace plumb {
struct AttentionTask {
  size_t job, head, n_heads, row, n_rows;
};
}  // namespace plumb
#endif

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());
constexpr size_t kVectors = 16 / kLanes;

HWY_INLINE V load(const float* at) { return hn::LoadU(D(), at); }
HWY_INLINE V load(const BF16* at) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> du16;
  const auto half = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(at));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, half)));
}

// Keys and values of a decoded token are read once a token: kept in the last-level cache, they would
// push out the weights, which are read once a step.
HWY_INLINE void fetch_once(const void* at) { __builtin_prefetch(at, 0, 0); }

// scores[r][panel * 16 + lane] for MR rows and NP panels from `panel` on.
template <size_t MR, size_t NP, class T>
HWY_INLINE void score_tile(const float* const* queries, const T* keys, size_t panel_stride,
                           size_t head_dim, float scale, float* const* scores, size_t panel) {
  const D d;
  V sum[MR][NP][kVectors];
  PLUMB_UNROLL
  for (auto& row : sum)
    PLUMB_UNROLL
    for (auto& p : row)
      PLUMB_UNROLL
      for (auto& v : p) v = hn::Zero(d);
  // Few queries leave the work to reading keys, which jump from panel to panel: the next ones are
  // fetched meanwhile.
  constexpr bool kFetch = MR <= 2;
  for (size_t c = 0; c < head_dim; ++c) {
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p) {
      if constexpr (kFetch) fetch_once(keys + (panel + NP + p) * panel_stride + c * 16);
      V k[kVectors];
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v)
        k[v] = load(keys + (panel + p) * panel_stride + c * 16 + v * kLanes);
      PLUMB_UNROLL
      for (size_t r = 0; r < MR; ++r) {
        const V q = hn::Set(d, queries[r][c]);
        PLUMB_UNROLL
        for (size_t v = 0; v < kVectors; ++v) sum[r][p][v] = fused_multiply_add(d, q, k[v], sum[r][p][v]);
      }
    }
  }
  const V s = hn::Set(d, scale);
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r)
    PLUMB_UNROLL
    for (size_t p = 0; p < NP; ++p)
      PLUMB_UNROLL
      for (size_t v = 0; v < kVectors; ++v)
        hn::StoreU(hn::Mul(sum[r][p][v], s), d, scores[r] + (panel + p) * 16 + v * kLanes);
}

// In place: scores -> exp(score - max) on [begin, end), 0 elsewhere in the touched panels.
// Returns the sum. Lanes are tied to absolute key indices, so the order of the sum is too.
float softmax_weights(float* scores, size_t begin, size_t end) {
  const D d;
  const size_t first = begin / 16 * 16, last = (end + 15) / 16 * 16;
  constexpr float kLowest = std::numeric_limits<float>::lowest();
  for (size_t j = first; j < begin; ++j) scores[j] = kLowest;
  for (size_t j = end; j < last; ++j) scores[j] = kLowest;
  V largest = hn::Set(d, kLowest);
  for (size_t j = first; j < last; j += kLanes) largest = hn::Max(largest, hn::LoadU(d, scores + j));
  const V top = hn::MaxOfLanes(d, largest);
  V sum[kVectors];
  for (auto& s : sum) s = hn::Zero(d);
  const V floor = hn::Set(d, -100.0F);
  for (size_t j = first; j < last; j += 16)
    for (size_t v = 0; v < kVectors; ++v) {
      const V x = hn::Sub(hn::LoadU(d, scores + j + v * kLanes), top);
      const V e = hn::IfThenElseZero(hn::Gt(x, floor), hn::Exp(d, hn::Max(x, floor)));
      hn::StoreU(e, d, scores + j + v * kLanes);
      sum[v] = hn::Add(sum[v], e);
    }
  float lanes[16];
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sum[v], d, lanes + v * kLanes);
  for (size_t width = 8; width > 0; width /= 2)
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}

// What rows that are alternatives have instead of the cache's last key: their own.
struct OwnRows {
  const float* const* keys = nullptr;    // [MR][head_dim]; null: the rows are no alternatives
  const float* const* values = nullptr;  // [MR][head_dim]
};

// out[r][c] = (sum over keys of weight * value[c]) * inverse[r], NV vectors of columns at once.
template <size_t MR, size_t NV, class T>
HWY_INLINE void value_tile(float* const* weights, const T* values, size_t stride, size_t begin,
                           size_t end, const OwnRows& own, const float* inverse, float* const* out,
                           size_t column) {
  const D d;
  V sum[MR][NV];
  PLUMB_UNROLL
  for (auto& row : sum)
    PLUMB_UNROLL
    for (auto& v : row) v = hn::Zero(d);
  constexpr size_t kAhead = 8;  // positions
  for (size_t j = begin; j < end; ++j) {
    V value[NV];
    if constexpr (MR <= 2) {
      PLUMB_UNROLL
      for (size_t v = 0; v < NV; ++v) fetch_once(values + (j + kAhead) * stride + column + v * kLanes);
    }
    PLUMB_UNROLL
    for (size_t v = 0; v < NV; ++v) value[v] = load(values + j * stride + column + v * kLanes);
    PLUMB_UNROLL
    for (size_t r = 0; r < MR; ++r) {
      const V w = hn::Set(d, weights[r][j]);
      PLUMB_UNROLL
      for (size_t v = 0; v < NV; ++v) sum[r][v] = fused_multiply_add(d, w, value[v], sum[r][v]);
    }
  }
  if (own.values != nullptr) {
    PLUMB_UNROLL
    for (size_t r = 0; r < MR; ++r)
      PLUMB_UNROLL
      for (size_t v = 0; v < NV; ++v)
        sum[r][v] = fused_multiply_add(d, hn::Set(d, weights[r][end]),
                               hn::LoadU(d, own.values[r] + column + v * kLanes), sum[r][v]);
  }
  PLUMB_UNROLL
  for (size_t r = 0; r < MR; ++r)
    PLUMB_UNROLL
    for (size_t v = 0; v < NV; ++v)
      hn::StoreU(hn::Mul(sum[r][v], hn::Set(d, inverse[r])), d, out[r] + column + v * kLanes);
}

HWY_INLINE float widened(float x) { return x; }
HWY_INLINE float widened(BF16 x) { return f32_from_bf16(x); }

template <size_t MR, class T>
void head_rows(const float* const* queries, float* const* out, const KvHead<T>& kv,
               size_t head_dim, float scale, const size_t* begins, const size_t* ends,
               const OwnRows& own, float* const* scores) {
  const size_t begin = *std::min_element(begins, begins + MR);
  const size_t end = *std::max_element(ends, ends + MR);
  const size_t first = begin / 16, last = (end + 15) / 16;
  size_t panel = first;
  // As many sums as hide the latency of a multiply-add and still fit the registers.
  constexpr size_t kWide = MR == 1 || kVectors == 1 ? 4 : MR == 2 ? 2 : 1;
  for (; panel + kWide <= last; panel += kWide)
    score_tile<MR, kWide>(queries, kv.keys, kv.panel_step, head_dim, scale, scores, panel);
  for (; panel < last; ++panel)
    score_tile<MR, 1>(queries, kv.keys, kv.panel_step, head_dim, scale, scores, panel);
  const size_t in_cache = own.keys != nullptr ? end - 1 : end;
  for (size_t r = 0; r < MR && own.keys != nullptr; ++r) {
    float score = 0;
    for (size_t c = 0; c < head_dim; ++c) score = std::fma(queries[r][c], own.keys[r][c], score);
    scores[r][in_cache] = score * scale;
  }
  float inverse[MR];
  for (size_t r = 0; r < MR; ++r) {
    inverse[r] = 1.0F / softmax_weights(scores[r], begins[r], ends[r]);
    // A weight outside the row's own range is exactly 0, and adding 0 * value changes no bit of a
    // sum that starts at +0 (unless the value is not finite, which no row could survive anyway).
    for (size_t j = begin; j < begins[r] / 16 * 16; ++j) scores[r][j] = 0;
    for (size_t j = (ends[r] + 15) / 16 * 16; j < end; ++j) scores[r][j] = 0;
  }
  size_t column = 0;
  const auto take_columns = [&]<size_t kColumns>() HWY_ATTR {
    for (; column + kColumns * kLanes <= head_dim; column += kColumns * kLanes)
      value_tile<MR, kColumns>(scores, kv.values, kv.value_step, begin, in_cache, own, inverse, out,
                               column);
  };
  if constexpr (MR == 1) take_columns.template operator()<8>();
  if constexpr (MR <= 2 || kVectors == 1) take_columns.template operator()<4>();
  take_columns.template operator()<2>();
  take_columns.template operator()<1>();
  for (; column < head_dim; ++column)
    for (size_t r = 0; r < MR; ++r) {
      float sum = 0;
      for (size_t j = begin; j < in_cache; ++j)
        sum = std::fma(scores[r][j], widened(kv.values[j * kv.value_step + column]), sum);
      if (own.values != nullptr) sum = std::fma(scores[r][in_cache], own.values[r][column], sum);
      out[r][column] = sum * inverse[r];
    }
}

// Query heads [task.head, + task.n_heads) of one key-value head, rows [task.row, + task.n_rows):
// all of them read the same keys, so they go four at a time whatever they are.
template <class T>
void attend_heads_of(const AttentionShape& shape, const AttentionJob& job,
                     const AttentionTask& task, float* scratch, size_t scratch_stride) {
  const size_t kv_head = task.head / (shape.n_heads / shape.n_kv_heads);
  const KvHead<T> kv = head_of<T>(job.kv, kv_head, shape.head_dim);
  const size_t total = task.n_rows * task.n_heads;
  for (size_t done = 0; done < total;) {
    const size_t count = total - done >= 4 ? 4 : total - done >= 2 ? 2 : 1;
    const float* queries[4];
    float* out[4];
    float* scores[4];
    size_t begins[4], ends[4];
    const float* own_keys[4];
    const float* own_values[4];
    for (size_t i = 0; i < count; ++i) {
      const size_t t = task.row + (done + i) / task.n_heads;
      const size_t column = (task.head + (done + i) % task.n_heads) * shape.head_dim;
      queries[i] = job.queries.row(t) + column;
      out[i] = job.out.row(t) + column;
      scores[i] = scratch + i * scratch_stride;
      ends[i] = job.end_of_row(t);
      begins[i] = first_key_of(job, ends[i]);
      if (!job.alternatives()) continue;
      own_keys[i] = job.own_keys.row(t) + kv_head * shape.head_dim;
      own_values[i] = job.own_values.row(t) + kv_head * shape.head_dim;
    }
    const OwnRows own = job.alternatives() ? OwnRows{own_keys, own_values} : OwnRows{};
    const auto run = count == 4 ? head_rows<4, T> : count == 2 ? head_rows<2, T> : head_rows<1, T>;
    run(queries, out, kv, shape.head_dim, shape.scale, begins, ends, own, scores);
    done += count;
  }
}

void attend_heads(const AttentionShape& shape, const AttentionJob& job, const AttentionTask& task,
                  float* scratch, size_t scratch_stride) {
  if (job.kv.rounded_keys != nullptr)
    attend_heads_of<BF16>(shape, job, task, scratch, scratch_stride);
  else
    attend_heads_of<float>(shape, job, task, scratch, scratch_stride);
}

// Four keys in a row become four columns of a panel, four floats at a time. Returns how many floats
// of each that was.
size_t put_four_keys([[maybe_unused]] const float* key, [[maybe_unused]] size_t stride,
                     [[maybe_unused]] size_t kv_dim, [[maybe_unused]] float* target) {
  size_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  for (; c + 4 <= kv_dim; c += 4, key += 4, target += 4 * kKeyPanel) {
    const auto a = hn::LoadU(d, key), b = hn::LoadU(d, key + stride), e = hn::LoadU(d, key + 2 * stride),
               f = hn::LoadU(d, key + 3 * stride);
    const auto ae = hn::InterleaveLower(d, a, e), bf = hn::InterleaveLower(d, b, f);
    const auto ae_high = hn::InterleaveUpper(d, a, e), bf_high = hn::InterleaveUpper(d, b, f);
    hn::StoreU(hn::InterleaveLower(d, ae, bf), d, target);
    hn::StoreU(hn::InterleaveUpper(d, ae, bf), d, target + kKeyPanel);
    hn::StoreU(hn::InterleaveLower(d, ae_high, bf_high), d, target + 2 * kKeyPanel);
    hn::StoreU(hn::InterleaveUpper(d, ae_high, bf_high), d, target + 3 * kKeyPanel);
  }
#endif
  return c;
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(attend_heads);
HWY_EXPORT(put_four_keys);

void attend(Team& team, const AttentionShape& shape, std::span<const AttentionJob> jobs) {
  PLUMB_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0);
  constexpr size_t kRowsPerTask = 64, kHeadsPerTask = 4;
  const size_t group = shape.n_heads / shape.n_kv_heads;
  thread_local std::vector<AttentionTask> tasks;
  tasks.clear();
  for (size_t j = 0; j < jobs.size(); ++j)
    for (size_t row = 0; row < jobs[j].queries.rows(); row += kRowsPerTask)
      for (size_t first = 0; first < shape.n_heads; first += group)
        for (size_t head = 0; head < group; head += kHeadsPerTask)
          tasks.push_back({j, first + head, std::min(kHeadsPerTask, group - head), row,
                           std::min(kRowsPerTask, jobs[j].queries.rows() - row)});
  // Heads of one row over a short cache are too little work to hand to another thread one by one.
  const size_t per_part = std::max<size_t>(1, tasks.size() / (8 * static_cast<size_t>(team.size())));
  const std::vector<AttentionTask>& list = tasks;
  team.run((list.size() + per_part - 1) / per_part, [&](size_t part) {
    thread_local std::vector<float> scratch;
    const size_t stop = std::min(list.size(), (part + 1) * per_part);
    for (size_t i = part * per_part; i < stop; ++i) {
      const AttentionTask& task = list[i];
      const AttentionJob& job = jobs[task.job];
      const size_t stride = (job.end_of_row(task.row + task.n_rows - 1) + 15) / 16 * 16;
      if (scratch.size() < 4 * stride) scratch.resize(4 * stride);
      HWY_DYNAMIC_DISPATCH(attend_heads)(shape, job, task, scratch.data(), stride);
    }
  });
}

void put_keys(MatView<const float> rows, size_t first, float* panels) {
  const size_t kv_dim = rows.cols();
  for (size_t r = 0; r < rows.rows();) {
    const size_t pos = first + r;
    float* target = panels + pos / kKeyPanel * kv_dim * kKeyPanel + pos % kKeyPanel;
    const bool four = pos % 4 == 0 && r + 4 <= rows.rows();
    size_t c = four ? HWY_DYNAMIC_DISPATCH(put_four_keys)(rows.row(r), rows.stride(), kv_dim, target) : 0;
    const size_t n = four ? 4 : 1;
    for (; c < kv_dim; ++c)
      for (size_t i = 0; i < n; ++i) target[c * kKeyPanel + i] = rows(r + i, c);
    r += n;
  }
}

namespace {

template <class T>
void reference_of(const AttentionShape& shape, const AttentionJob& job) {
  const auto widen = [](T x) {
    if constexpr (std::is_same_v<T, BF16>)
      return static_cast<double>(f32_from_bf16(x));
    else
      return static_cast<double>(x);
  };
  const size_t d = shape.head_dim;
  Mat<float> result(job.queries.rows(), job.queries.cols());
  for (size_t t = 0; t < job.queries.rows(); ++t)
    for (size_t h = 0; h < shape.n_heads; ++h) {
      const size_t kv_head = h / (shape.n_heads / shape.n_kv_heads);
      const KvHead<T> kv = head_of<T>(job.kv, kv_head, d);
      const size_t end = job.end_of_row(t);
      const size_t begin = first_key_of(job, end);
      const auto is_own = [&](size_t j) { return job.alternatives() && j + 1 == end; };
      const auto key = [&](size_t j, size_t c) {
        return is_own(j) ? static_cast<double>(job.own_keys(t, kv_head * d + c))
                         : widen(kv.keys[j / 16 * kv.panel_step + c * 16 + j % 16]);
      };
      const auto value_of = [&](size_t j, size_t c) {
        return is_own(j) ? static_cast<double>(job.own_values(t, kv_head * d + c))
                         : widen(kv.values[j * kv.value_step + c]);
      };
      std::vector<double> weights(end, 0.0);
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (size_t j = begin; j < end; ++j) {
        double score = 0;
        for (size_t c = 0; c < d; ++c)
          score += static_cast<double>(job.queries(t, h * d + c)) * key(j, c);
        weights[j] = score * static_cast<double>(shape.scale);
        largest = std::max(largest, weights[j]);
      }
      for (size_t j = begin; j < end; ++j) sum += weights[j] = std::exp(weights[j] - largest);
      for (size_t c = 0; c < d; ++c) {
        double value = 0;
        for (size_t j = begin; j < end; ++j) value += weights[j] * value_of(j, c);
        result(t, h * d + c) = static_cast<float>(value / sum);
      }
    }
  for (size_t t = 0; t < result.rows(); ++t)
    std::copy(result.row(t), result.row(t) + result.cols(), job.out.row(t));
}

}  // namespace

void attend_reference(const AttentionShape& shape, const AttentionJob& job) {
  if (job.kv.rounded_keys != nullptr) return reference_of<BF16>(shape, job);
  reference_of<float>(shape, job);
}

}  // namespace plumb
#endif  // HWY_ONCE
