#include "core/base/mat.h"

#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <vector>

namespace plumb {

void* allocate_matrix(size_t bytes) {
  constexpr size_t kLine = 64, kLargePage = size_t{1} << 21;
  const bool large = bytes >= kLargePage;
  const size_t unit = large ? kLargePage : kLine;
  void* data = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  if (data == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // A request: where the kernel declines, small pages serve as well.
  if (large) (void)madvise(data, (bytes + unit - 1) / unit * unit, MADV_HUGEPAGE);
#endif
  return data;
}

namespace {

// Large pages cut into pieces, which are given back all at once: models come and go as wholes.
class Slabs {
 public:
  static constexpr size_t kSlab = size_t{8} << 20;

  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (slabs_.empty() || kSlab - slabs_.back().used < bytes)
      slabs_.push_back({static_cast<std::byte*>(allocate_matrix(kSlab))});
    Slab& slab = slabs_.back();
    void* data = slab.begin + slab.used;
    slab.used += bytes;
    ++slab.live;
    return data;
  }

  void give_back(void* data) {
    const std::lock_guard lock(mutex_);
    const auto holds = [&](const Slab& slab) {
      return !std::less<>()(static_cast<std::byte*>(data), slab.begin) &&
             std::less<>()(static_cast<std::byte*>(data), slab.begin + kSlab);
    };
    const auto slab = std::find_if(slabs_.begin(), slabs_.end(), holds);
    PLUMB_CHECK(slab != slabs_.end());
    if (--slab->live > 0) return;
    std::free(slab->begin);
    slabs_.erase(slab);
  }

 private:
  struct Slab {
    std::byte* begin;
    size_t used = 0, live = 0;  // bytes given out, pieces not yet given back
  };
  std::mutex mutex_;
  std::vector<Slab> slabs_;
};

// Never destroyed: a model in a static variable may outlive everything else.
Slabs& slabs() {
  static Slabs& all = *new Slabs;
  return all;
}

// What is larger has large pages of its own, nearly full ones.
bool shares_pages(size_t bytes) { return bytes <= Slabs::kSlab / 2; }

}  // namespace

void* allocate_weights(size_t bytes) {
  if (bytes == 0) return nullptr;
  return shares_pages(bytes) ? slabs().take(bytes) : allocate_matrix(bytes);
}

void free_weights(void* data, size_t bytes) {
  if (data == nullptr) return;
  if (shares_pages(bytes))
    slabs().give_back(data);
  else
    std::free(data);
}

}  // namespace plumb
