#include "core/kernels/ceilings.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "core/base/check.h"
#include "core/kernels/bf16_units.h"
#include "core/kernels/ceilings_x86.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/ceilings.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace plumb {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Twelve chains: more than latency times units anywhere, and they fit 16 registers.
double fma_loop(size_t iterations) {
  const hn::ScalableTag<float> d;
  // Unknown to the compiler, and such that the sums neither grow nor become denormal. Every chain
  // starts elsewhere: equal ones would be computed once and counted twelve times.
  volatile float seeds[12];
  for (int i = 0; i < 12; ++i) seeds[i] = 0.5F - 0.01F * static_cast<float>(i);
  const auto a = hn::Set(d, seeds[0]), b = hn::Set(d, -seeds[0]);
  auto s0 = hn::Set(d, seeds[0]), s1 = hn::Set(d, seeds[1]), s2 = hn::Set(d, seeds[2]);
  auto s3 = hn::Set(d, seeds[3]), s4 = hn::Set(d, seeds[4]), s5 = hn::Set(d, seeds[5]);
  auto s6 = hn::Set(d, seeds[6]), s7 = hn::Set(d, seeds[7]), s8 = hn::Set(d, seeds[8]);
  auto s9 = hn::Set(d, seeds[9]), s10 = hn::Set(d, seeds[10]), s11 = hn::Set(d, seeds[11]);
  for (size_t i = 0; i < iterations; ++i) {
    s0 = hn::MulAdd(s0, b, a), s1 = hn::MulAdd(s1, b, a), s2 = hn::MulAdd(s2, b, a);
    s3 = hn::MulAdd(s3, b, a), s4 = hn::MulAdd(s4, b, a), s5 = hn::MulAdd(s5, b, a);
    s6 = hn::MulAdd(s6, b, a), s7 = hn::MulAdd(s7, b, a), s8 = hn::MulAdd(s8, b, a);
    s9 = hn::MulAdd(s9, b, a), s10 = hn::MulAdd(s10, b, a), s11 = hn::MulAdd(s11, b, a);
  }
  const auto sum = hn::Add(
      hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7))),
      hn::Add(hn::Add(s8, s9), hn::Add(s10, s11)));
  volatile float kept = hn::GetLane(sum);
  (void)kept;
  return static_cast<double>(iterations) * 12 * 2 * static_cast<double>(hn::Lanes(d));
}

// Xors `bytes` from `data` in four streams. Returns what the compiler must not drop.
// REQUIRES bytes a multiple of 4096, data aligned to 64.
uint64_t read_streams(const uint8_t* HWY_RESTRICT data, size_t bytes) {
  const hn::ScalableTag<uint32_t> d;
  const size_t stream = bytes / 4 / 4, step = hn::Lanes(d);
  const auto* p0 = reinterpret_cast<const uint32_t*>(data);
  const uint32_t *p1 = p0 + stream, *p2 = p1 + stream, *p3 = p2 + stream;
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
  for (size_t i = 0; i < stream; i += 2 * step) {
    s0 = hn::Xor(s0, hn::Load(d, p0 + i)), t0 = hn::Xor(t0, hn::Load(d, p0 + i + step));
    s1 = hn::Xor(s1, hn::Load(d, p1 + i)), t1 = hn::Xor(t1, hn::Load(d, p1 + i + step));
    s2 = hn::Xor(s2, hn::Load(d, p2 + i)), t2 = hn::Xor(t2, hn::Load(d, p2 + i + step));
    s3 = hn::Xor(s3, hn::Load(d, p3 + i)), t3 = hn::Xor(t3, hn::Load(d, p3 + i + step));
  }
  const auto all =
      hn::Xor(hn::Xor(hn::Xor(s0, s1), hn::Xor(s2, s3)), hn::Xor(hn::Xor(t0, t1), hn::Xor(t2, t3)));
  return hn::GetLane(all);
}

}  // namespace HWY_NAMESPACE
}  // namespace plumb
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace plumb {

HWY_EXPORT(fma_loop);
HWY_EXPORT(read_streams);

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kRuns = 9;
constexpr double kRunSeconds = 0.008;  // long beside a hand-over, short beside a time slice

double seconds_since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

// The best rate in 1e9 operations a second of `n` threads that run loop(iterations) at once; the
// loop returns how many operations it did.
template <class Loop>
double best_rate(Team& team, size_t n, const Loop& loop) {
  size_t iterations = 1000;
  for (double elapsed = 0; elapsed < kRunSeconds;) {
    const auto began = Clock::now();
    loop(iterations);
    elapsed = seconds_since(began);
    if (elapsed < kRunSeconds) iterations *= 2;
  }
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<double> done(n);
    const auto began = Clock::now();
    team.run(n, [&](size_t part) { done[part] = loop(iterations); });
    const double elapsed = seconds_since(began);
    double operations = 0;
    for (double part : done) operations += part;
    best = std::max(best, operations / elapsed * 1e-9);
  }
  return best;
}

