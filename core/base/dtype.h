// Element types of stored tensors, and the two 16-bit floating-point formats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace plumb {

enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

// The safetensors spelling: "F32", "BF16", ...
std::string_view dtype_name(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);
size_t dtype_bytes(DType dtype);
bool is_floating(DType dtype);

// bfloat16: the upper half of an IEEE float32. A separate type so that no integer slips in.
struct BF16 {
  uint16_t bits = 0;
};

// Round to nearest, ties to even; NaN stays NaN.
inline BF16 bf16_from_f32(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = bits + 0x7FFF + ((bits >> 16) & 1);
  return {static_cast<uint16_t>(value != value ? (bits >> 16) | 0x40 : rounded >> 16)};
}
inline float f32_from_bf16(BF16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
// Every value to the nearest that bf16 can hold.
void round_to_bf16(std::span<float> values);

// IEEE binary16 as raw bits. Round to nearest even, overflow to infinity.
uint16_t f16_from_f32(float value);
float f32_from_f16(uint16_t bits);

// Widens `count` elements of any floating type at `source` (unaligned is fine) to f32.
// REQUIRES is_floating(dtype).
void widen_to_f32(DType dtype, const std::byte* source, std::span<float> target);

}  // namespace plumb
