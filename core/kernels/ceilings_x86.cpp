#include "core/kernels/ceilings_x86.h"

#include "core/base/check.h"
#include "core/kernels/bf16_units.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <cstdint>

namespace plumb::x86 {
namespace {

struct Features {
  uint32_t b7 = 0, c7 = 0, d7 = 0;  // leaf 7, subleaf 0
  uint32_t a71 = 0;                 // leaf 7, subleaf 1
};

const Features& features() {
  static const Features found = [] {
    Features f;
    uint32_t a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &f.b7, &f.c7, &f.d7) == 0) return Features{};
    if (a >= 1) __get_cpuid_count(7, 1, &f.a71, &b, &c, &d);
    return f;
  }();
  return found;
}

constexpr uint32_t bit(int n) { return uint32_t{1} << n; }

// Operands that are not zero: a multiplier that has nothing to toggle draws less power and may run
// faster than any real product.
constexpr int kBF16Halves = 0x3f01bf02;  // about 0.5 and -0.5
constexpr int kBytes = 0x55332a17;

// The compiler's own test also asks whether the system saves these registers.
bool has_avx512() { return __builtin_cpu_supports("avx512f") != 0; }

// The layout that LDTILECFG reads: palette 1, eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// GCC's tile intrinsics name only the first bytes they read; this keeps the rest from being
// optimised away.
inline void all_written(const void* a, const void* b) {
  asm volatile("" : : "r"(a), "r"(b) : "memory");
}

}  // namespace

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0; }
bool has_avx512_vnni() { return has_avx512() && (features().c7 & bit(11)) != 0; }
bool has_avx_vnni() { return has_avx2() && (features().a71 & bit(4)) != 0; }
bool has_amx_int8() { return (features().d7 & bit(25)) != 0 && tile_unit_available(); }

// Twelve chains each: latency times units is at most ten. The empty assembly makes every sum an
// unknown of its own before the loop: equal chains would be computed once and counted twelve times.
#define PLUMB_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

__attribute__((target("avx512f,avx512bf16"))) double avx512_bf16_loop(size_t iterations) {
  __m512i raw = _mm512_set1_epi32(kBF16Halves);
  asm volatile("" : "+v"(raw));
  const __m512bh a = reinterpret_cast<__m512bh>(raw);
#define PLUMB_SUM(i) __m512 s##i = _mm512_setzero_ps();
#define PLUMB_ROUND(i) s##i = _mm512_dpbf16_ps(s##i, a, a);
#define PLUMB_KEEP(i) asm volatile("" : "+v"(s##i));
  PLUMB_TWELVE(PLUMB_SUM)
  PLUMB_TWELVE(PLUMB_KEEP)
  for (size_t n = 0; n < iterations; ++n) {
    PLUMB_TWELVE(PLUMB_ROUND)
  }
  PLUMB_TWELVE(PLUMB_KEEP)
#undef PLUMB_SUM
#undef PLUMB_ROUND
  return static_cast<double>(iterations) * 12 * 16 * 2 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) double avx512_vnni_loop(size_t iterations) {
  __m512i a = _mm512_set1_epi32(kBytes);
  asm volatile("" : "+v"(a));
#define PLUMB_SUM(i) __m512i s##i = _mm512_setzero_si512();
#define PLUMB_ROUND(i) s##i = _mm512_dpbusd_epi32(s##i, a, a);
  PLUMB_TWELVE(PLUMB_SUM)
  PLUMB_TWELVE(PLUMB_KEEP)
  for (size_t n = 0; n < iterations; ++n) {
    PLUMB_TWELVE(PLUMB_ROUND)
  }
  PLUMB_TWELVE(PLUMB_KEEP)
#undef PLUMB_SUM
#undef PLUMB_ROUND
#undef PLUMB_KEEP
  return static_cast<double>(iterations) * 12 * 16 * 4 * 2;
}

#define PLUMB_SUM(i) __m256i s##i = _mm256_setzero_si256();
#define PLUMB_KEEP(i) asm volatile("" : "+x"(s##i));

