// Attention with low-rank query and output projections (spikewhale.md 4.6). Keys and values are
// full rank and few: they are cached as they are, keys after norm and rope.
//
//   q = Wqb norm(Wqa x),  k = Wk x,  v = Wv x;   every head of q and k normed, its tail rotated
//   y = attention(q, k, v);   exclusive: y -= (y.n) n,  n the direction of the token's own v
//   out = Wob Woa y
#pragma once

#include <vector>

#include "core/model/blocks.h"
#include "core/model/erf_attention.h"

namespace plumb {

struct MlaSpec {
  AttentionShape shape;
  size_t q_rank = 0, o_rank = 0;
  float norm_eps = 1e-6F;
  bool norm_heads = true;  // q_norm and k_norm, before rope, over the whole head
  bool exclusive = true;   // the direction of a token's own value is taken out
  bool erf = false;        // erf_attention.h instead of softmax
  bool erf_mask_always = true;
};

struct MlaWeights {
  Linear down;                        // rows: q_rank of the query, then keys, then values
  std::vector<float> q_a_norm;        // [q_rank]
  Linear q_b;                         // [n_heads * head_dim, q_rank]
  std::vector<float> q_norm, k_norm;  // [head_dim], one vector for all heads; empty: none
  ErfWeights erf;
  Linear o_a, o_b;  // [o_rank, n_heads * head_dim], [model_dim, o_rank]
};

// Reads "{prefix}q_a_proj.weight" and so on.
Result<MlaWeights> load_mla(WeightLoader& loader, const std::string& prefix, const MlaSpec& spec,
                            int64_t model_dim);

struct MlaWorkspace {
  Mat<float> down;       // [n, q_rank + 2 * n_kv_heads * head_dim]
  Mat<float> query_low;  // [n, q_rank] after its norm
  Mat<float> query;      // [n, n_heads * head_dim]
  Mat<float> attended;   // [n, n_heads * head_dim]
  Mat<float> out_low;    // [n, o_rank]
  AttentionWorkspace attention;
};

// out = Attention(x), both [n, model_dim].
Status mla_attention(const Batch& batch, Workspace& workspace, MlaWorkspace& scratch,
                     const MlaSpec& spec, const RopeTable& rope, const MlaWeights& weights,
                     const Place& place, MatView<const float> x, MatView<float> out);

}  // namespace plumb
