// Loops over the dot-product instructions of x86 that Highway has no portable name for. Each runs
// `iterations` rounds in registers and returns how many operations that was (a multiply and an add
// are two). Elsewhere nothing is there. Internal to core/kernels/ceilings.cpp.
#pragma once

#include <cstddef>

namespace plumb::x86 {

bool has_avx2();
bool has_avx512_vnni();
bool has_avx_vnni();
// Tiles of bytes; of bf16, and AVX512-BF16: core/kernels/bf16_units.h.
bool has_amx_int8();

// REQUIRE the instructions.
double avx2_int8_loop(size_t iterations);
double avx512_bf16_loop(size_t iterations);
double avx512_vnni_loop(size_t iterations);
double avx_vnni_loop(size_t iterations);
double amx_bf16_loop(size_t iterations);
double amx_int8_loop(size_t iterations);

}  // namespace plumb::x86
