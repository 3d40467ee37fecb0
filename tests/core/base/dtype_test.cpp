#include "core/base/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace plumb {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A 16-bit format by its definition: sign, exponent and mantissa fields, nothing clever.
struct Format {
  int mantissa_bits;
  int bias;
};
constexpr Format kHalf{10, 15}, kBrain{7, 127};

double by_definition(Format format, uint16_t bits) {
  const int exponent_bits = 15 - format.mantissa_bits;
  const int exponent = bits >> format.mantissa_bits & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) return mantissa != 0 ? std::nan("") : sign * HUGE_VAL;
  const int whole = exponent == 0 ? mantissa : mantissa | 1 << format.mantissa_bits;
  return sign * std::ldexp(whole, std::max(exponent, 1) - format.bias - format.mantissa_bits);
}

void expect_same_value(float actual, double expected, int bits) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << std::hex << bits;
  } else {
    EXPECT_EQ(double{actual}, expected) << std::hex << bits;
    EXPECT_EQ(std::signbit(actual), std::signbit(expected)) << std::hex << bits;
  }
}

TEST(DType, AllHalfValuesWidenByDefinition) {
  for (int bits = 0; bits < 0x10000; ++bits)
    expect_same_value(f32_from_f16(static_cast<uint16_t>(bits)),
                      by_definition(kHalf, static_cast<uint16_t>(bits)), bits);
}

TEST(DType, AllBrainValuesWidenByDefinition) {
  for (int bits = 0; bits < 0x10000; ++bits)
    expect_same_value(f32_from_bf16({static_cast<uint16_t>(bits)}),
                      by_definition(kBrain, static_cast<uint16_t>(bits)), bits);
}

// Between two neighbours: the middle goes to the even one, anything off the middle to the nearer.
// Both signs, and both sides of every one of the 2^15 - 1 gaps up to infinity.
template <class Narrow>
void expect_nearest_even(Format format, uint16_t infinity, Narrow narrow) {
  for (uint16_t lower = 0; lower < infinity; ++lower) {
    const uint16_t upper = lower + 1;
    const double a = by_definition(format, lower);
    // The value infinity's bits would have, were it one more finite step.
    const double b =
        upper == infinity ? 2 * a - by_definition(format, lower - 1) : by_definition(format, upper);
    const float middle = static_cast<float>(a / 2 + b / 2);
    const uint16_t even = lower % 2 == 0 ? lower : upper;
    ASSERT_EQ(narrow(middle), even) << lower;
    ASSERT_EQ(narrow(-middle), even | 0x8000) << lower;
    ASSERT_EQ(narrow(std::nextafter(middle, 0.0F)), lower);
    ASSERT_EQ(narrow(std::nextafter(middle, kInfinity)), upper);
    ASSERT_EQ(narrow(static_cast<float>(a)), lower);
  }
  EXPECT_EQ(narrow(kInfinity), infinity);
  EXPECT_EQ(narrow(-kInfinity), infinity | 0x8000);
  EXPECT_EQ(narrow(std::numeric_limits<float>::max()), infinity);
}

TEST(DType, HalfRoundsToNearestEven) { expect_nearest_even(kHalf, 0x7C00, f16_from_f32); }

TEST(DType, BrainRoundsToNearestEven) {
  expect_nearest_even(kBrain, 0x7F80, [](float value) { return bf16_from_f32(value).bits; });
}

TEST(DType, NanStaysNan) {
  // Payloads in the low bits only: cut off, they would turn into infinity.
  for (const uint32_t bits : {0x7F800001u, 0xFF800001u, 0x7FFFFFFFu, 0x7FC00000u}) {
    const float nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(nan)))) << std::hex << bits;
    EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(nan)))) << std::hex << bits;
  }
}

constexpr DType kAll[] = {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64,
                          DType::kI32, DType::kI16, DType::kI8,  DType::kU8,   DType::kBool};

TEST(DType, NamesRoundTripAndOthersAreRefused) {
  for (const DType dtype : kAll) EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
  for (const char* name : {"", "f32", "F8_E4M3", "F32 "})
    EXPECT_EQ(parse_dtype(name), std::nullopt);
}

TEST(DType, SizesAndKindsAreThoseOfTheFormat) {
  for (const DType dtype : kAll) {
    const std::string_view name = dtype_name(dtype);
    const bool boolean = dtype == DType::kBool;
    const size_t bits =
        boolean ? 8 : std::stoul(std::string(name.substr(name.find_first_of("1368"))));
    EXPECT_EQ(dtype_bytes(dtype) * 8, bits) << name;
    EXPECT_EQ(is_floating(dtype), !boolean && (name[0] == 'F' || name[0] == 'B')) << name;
  }
}

template <class T>
std::vector<float> widen_unaligned(DType dtype, const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T) + 1);
  std::memcpy(bytes.data() + 1, values.data(), values.size() * sizeof(T));
  std::vector<float> widened(values.size(), -1.0F);
  widen_to_f32(dtype, bytes.data() + 1, widened);
  return widened;
}

TEST(DType, WidensEveryFloatingTypeFromAnyAddress) {
  const std::vector<float> expected = {1.5F, -0.25F, 0.0F, 96.0F};
  EXPECT_EQ(widen_unaligned<float>(DType::kF32, expected), expected);
  EXPECT_EQ(widen_unaligned<double>(DType::kF64, {1.5, -0.25, 0.0, 96.0}), expected);
  EXPECT_EQ(widen_unaligned<uint16_t>(DType::kF16, {0x3E00, 0xB400, 0, 0x5600}), expected);
  EXPECT_EQ(widen_unaligned<uint16_t>(DType::kBF16, {0x3FC0, 0xBE80, 0, 0x42C0}), expected);
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16})
    widen_to_f32(dtype, nullptr, {});
}

TEST(DTypeDeathTest, WideningAnIntegerIsOurMistake) {
  float target = 0.0F;
  const std::byte source[8] = {};
  EXPECT_DEATH(widen_to_f32(DType::kI32, source, {&target, 1}), "widen_to_f32 of an integer");
}

}  // namespace
}  // namespace plumb
