#include "core/model/engram.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "core/model/blocks.h"
#include "core/model/spikewhale_names.h"

namespace plumb {
namespace {

constexpr size_t kVocabChunk = 512;
constexpr size_t kMaxShares = size_t{1} << 28;

// Where the shares of n-grams of length n begin in a row: before it lie 1 + 2 + ... + (n - 1)
// positions of all heads.
size_t share_offset(size_t n, size_t n_heads) { return n_heads * (n * (n - 1) / 2); }

// Rows of an f32 matrix, whatever --dtype says.
PackedMatrix packed(std::span<const float> values, size_t n_out, size_t n_in) {
  PackedMatrix matrix(WeightType::kF32, n_out, n_in);
  for (size_t out = 0; out < n_out; ++out) matrix.set_row(out, values.subspan(out * n_in, n_in));
  return matrix;
}

}  // namespace

Result<Engram> Engram::load(const EngramConfig& config, int vocab_size, int model_dim,
                            WeightLoader& loader) {
  Engram engram;
  engram.config_ = config;
  for (int head = 0; head < config.n_heads; ++head) {
    PLUMB_ASSIGN(Linear table,
                 loader.linear(fmt::format("model.engram.lookup.tables.{}.weight", head),
                               config.table_size, model_dim));
    engram.tables_.push_back(std::move(table));
  }
  PLUMB_ASSIGN(engram.gate_proj_,
               loader.linear("model.engram.gate.proj.weight", model_dim, 2 * int64_t{model_dim}));
  PLUMB_ASSIGN(engram.gate_proj_bias_, loader.vector("model.engram.gate.proj.bias", {model_dim}));
  PLUMB_ASSIGN(engram.alpha_, loader.vector("model.engram.gate.alpha", {model_dim}));
  PLUMB_ASSIGN(engram.bias_, loader.vector("model.engram.gate.bias", {model_dim}));
  PLUMB_ASSIGN(engram.gamma_,
               load_assumed(loader, AssumedVector::kEngramGate, "model.engram.gate", model_dim));
  PLUMB_RETURN_IF_ERROR(engram.load_hash(vocab_size, model_dim, loader));
  return engram;
}

// shares_[id] = hash_proj (Wc e(id)) for all ids at once.
Status Engram::load_hash(int vocab_size, int model_dim, WeightLoader& loader) {
  const auto v = static_cast<size_t>(vocab_size), e = static_cast<size_t>(model_dim);
  const auto c = static_cast<size_t>(config_.compress_dim),
             heads = static_cast<size_t>(config_.n_heads);
  const auto max_ngram = static_cast<size_t>(config_.max_ngram);
  PLUMB_ASSIGN(
      const std::vector<float> compressor,
      loader.vector("model.engram.compressor.proj.weight", {config_.compress_dim, model_dim}));
  std::vector<float> projections;
  for (size_t n = 1; n <= max_ngram; ++n)
    for (size_t k = 0; k < n; ++k) {
      PLUMB_ASSIGN(const std::vector<float> rows,
                   loader.vector(fmt::format("model.engram.lookup.hash_proj_n{}_p{}", n, k),
                                 {config_.n_heads, config_.compress_dim}));
      projections.insert(projections.end(), rows.begin(), rows.end());
    }
  const size_t hashes = share_offset(max_ngram + 1, heads);
  if (hashes > kMaxShares / v)
    return input_error(
        "{}: engram_num_heads {} and engram_max_ngram {} make {} hash projections, too many for {} "
        "tokens",
        loader.checkpoint().config_where(), heads, max_ngram, hashes, v);
  const PackedMatrix compress = packed(compressor, c, e), project = packed(projections, hashes, c);
  PLUMB_ASSIGN(const TensorInfo* table,
               loader.tensor("model.embed_tokens.weight", {vocab_size, model_dim}));
  shares_ = Mat<float>(v, hashes);
  Mat<float> embedded, compressed;
  for (size_t first = 0; first < v; first += kVocabChunk) {
    const size_t count = std::min(kVocabChunk, v - first);
    embedded.resize(count, e);
    compressed.resize(count, c);
    widen_to_f32(table->dtype, table->data + first * e * dtype_bytes(table->dtype),
                 {embedded.data(), count * e});
    matmul(loader.team(), embedded, compress, compressed);
    matmul(loader.team(), compressed, project, shares_.view().rows_from(first, count));
  }
  return ok_status();
}

float Engram::hash_value(std::span<const int32_t> ngram, size_t head) const {
  const auto heads = static_cast<size_t>(config_.n_heads);
  PLUMB_CHECK(!ngram.empty() && ngram.size() <= static_cast<size_t>(config_.max_ngram) &&
              head < heads);
  const size_t offset = share_offset(ngram.size(), heads) + head;
  float z = 0;
  for (size_t k = 0; k < ngram.size(); ++k)
    z += shares_(static_cast<size_t>(ngram[k]), offset + k * heads);
  return z;
}

// False where a hash is outside what an integer can hold.
bool Engram::retrieve_row(std::span<const int32_t> window, size_t at, std::span<float> scratch,
                          std::span<float> out) const {
  const size_t orders = std::min(at + 1, static_cast<size_t>(config_.max_ngram)),
               heads = tables_.size();
  std::fill(out.begin(), out.end(), 0.0F);
  for (size_t n = 1; n <= orders; ++n)
    for (size_t head = 0; head < heads; ++head) {
      const float z = std::abs(hash_value(window.subspan(at + 1 - n, n), head));
      if (!(z < 0x1p63F)) return false;
      tables_[head].w.get_row(static_cast<uint64_t>(z) % static_cast<uint64_t>(config_.table_size),
                              scratch);
      for (size_t c = 0; c < out.size(); ++c) out[c] += scratch[c];
    }
  const auto count = static_cast<float>(orders * heads);
  for (float& value : out) value /= count;
  return true;
}

Status Engram::retrieve(const Batch& batch, Team& team, MatView<float> retrieved) const {
  std::vector<int32_t> window;
  for (const Group& group : batch.groups) {
    window.clear();
    if (group.cache != nullptr && config_.use_context) {
      const auto pos = static_cast<size_t>(group.first_pos);
      const size_t context = std::min(pos, static_cast<size_t>(config_.max_ngram) - 1);
      PLUMB_CHECK(group.cache->ids().size() >= pos);
      const auto before = group.cache->ids().subspan(pos - context, context);
      window.assign(before.begin(), before.end());
    }
    const size_t context = window.size();
    const auto own = batch.ids.subspan(group.first_row, group.n_rows);
    window.insert(window.end(), own.begin(), own.end());
    for (const int32_t id : window)
      PLUMB_CHECK(id >= 0 && static_cast<size_t>(id) < shares_.rows());
    std::atomic<size_t> bad{group.n_rows};
    for_row_chunks(team, group.n_rows, [&](size_t first, size_t count) {
      thread_local std::vector<float> scratch;
      scratch.resize(retrieved.cols());
      for (size_t i = first; i < first + count; ++i)
        if (!retrieve_row(window, context + i, scratch, retrieved.row_span(group.first_row + i)))
          bad = i;
    });
    if (bad < group.n_rows)
      return work_error(
          "the engram hash at position {} is not a number below 2^63: the embedding of token {} or "
          "of one just "
          "before it, or the hash projections, cannot be those of a trained model",
          static_cast<size_t>(group.first_pos) + bad, own[bad]);
  }
  return ok_status();
}

Status Engram::add(const Batch& batch, Team& team, EngramWorkspace& ws, MatView<float> x) const {
  const size_t n = x.rows(), e = x.cols();
  ws.retrieved.resize(n, e);
  ws.joined.resize(n, 2 * e);
  ws.gate.resize(n, e);
  PLUMB_RETURN_IF_ERROR(retrieve(batch, team, ws.retrieved));
  const bool retrieved_first = config_.gate_input == EngramGateInput::kRetrievedFirst;
  for_row_chunks(team, n, [&](size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) {
      float* joined = ws.joined.row(i);
      std::copy_n(ws.retrieved.row(i), e, joined + (retrieved_first ? 0 : e));
      std::copy_n(x.row(i), e, joined + (retrieved_first ? e : 0));
    }
  });
  gate_proj_.apply(team, ws.joined, ws.gate);
  const bool half_open = config_.gate_form == EngramGateForm::kHalfOpen;
  for_row_chunks(
      team, n,
      [&](size_t first, size_t count) {
        for (size_t i = first; i < first + count; ++i)
          for (size_t c = 0; c < e; ++c) {
            const float opened =
                gamma_[c] * std::erf(alpha_[c] * (ws.gate(i, c) + gate_proj_bias_[c]) + bias_[c]);
            const float g = half_open ? (opened + gamma_[c]) * 0.5F : opened;
            x(i, c) += g * ws.retrieved(i, c);
          }
      },
      4);
  return ok_status();
}

}  // namespace plumb
