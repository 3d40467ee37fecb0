// The numbers PyTorch's CPU generator draws for a seed, so that a run can start from the very state
// that public code starts from. Unlike core/base/rng.h these draws come from one sequence: they
// depend on the order of calls and on the shape asked for, by definition.
//
// What is reproduced is the behaviour of contiguous float32 tensors on CPU (checked against torch
// 1.13.1, 2.11.0 and 2.15.0). Bit-equal: 32-bit draws, uniforms, and normals of fewer than 16
// elements. Larger normals differ by a few ulp, because torch evaluates log, sin and cos in a
// vector library that depends on the machine; so does its erfinv.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/base/initial_state.h"
#include "core/base/mat.h"

namespace plumb {

// torch.nn.init.trunc_normal_ was rewritten in torch 2.12: the two give different numbers for the
// same seed, so whoever wants torch's numbers has to say whose.
enum class TorchTruncNormal {
  kInverseCdf,  // up to 2.11: uniform_ between the two cumulative probabilities, then erfinv_
  kRejection,   // from 2.12: normal_, then whole tensors of normals until no entry is outside
};

// A torch.Generator on CPU after manual_seed(seed).
class TorchGenerator {
 public:
  // torch keeps the low 32 bits of a seed only.
  explicit TorchGenerator(uint64_t seed);

  uint32_t random_u32();  // the next word of the 32-bit Mersenne Twister
  uint64_t random_u64();  // two words, the first one is the upper half

  // tensor.uniform_(from, to).
  void fill_uniform(double from, double to, std::span<float> tensor);
  // tensor.normal_(mean, std); randn and randn_like are (0, 1).
  void fill_normal(double mean, double std, std::span<float> tensor);
  // torch.nn.init.trunc_normal_(tensor, 0, std, -bound, bound). REQUIRES std > 0 and bound / std
  // at least 0.4 (below that rejection draws from another proposal).
  void fill_trunc_normal(TorchTruncNormal method, double std, double bound,
                         std::span<float> tensor);

 private:
  void refill();
  double next_normal();  // N(0, 1), two for every two uniforms: the second waits in spare_normal_
  void fill_unit_uniform(std::span<float> tensor);
  void trunc_normal_by_inverse(double std, double bound, std::span<float> tensor);
  void trunc_normal_by_rejection(double std, double bound, std::span<float> tensor);

  std::array<uint32_t, 624> state_;
  size_t next_ = 0;
  std::optional<double> spare_normal_;
};

// The initial state public Raven code draws on CPU in float32 for input embeddings of shape
// [batch, n_tokens, model_dim], right after torch.manual_seed(seed): randn_like, which is thrown
// away, then trunc_normal_ of std * init_scale within 3 of those, times emb_scale. Zeros where
// std * init_scale is 0. The result is [batch * n_tokens, model_dim], row b * n_tokens + t.
Mat<float> torch_initial_state(uint64_t seed, size_t batch, size_t n_tokens, size_t model_dim,
                               const InitialStateScale& scale, TorchTruncNormal method);

}  // namespace plumb
