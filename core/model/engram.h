// Engram: a memory of short token sequences (spikewhale.md 4.3). For every n-gram that ends at a
// token, n = 1..max_ngram, each head hashes the compressed embeddings of the n tokens to a row of
// its table; the mean of these rows, gated by what they and the token say, is added to the token.
//
//   z     = sum_k dot(hash_proj[n][k][head], Wc e(id_k))       k = 0 the oldest of the n tokens
//   row   = trunc(|z|) mod table_size
//   r     = mean of the rows over all n and heads
//   x    += g * r,   g = (gamma * erf(alpha * q + bias) + gamma) / 2,   q = Wg [r ; x] + bg
//
// z depends on token ids alone, so each id's share of it is computed once at load, in f32 whatever
// the precision of the rest: a table row flips when |z| crosses a whole number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"

namespace plumb {

// Both ASSUMED, so both forms of each are here.
enum class EngramGateInput : uint8_t { kRetrievedFirst, kHiddenFirst };
enum class EngramGateForm : uint8_t {
  kHalfOpen,  // (gamma * erf(...) + gamma) / 2
  kErfOnly,   // gamma * erf(...)
};

struct EngramConfig {
  int compress_dim = 0, n_heads = 0, table_size = 0, max_ngram = 0;
  EngramGateInput gate_input = EngramGateInput::kRetrievedFirst;
  EngramGateForm gate_form = EngramGateForm::kHalfOpen;
  // Off: a call knows nothing of the ids before it, as in the first published code. Its cached
  // text differs from its uncached text.
  bool use_context = true;
};

struct EngramWorkspace {
  Mat<float> joined;     // [n, 2 * model_dim] gate input
  Mat<float> retrieved;  // [n, model_dim] r
  Mat<float> gate;       // [n, model_dim] q
};

class Engram {
 public:
  // Reads "model.engram.*". REQUIRES that the embedding table's shape was checked.
  static Result<Engram> load(const EngramConfig& config, int vocab_size, int model_dim,
                             WeightLoader& loader);

  // z of one n-gram, oldest id first, in f32. REQUIRES 1 <= ngram.size() <= max_ngram.
  float hash_value(std::span<const int32_t> ngram, size_t head) const;

  // r [n, model_dim]. The window of a group is its rows and, over a cache, up to max_ngram - 1 ids
  // before them. An error where a hash is not a number that a 64-bit integer holds.
  Status retrieve(const Batch& batch, Team& team, MatView<float> retrieved) const;
  // x += gated r. `x` [n, model_dim] comes as the raw embeddings.
  Status add(const Batch& batch, Team& team, EngramWorkspace& workspace, MatView<float> x) const;

 private:
  bool retrieve_row(std::span<const int32_t> window, size_t at, std::span<float> scratch,
                    std::span<float> out) const;
  Status load_hash(int vocab_size, int model_dim, WeightLoader& loader);

  EngramConfig config_;
  Mat<float> shares_;  // [vocab_size, hashes] an id's part of z: n ascending, then k, then head
  std::vector<Linear> tables_;  // by head [table_size, model_dim]
  Linear gate_proj_;            // [model_dim, 2 * model_dim]
  std::vector<float> gate_proj_bias_, alpha_, bias_, gamma_;
};

}  // namespace plumb
