// What this machine can do at best, measured: the denominators of `plumb bench`.
//
// Arithmetic: loops of independent multiply-adds that never leave the registers, one loop for each
// instruction set that is there. Bandwidth: every thread reads its own part of a buffer again and
// again, in four streams with the widest loads. A ceiling is the best of several short runs, so
// that a disturbance lowers the figure beside it and never the ceiling.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/parallel/team.h"

namespace plumb {

// One core alone, and all threads of the team together. 0: this machine cannot do it.
struct Ceiling {
  double one = 0, all = 0;
  bool present() const { return all > 0; }
};

// In bytes; 0 where the system does not say.
struct CacheSizes {
  size_t l2 = 0;  // of one core
  size_t l3 = 0;  // as reported: in a virtual machine it may be shared with others
};
CacheSizes cache_sizes();

// A multiply and an add count as two, in 1e9 a second.
struct ArithmeticCeilings {
  Ceiling f32;       // f32 fused multiply-adds
  Ceiling bf16_dot;  // bf16 pairs into f32: AVX-512 BF16
  Ceiling int8_dot;  // int8 quadruples into int32: VNNI, else AVX2's two-step product
  const char* int8_instructions = "";  // which of these
  Ceiling amx_bf16, amx_int8;          // tiles
  // The fastest vector arithmetic on such weights: the dot product, or widening them to f32.
  const Ceiling& bf16() const { return bf16_dot.all > f32.all ? bf16_dot : f32; }
  const Ceiling& int8() const { return int8_dot.all > f32.all ? int8_dot : f32; }
};
ArithmeticCeilings measure_arithmetic(Team& team);

// Reading a buffer of `bytes` in all, each thread its own part: GB/s (1e9 bytes). `one` reads the
// whole of it on one core.
Ceiling measure_read_bandwidth(Team& team, size_t bytes);

// The sizes at which a level of the memory is measured, all threads together: half of each L2;
// well beyond all L2 and within L3; far beyond L3, as memory allows.
struct BandwidthSizes {
  size_t l2 = 0, l3 = 0, dram = 0;
};
BandwidthSizes bandwidth_sizes(const CacheSizes& caches, int n_threads);

}  // namespace plumb
