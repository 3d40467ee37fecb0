// Team: persistent threads for parallel loops that last microseconds.
//
// A recurrence of a small looped core takes 0.2 ms and holds about ten parallel loops, so workers
// spin briefly for the next loop before they sleep. Which thread runs which part never changes a
// result: parts write disjoint outputs.
//
// Every thread has a share of the parts, the same stretch of [0, n_parts) in every loop, and takes
// those of others only when its own are gone. Loops whose parts go by rows therefore find in a
// core's own cache the rows that the loop before left there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace plumb {

// What a user may ask for; more than any machine here has.
inline constexpr int kMaxThreads = 1024;

class Team {
 public:
  // `n_threads` >= 1 counts the calling thread. Throws std::system_error when the machine gives no
  // more threads.
  explicit Team(int n_threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls fn(part) once for every part in [0, n_parts), on all threads, and returns when all are
  // done. One caller at a time; `fn` must not call run() itself.
  template <class Fn>
  void run(size_t n_parts, Fn&& fn) {
    if (n_parts <= 1 || workers_.empty()) {
      for (size_t part = 0; part < n_parts; ++part) fn(part);
      return;
    }
    using Target = std::remove_reference_t<Fn>;
    dispatch(n_parts, [](void* target, size_t part) { (*static_cast<Target*>(target))(part); },
             const_cast<void*>(static_cast<const void*>(&fn)));
  }

 private:
  using Call = void (*)(void* target, size_t part);

  // A thread's parts of the loop in progress, and all that it needs to run them on one cache line.
  //
  // Only a ticket that was changed from `next` to `next` + 1 gives a part, and a loop is not over
  // before all its parts are done: whoever has got one may read `call` and `target`, and whoever
  // comes late, with a ticket of a loop that is over in hand, gets none or one of the new loop.
  struct alignas(64) Share {
    std::atomic<uint64_t> ticket{0};  // end << 32 | next
    Call call = nullptr;
    void* target = nullptr;

    bool has_parts() const;
    bool run_one();
  };

  void dispatch(size_t n_parts, Call call, void* target);
  void work(size_t me);
  void stop();
  void take_parts(size_t me);

  std::vector<Share> shares_;  // of every thread, the caller's first
  std::vector<std::thread> workers_;
  std::atomic<bool> stopping_{false};
  // Counts loops: what workers sleep on.
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<size_t> unfinished_{0};
};

// Cores this process may run on.
int available_cores();

}  // namespace plumb
