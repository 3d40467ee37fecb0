#include "core/parallel/team.h"

#include <sched.h>

#include <algorithm>

#include "core/base/check.h"

namespace plumb {
namespace {

constexpr int kSpins = 4000;
constexpr uint64_t kLow = 0xFFFFFFFF;

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

Team::Team(int n_threads) : shares_(static_cast<size_t>(std::max(n_threads, 1))) {
  PLUMB_CHECK(n_threads >= 1);
  try {
    for (size_t i = 1; i < shares_.size(); ++i) workers_.emplace_back([this, i] { work(i); });
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

bool Team::Share::has_parts() const {
  const uint64_t now = ticket.load(std::memory_order_acquire);
  return (now & kLow) < now >> 32;
}

bool Team::Share::run_one() {
  uint64_t now = ticket.load(std::memory_order_acquire);
  do {
    if ((now & kLow) >= now >> 32) return false;
  } while (!ticket.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel));
  call(target, now & kLow);
  return true;
}

void Team::take_parts(size_t me) {
  size_t n_done = 0;
  for (size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[(me + i) % shares_.size()];
    while (share.run_one()) ++n_done;
  }
  if (n_done > 0) unfinished_.fetch_sub(n_done, std::memory_order_acq_rel);
}

void Team::dispatch(size_t n_parts, Call call, void* target) {
  PLUMB_CHECK(n_parts < kLow);
  unfinished_.store(n_parts, std::memory_order_relaxed);
  // Rounded up, so that of few parts the caller, who is awake, has the first. Its own share last:
  // a worker should not wait for anything that could be done after.
  const auto first_of = [&](uint64_t i) { return (n_parts * i + shares_.size() - 1) / shares_.size(); };
  for (size_t i = shares_.size(); i-- > 0;) {
    Share& share = shares_[i];
    share.call = call;
    share.target = target;
    share.ticket.store(first_of(i + 1) << 32 | first_of(i), std::memory_order_release);
  }
  generation_.store(generation_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  generation_.notify_all();
  take_parts(0);
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spin) {
    relax();
    if (spin > kSpins) sched_yield();
  }
}

void Team::work(size_t me) {
  const Share& mine = shares_[me];
  for (;;) {
    for (int spin = 0; !mine.has_parts() && spin < kSpins; ++spin) relax();
    if (mine.has_parts()) {
      take_parts(me);
      continue;
    }
    // Asked for before the last look: a loop that comes after it counts further, and wakes.
    const uint32_t seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    if (!mine.has_parts()) generation_.wait(seen, std::memory_order_acquire);
  }
}

}  // namespace plumb
