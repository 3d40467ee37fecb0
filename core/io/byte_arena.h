// ByteArena: memory for tensors that cannot be used in place, with a ceiling fixed beforehand, so
// that a small file full of views of one storage cannot ask for all the memory there is.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <vector>

namespace plumb {

class ByteArena {
 public:
  explicit ByteArena(size_t limit) : left_(limit) {}

  // Uninitialised bytes that live as long as the arena, aligned for any scalar; null when the
  // limit, or the memory, is exhausted.
  std::byte* take(size_t bytes) {
    if (bytes > left_) return nullptr;
    std::unique_ptr<std::byte[]> block(new (std::nothrow) std::byte[bytes]);
    if (block == nullptr) return nullptr;
    left_ -= bytes;
    blocks_.push_back(std::move(block));
    return blocks_.back().get();
  }

 private:
  size_t left_;
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
};

}  // namespace plumb
