#include "core/base/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/base/check.h"

namespace plumb {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  size_t bytes;
  bool floating;
};

constexpr std::array<DTypeRow, 10> kDTypes = {{
    {DType::kF64, "F64", 8, true},
    {DType::kF32, "F32", 4, true},
    {DType::kF16, "F16", 2, true},
    {DType::kBF16, "BF16", 2, true},
    {DType::kI64, "I64", 8, false},
    {DType::kI32, "I32", 4, false},
    {DType::kI16, "I16", 2, false},
    {DType::kI8, "I8", 1, false},
    {DType::kU8, "U8", 1, false},
    {DType::kBool, "BOOL", 1, false},
}};

const DTypeRow& row_of(DType dtype) {
  for (const DTypeRow& row : kDTypes)
    if (row.dtype == dtype) return row;
  PLUMB_CHECK(false && "dtype without a table row");
  std::abort();
}

template <class T>
T read_at(const std::byte* source, size_t index) {
  T value;
  std::memcpy(&value, source + index * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

std::string_view dtype_name(DType dtype) { return row_of(dtype).name; }
size_t dtype_bytes(DType dtype) { return row_of(dtype).bytes; }
bool is_floating(DType dtype) { return row_of(dtype).floating; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (const DTypeRow& row : kDTypes)
    if (row.name == name) return row.dtype;
  return std::nullopt;
}

void round_to_bf16(std::span<float> values) {
  for (float& value : values) value = f32_from_bf16(bf16_from_f32(value));
}

uint16_t f16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return sign | 0x7E00;          // NaN
  if (magnitude >= 0x477FF000) return sign | 0x7C00;         // rounds past 65504, or infinity
  if (magnitude < 0x38800000) {                              // subnormal or zero in binary16
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24F;
    return sign | static_cast<uint16_t>(std::nearbyint(scaled));
  }
  const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

float f32_from_f16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1F;
  const uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000 | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

void widen_to_f32(DType dtype, const std::byte* source, std::span<float> target) {
  const size_t n = target.size();
  switch (dtype) {
    case DType::kF32:
      if (n > 0) std::memcpy(target.data(), source, n * sizeof(float));
      return;
    case DType::kF64:
      for (size_t i = 0; i < n; ++i) target[i] = static_cast<float>(read_at<double>(source, i));
      return;
    case DType::kBF16:
      for (size_t i = 0; i < n; ++i) target[i] = f32_from_bf16(read_at<BF16>(source, i));
      return;
    case DType::kF16:
      for (size_t i = 0; i < n; ++i) target[i] = f32_from_f16(read_at<uint16_t>(source, i));
      return;
    default:
      PLUMB_CHECK(false && "widen_to_f32 of an integer type");
  }
}

}  // namespace plumb
