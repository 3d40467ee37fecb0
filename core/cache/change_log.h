// ChangeLog: which positions were touched since a moment, kept as the one number a reader needs,
// the first of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace plumb {

class ChangeLog {
 public:
  static constexpr int kNone = std::numeric_limits<int>::max();

  void note(int pos) {
    // A later change at or before a position hides the earlier one, so both columns ascend.
    while (!entries_.empty() && entries_.back().pos >= pos) entries_.pop_back();
    entries_.push_back({++now_, pos});
  }
  uint64_t now() const { return now_; }
  // The smallest position noted after `moment`, a former now(); kNone: nothing was.
  int first_since(uint64_t moment) const {
    const auto entry =
        std::upper_bound(entries_.begin(), entries_.end(), moment,
                         [](uint64_t when, const Entry& e) { return when < e.when; });
    return entry == entries_.end() ? kNone : entry->pos;
  }

 private:
  struct Entry {
    uint64_t when;
    int pos;
  };
  std::vector<Entry> entries_;
  uint64_t now_ = 0;
};

}  // namespace plumb
