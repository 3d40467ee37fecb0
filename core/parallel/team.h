// Team: persistent threads for parallel loops that last microseconds.
//
// A recurrence of a small looped core takes 0.2 ms and holds about ten parallel loops, so workers
// spin briefly for the next loop before they sleep. Which thread runs which part never changes a
// result: parts write disjoint outputs.
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

  void dispatch(size_t n_parts, Call call, void* target);
  void work();
  void stop();
  void take_parts(uint32_t generation);

  // The loop in progress. (generation << 32 | next part): a worker that wakes late finds another
  // generation and takes nothing.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<uint32_t> generation_{0};
  std::atomic<size_t> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<size_t> n_parts_{0};
  // Read only by a thread that holds a ticket of the loop they belong to.
  Call call_ = nullptr;
  void* target_ = nullptr;
  std::atomic<int> inside_{0};  // workers between entering and leaving take_parts()
  std::vector<std::thread> workers_;
};

// Cores this process may run on.
int available_cores();

}  // namespace plumb
