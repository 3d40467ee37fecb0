#include "core/base/mat.h"

#include <sys/mman.h>

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

}  // namespace plumb