__attribute__((target("avx2,avxvnni"))) double avx_vnni_loop(size_t iterations) {
  __m256i a = _mm256_set1_epi32(kBytes);
  asm volatile("" : "+x"(a));
#define PLUMB_ROUND(i) s##i = _mm256_dpbusd_avx_epi32(s##i, a, a);
  PLUMB_TWELVE(PLUMB_SUM)
  PLUMB_TWELVE(PLUMB_KEEP)
  for (size_t n = 0; n < iterations; ++n) {
    PLUMB_TWELVE(PLUMB_ROUND)
  }
  PLUMB_TWELVE(PLUMB_KEEP)
#undef PLUMB_ROUND
  return static_cast<double>(iterations) * 12 * 8 * 4 * 2;
}

// u8 x i8 pairs into i16, i16 pairs into i32, added up: what a processor without VNNI has. The
// products are made of a changing operand, else one of them would serve all twelve sums.
__attribute__((target("avx2"))) double avx2_int8_loop(size_t iterations) {
  __m256i a = _mm256_set1_epi32(kBytes), ones = _mm256_set1_epi16(1);
  asm volatile("" : "+x"(a), "+x"(ones));
#define PLUMB_ROUND(i)                                               \
  {                                                                  \
    __m256i product;                                                 \
    asm volatile("vpmaddubsw %1, %1, %0" : "=x"(product) : "x"(a));  \
    s##i = _mm256_add_epi32(s##i, _mm256_madd_epi16(product, ones)); \
  }
  PLUMB_TWELVE(PLUMB_SUM)
  for (size_t n = 0; n < iterations; ++n) {
    PLUMB_TWELVE(PLUMB_ROUND)
  }
  PLUMB_TWELVE(PLUMB_KEEP)
#undef PLUMB_ROUND
  return static_cast<double>(iterations) * 12 * 8 * 4 * 2;
}

#undef PLUMB_SUM
#undef PLUMB_KEEP

// Four tiles of sums from two tiles of either side, as a matrix product uses them.
#define PLUMB_TILE_LOOP(instruction, pattern)      \
  const TileConfig config;                         \
  alignas(64) int32_t operand[16 * 16];            \
  for (int32_t & value : operand) value = pattern; \
  all_written(&config, operand);                   \
  _tile_loadconfig(&config);                       \
  _tile_loadd(4, operand, 64);                     \
  _tile_loadd(5, operand, 64);                     \
  _tile_loadd(6, operand, 64);                     \
  _tile_loadd(7, operand, 64);                     \
  _tile_zero(0);                                   \
  _tile_zero(1);                                   \
  _tile_zero(2);                                   \
  _tile_zero(3);                                   \
  for (size_t n = 0; n < iterations; ++n) {        \
    instruction(0, 4, 6);                          \
    instruction(1, 4, 7);                          \
    instruction(2, 5, 6);                          \
    instruction(3, 5, 7);                          \
  }                                                \
  _tile_release();

__attribute__((target("amx-tile,amx-bf16"))) double amx_bf16_loop(size_t iterations) {
  PLUMB_TILE_LOOP(_tile_dpbf16ps, kBF16Halves)
  return static_cast<double>(iterations) * 4 * 16 * 16 * 32 * 2;
}

__attribute__((target("amx-tile,amx-int8"))) double amx_int8_loop(size_t iterations) {
  PLUMB_TILE_LOOP(_tile_dpbssd, kBytes)
  return static_cast<double>(iterations) * 4 * 16 * 16 * 64 * 2;
}

}  // namespace plumb::x86

#else  // not x86-64

namespace plumb::x86 {

bool has_avx2() { return false; }
bool has_avx512_vnni() { return false; }
bool has_avx_vnni() { return false; }
bool has_amx_int8() { return false; }

double avx2_int8_loop(size_t) { PLUMB_CHECK(false && "no such instructions"); }
double avx512_bf16_loop(size_t) { PLUMB_CHECK(false && "no such instructions"); }
double avx512_vnni_loop(size_t) { PLUMB_CHECK(false && "no such instructions"); }
double avx_vnni_loop(size_t) { PLUMB_CHECK(false && "no such instructions"); }
double amx_bf16_loop(size_t) { PLUMB_CHECK(false && "no such instructions"); }
double amx_int8_loop(size_t) { PLUMB_CHECK(false && "no such instructions"); }

}  // namespace plumb::x86

#endif