template <class Loop>
Ceiling arithmetic(Team& team, const Loop& loop) {
  const auto n = static_cast<size_t>(team.size());
  Ceiling ceiling;
  ceiling.one = best_rate(team, 1, loop);
  ceiling.all = n > 1 ? best_rate(team, n, loop) : ceiling.one;
  return ceiling;
}

// Anonymous memory, in huge pages where the system has them, so that page walks cost little.
class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes) {
    data_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    ::madvise(data_, bytes_, MADV_HUGEPAGE);
  }
  ~Buffer() { ::munmap(data_, bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  uint8_t* data() { return static_cast<uint8_t*>(data_); }

 private:
  void* data_;
  size_t bytes_;
};

double best_bandwidth(Team& team, uint8_t* data, size_t bytes, size_t n) {
  const size_t part_bytes = bytes / n / 4096 * 4096;
  const auto passes = std::max<size_t>(
      1, static_cast<size_t>(20e9 * kRunSeconds / static_cast<double>(part_bytes)));
  std::atomic<uint64_t> kept{0};
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto began = Clock::now();
    team.run(n, [&](size_t part) {
      uint64_t sum = 0;
      for (size_t pass = 0; pass < passes; ++pass)
        sum ^= HWY_DYNAMIC_DISPATCH(read_streams)(data + part * part_bytes, part_bytes);
      kept ^= sum;
    });
    const double elapsed = seconds_since(began);
    best = std::max(best, static_cast<double>(part_bytes * n * passes) / elapsed * 1e-9);
    if (elapsed > 0.5 && run >= 2) break;  // far beyond a time slice: three runs do
  }
  return best;
}

size_t available_memory() {
  const long pages = ::sysconf(_SC_AVPHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(size)
                               : size_t{256} << 20;
}

}  // namespace

CacheSizes cache_sizes() {
  const auto bytes = [](int name) {
    const long value = ::sysconf(name);
    return value > 0 ? static_cast<size_t>(value) : size_t{0};
  };
  return {bytes(_SC_LEVEL2_CACHE_SIZE), bytes(_SC_LEVEL3_CACHE_SIZE)};
}

BandwidthSizes bandwidth_sizes(const CacheSizes& caches, int n_threads) {
  constexpr size_t kMiB = size_t{1} << 20;
  const auto n = static_cast<size_t>(n_threads);
  const size_t l2 = caches.l2 > 0 ? caches.l2 : kMiB;
  const size_t l3 = caches.l3 > 0 ? caches.l3 : 16 * kMiB;
  BandwidthSizes sizes;
  sizes.l2 = l2 / 2 * n;
  sizes.l3 = std::min(std::max(4 * l2 * n, 16 * kMiB), l3 / 2);
  // Memory that others need is left to them; a smaller buffer is honest only while beyond L3.
  sizes.dram = std::min(std::max(4 * l3, 256 * kMiB), std::max(available_memory() / 4, 64 * kMiB));
  return sizes;
}

ArithmeticCeilings measure_arithmetic(Team& team) {
  ArithmeticCeilings found;
  found.f32 = arithmetic(team, [](size_t n) { return HWY_DYNAMIC_DISPATCH(fma_loop)(n); });
  if (dot_unit_available()) found.bf16_dot = arithmetic(team, x86::avx512_bf16_loop);
  if (x86::has_avx512_vnni()) {
    found.int8_dot = arithmetic(team, x86::avx512_vnni_loop);
    found.int8_instructions = "AVX-512 VNNI";
  } else if (x86::has_avx_vnni()) {
    found.int8_dot = arithmetic(team, x86::avx_vnni_loop);
    found.int8_instructions = "AVX-VNNI";
  } else if (x86::has_avx2()) {
    found.int8_dot = arithmetic(team, x86::avx2_int8_loop);
    found.int8_instructions = "AVX2 (maddubs, madd, add)";
  }
  if (tile_unit_available()) found.amx_bf16 = arithmetic(team, x86::amx_bf16_loop);
  if (x86::has_amx_int8()) found.amx_int8 = arithmetic(team, x86::amx_int8_loop);
  return found;
}

Ceiling measure_read_bandwidth(Team& team, size_t bytes) {
  const auto n = static_cast<size_t>(team.size());
  bytes = std::max((bytes + 4095) / 4096, n) * 4096;
  Buffer buffer(bytes);
  const size_t part = bytes / n / 4096 * 4096;
  // Touched first by the thread that reads it.
  team.run(n, [&](size_t i) { std::memset(buffer.data() + i * part, 1, part); });
  Ceiling ceiling;
  ceiling.one = best_bandwidth(team, buffer.data(), bytes, 1);
  ceiling.all = n > 1 ? best_bandwidth(team, buffer.data(), bytes, n) : ceiling.one;
  return ceiling;
}

}  // namespace plumb
#endif  // HWY_ONCE
