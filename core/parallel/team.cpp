#include "core/parallel/team.h"

#include <sched.h>

#include "core/base/check.h"

namespace plumb {
namespace {

constexpr int kSpins = 4000;
constexpr uint64_t kLastTicket = 0xFFFFFFFF;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return 1;
}

Team::Team(int n_threads) {
  PLUMB_CHECK(n_threads >= 1);
  try {
    for (int i = 1; i < n_threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {  // no more threads to be had: those that run must not be left behind
    stop();
    throw;
  }
}

Team::~Team() { stop(); }

void Team::stop() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Team::take_parts(uint32_t generation) {
  for (;;) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
      if (static_cast<uint32_t>(ticket >> 32) != generation) return;
      if ((ticket & kLastTicket) >= n_parts_.load(std::memory_order_relaxed)) return;
    } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel));
    call_(target_, ticket & kLastTicket);
    unfinished_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

void Team::dispatch(size_t n_parts, Call call, void* target) {
  PLUMB_CHECK(n_parts < kLastTicket);
  // A worker that slept through the previous loop may wake at any moment and look for its tickets.
  // None can be had from here on, whatever number of parts it compares them with: the tickets are
  // sold out first, and only then do the fields change.
  ticket_.fetch_or(kLastTicket, std::memory_order_acq_rel);
  while (inside_.load(std::memory_order_acquire) != 0) relax();
  n_parts_.store(n_parts, std::memory_order_relaxed);
  call_ = call;
  target_ = target;
  unfinished_.store(n_parts, std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  ticket_.store(static_cast<uint64_t>(generation) << 32, std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  take_parts(generation);
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spin) {
    relax();
    if (spin > kSpins) sched_yield();
  }
}

void Team::work() {
  uint32_t seen = 0;
  for (;;) {
    // Asked before every sleep: the generation that told us to stop may be the one we took for a
    // loop's, below, and then no other will come.
    if (stopping_.load()) return;
    uint32_t now = generation_.load(std::memory_order_acquire);
    for (int spin = 0; now == seen && spin < kSpins; ++spin) {
      relax();
      now = generation_.load(std::memory_order_acquire);
    }
    if (now == seen) {
      generation_.wait(seen, std::memory_order_acquire);
      continue;
    }
    inside_.fetch_add(1, std::memory_order_acq_rel);
    // Only the newest generation is worth joining; an older one is over.
    now = generation_.load(std::memory_order_acquire);
    take_parts(now);
    inside_.fetch_sub(1, std::memory_order_acq_rel);
    seen = now;
  }
}

}  // namespace plumb
