// Counter-based randomness: every number is a pure function of (seed, stream, row, position, step,
// index), never of call order, so batching, threads, caching and resuming cannot change a draw.
//
//   const DrawKey key{.seed = 7, .stream = RngStream::kSampling, .position = 41};
//   const double u = uniform_double(key, 0);   // the same number whenever it is asked for
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). The seed is its 64-bit key; a DrawKey and the block of an index its counter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace plumb {

// What the numbers are for. Two streams never share a draw. The values are part of every recorded
// result: append, never renumber.
enum class RngStream : uint8_t {
  kInitialState = 1,  // s_0 of a position
  kSampling = 2,      // picking a token
  kNoise = 3,         // test-time noise added to the latent state
  kCache = 4,         // randomised cache lookups
  kBootstrap = 5,     // resampling in the analysis
  kSpeculative = 6,   // accepting or resampling a draft
  kWavefront = 7,     // guessed tokens ahead of the wave
  kSubsample = 8,     // which positions or texts are kept
  kWeights = 9,       // freshly initialised weights of a conversion; row: output of the matrix
};

struct DrawKey {
  uint64_t seed = 0;
  RngStream stream = RngStream::kInitialState;
  uint32_t row = 0;       // batch row, or resample number
  uint32_t position = 0;  // absolute token position
  uint32_t step = 0;      // recurrence step where it matters; REQUIRES < 2^24
};

// One application of Philox4x32-10, for tests and for whoever needs the raw words.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Draw number `index` of a key. Each function below uses exactly this one draw per index, so the
// float is the double rounded down to 24 bits. REQUIRES index < 2^33.
uint64_t random_bits(const DrawKey& key, uint64_t index);
float uniform_float(const DrawKey& key, uint64_t index);    // k / 2^24 in [0, 1)
double uniform_double(const DrawKey& key, uint64_t index);  // k / 2^53 in [0, 1)
// 0 .. bound-1, each with probability 1/bound to within 2^-64. REQUIRES bound > 0.
uint64_t uniform_below(const DrawKey& key, uint64_t index, uint64_t bound);
// N(0, 1) by inverse CDF; symmetric, finite, |value| < 8.3.
double standard_normal(const DrawKey& key, uint64_t index);

// target[i] = draw `i` of the key.
void fill_uniform(const DrawKey& key, std::span<float> target);               // [0, 1)
void fill_normal(const DrawKey& key, double scale, std::span<float> target);  // N(0, scale^2)
// scale times an N(0, 1) that is truncated (not clipped) to [-cut, cut]. REQUIRES cut > 0.
void fill_truncated_normal(const DrawKey& key, double scale, double cut, std::span<float> target);

// The inverse of erf, to a relative error below 1e-15. erf_inv(+-1) is +-infinity; NaN outside
// [-1, 1].
double erf_inv(double x);

}  // namespace plumb
