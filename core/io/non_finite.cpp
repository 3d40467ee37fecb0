#include <bit>
#include <cstring>

#include "core/io/checkpoint.h"

namespace plumb {
namespace {

// NaN and infinity are the values whose exponent bits are all ones.
template <class Bits>
size_t count_all_ones(const TensorInfo& tensor, Bits exponent_mask) {
  size_t count = 0;
  const size_t n = tensor.bytes / sizeof(Bits);
  for (size_t i = 0; i < n; ++i) {
    Bits bits;
    std::memcpy(&bits, tensor.data + i * sizeof(Bits), sizeof(Bits));
    count += (bits & exponent_mask) == exponent_mask;
  }
  return count;
}

size_t count_non_finite(const TensorInfo& tensor) {
  switch (tensor.dtype) {
    case DType::kF64:
      return count_all_ones<uint64_t>(tensor, 0x7FF0'0000'0000'0000);
    case DType::kF32:
      return count_all_ones<uint32_t>(tensor, 0x7F80'0000);
    case DType::kBF16:
      return count_all_ones<uint16_t>(tensor, 0x7F80);
    case DType::kF16:
      return count_all_ones<uint16_t>(tensor, 0x7C00);
    default:
      return 0;
  }
}

}  // namespace

std::optional<std::string> non_finite_report(const Checkpoint& checkpoint) {
  constexpr size_t kShown = 5;
  size_t n_tensors = 0;
  std::string named;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const size_t count = count_non_finite(tensor);
    if (count == 0) continue;
    if (n_tensors++ < kShown)
      named += fmt::format("{}{} ({} of {} values)", named.empty() ? "" : ", ",
                           quote_name(tensor.name), count, tensor.element_count());
  }
  if (n_tensors == 0) return std::nullopt;
  const std::string more =
      n_tensors > kShown ? fmt::format(" and {} more", n_tensors - kShown) : "";
  return fmt::format("{}: NaN or infinity in {}{}", checkpoint.display_name(), named, more);
}

}  // namespace plumb
