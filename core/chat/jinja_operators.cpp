// Python's operators on template values.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/chat/jinja_runtime.h"
#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

constexpr const char* kBinaryNames[] = {"+", "-", "*", "/", "//", "%", "**"};

void reject_undefined(const Value& value) {
  if (value.is_undefined()) fail("{}", value.as_text());
}

// Exact for any int64 beside any double: the mantissa of a long double holds 64 bits.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral())
    return (a.as_integer() > b.as_integer()) - (a.as_integer() < b.as_integer());
  const auto wide = [](const Value& v) {
    return v.is_integral() ? static_cast<long double>(v.as_integer())
                           : static_cast<long double>(v.as_real());
  };
  const long double x = wide(a), y = wide(b);
  if (std::isnan(x) || std::isnan(y)) return 2;  // unordered
  return (x > y) - (x < y);
}

bool equal_lists(Runtime& runtime, const List& a, const List& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!equals(runtime, a[i], b[i])) return false;
  return true;
}

bool equal_dicts(Runtime& runtime, const DictObject& a, const DictObject& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = b.find(runtime, key);
    if (other == nullptr || !equals(runtime, value, *other)) return false;
  }
  return true;
}

bool holds(CompareOp op, int order) {
  switch (op) {
    case CompareOp::kLt:
      return order == -1;
    case CompareOp::kLe:
      return order == -1 || order == 0;
    case CompareOp::kGt:
      return order == 1;
    case CompareOp::kGe:
      return order == 1 || order == 0;
    default:
      return false;
  }
}

bool compare_lists(Runtime& runtime, CompareOp op, const List& a, const List& b) {
  const size_t shared = std::min(a.size(), b.size());
  for (size_t i = 0; i < shared; ++i)
    if (!equals(runtime, a[i], b[i])) return compare(runtime, op, a[i], b[i]);
  return holds(op, (a.size() > b.size()) - (a.size() < b.size()));
}

[[noreturn]] void unsupported(BinaryOp op, const Value& a, const Value& b) {
  fail("operator {} does not apply to {} and {}", kBinaryNames[static_cast<int>(op)], type_name(a),
       type_name(b));
}

[[noreturn]] void overflow(BinaryOp op) {
  fail("the result of {} does not fit in 64 bits", kBinaryNames[static_cast<int>(op)]);
}

int64_t integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  // Beyond these bases 63 squarings overflow long before the loop is long.
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(result, base, &result)) overflow(BinaryOp::kPow);
  return result;
}

int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value integer_binary(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOp::kAdd:
      if (__builtin_add_overflow(a, b, &result)) overflow(op);
      break;
    case BinaryOp::kSub:
      if (__builtin_sub_overflow(a, b, &result)) overflow(op);
      break;
    case BinaryOp::kMul:
      if (__builtin_mul_overflow(a, b, &result)) overflow(op);
      break;
    case BinaryOp::kDiv:
      if (b == 0) fail("division by zero");
      return Value::real(
          static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case BinaryOp::kFloorDiv:
      if (b == 0) fail("division by zero");
      if (b == -1 && a == INT64_MIN) overflow(op);
      result = floor_divide(a, b);
      break;
    case BinaryOp::kMod:
      if (b == 0) fail("modulo by zero");
      result = floor_modulo(a, b);
      break;
    case BinaryOp::kPow:
      if (b < 0 && a == 0) fail("zero cannot be raised to a negative power");
      if (b < 0) return Value::real(std::pow(static_cast<double>(a), static_cast<double>(b)));
      result = integer_power(a, b);
      break;
  }
  return Value::integer(result);
}

double real_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double real_floor_divide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

double real_power(double a, double b) {
  if (a == 0 && b < 0) fail("zero cannot be raised to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b))
    fail("a fractional power of a negative number is not supported");
  const double power = std::pow(a, b);
  if (std::isinf(power) && std::isfinite(a) && std::isfinite(b))
    fail("the result of ** is too large");
  return power;
}

Value real_binary(BinaryOp op, double a, double b) {
  if ((op == BinaryOp::kDiv || op == BinaryOp::kFloorDiv) && b == 0) fail("division by zero");
  if (op == BinaryOp::kMod && b == 0) fail("modulo by zero");
  switch (op) {
    case BinaryOp::kAdd:
      return Value::real(a + b);
    case BinaryOp::kSub:
      return Value::real(a - b);
    case BinaryOp::kMul:
      return Value::real(a * b);
    case BinaryOp::kDiv:
      return Value::real(a / b);
    case BinaryOp::kFloorDiv:
      return Value::real(real_floor_divide(a, b));
    case BinaryOp::kMod:
      return Value::real(real_modulo(a, b));
    case BinaryOp::kPow:
      return Value::real(real_power(a, b));
  }
  return Value();
}

Value add_texts(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_escaped() || b.is_escaped())
    fail("+ on the result of the escape and safe filters is not supported (use ~)");
  runtime.check_text(a.as_text().size() + b.as_text().size());
  return runtime.text(a.as_text() + b.as_text());
}

Value add_lists(Runtime& runtime, const Value& a, const Value& b) {
  runtime.spend(a.as_list().size() + b.as_list().size());
  List items = a.as_list();
  items.insert(items.end(), b.as_list().begin(), b.as_list().end());
  return runtime.list(std::move(items), a.kind());
}

Value repeat(Runtime& runtime, const Value& value, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (value.is_string()) {
    const std::string& text = value.as_text();
    if (!text.empty() && count > kMaxTextBytes / text.size()) runtime.check_text(kMaxTextBytes + 1);
    std::string repeated(text.size() * count, '\0');
    for (size_t done = 0; done < repeated.size();) {  // doubling what is there already
      const size_t step = done == 0 ? text.size() : std::min(done, repeated.size() - done);
      std::memcpy(repeated.data() + done, done == 0 ? text.data() : repeated.data(), step);
      done += step;
    }
    return runtime.text(std::move(repeated));
  }
  const List& source = value.as_list();
  if (!source.empty() && count > kMaxOperations / source.size()) runtime.spend(kMaxOperations + 1);
  runtime.spend(source.empty() ? 0 : count * source.size());
  List items;
  if (!source.empty())
    for (size_t i = 0; i < count; ++i) items.insert(items.end(), source.begin(), source.end());
  return runtime.list(std::move(items), value.kind());
}

bool repeatable(const Value& value) { return value.is_string() || value.is_sequence(); }

}  // namespace

bool truthy(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.as_integer() != 0;
    case Kind::kFloat:
      return value.as_real() != 0;
    case Kind::kString:
      return !value.as_text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
    case Kind::kLoop:
      return length_of(runtime, value) > 0;
    default:
      return true;
  }
}

bool equals(Runtime& runtime, const Value& a, const Value& b) {
  runtime.spend();
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      if (a.as_text().size() != b.as_text().size()) return false;
      runtime.spend_compare(a.as_text().size());
      return a.as_text() == b.as_text();
    case Kind::kList:
    case Kind::kTuple:
      return equal_lists(runtime, a.as_list(), b.as_list());
    case Kind::kDict:
      return equal_dicts(runtime, a.as<DictObject>(), b.as<DictObject>());
    default:
      return a.object() == b.object();
  }
}

bool compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq:
      return equals(runtime, a, b);
    case CompareOp::kNe:
      return !equals(runtime, a, b);
    case CompareOp::kIn:
      return contains(runtime, b, a);
    case CompareOp::kNotIn:
      return !contains(runtime, b, a);
    default:
      break;
  }
  runtime.spend();
  reject_undefined(a);
  reject_undefined(b);
  if (a.is_number() && b.is_number()) return holds(op, compare_numbers(a, b));
  if (a.is_string() && b.is_string()) {  // UTF-8 sorts as its code points do
    runtime.spend_compare(std::min(a.as_text().size(), b.as_text().size()));
    const int order = a.as_text().compare(b.as_text());
    return holds(op, (order > 0) - (order < 0));
  }
  if (a.is_sequence() && a.kind() == b.kind())
    return compare_lists(runtime, op, a.as_list(), b.as_list());
  fail("{} and {} cannot be put in order", type_name(a), type_name(b));
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  runtime.spend();
  switch (container.kind()) {
    case Kind::kString:
      reject_undefined(item);
      if (!item.is_string()) fail("'in' a string needs a string, found {}", type_name(item));
      runtime.spend_scan(container.as_text().size());
      return find_text(container.as_text(), item.as_text()) != std::string::npos;
    case Kind::kDict:
      if (!hashable(runtime, item)) fail("'{}' cannot be a dict key", type_name(item));
      return container.as<DictObject>().find(runtime, item) != nullptr;
    default:
      break;
  }
  if (!iterable(container)) fail("'in' does not apply to {}", type_name(container));
  const auto source = iterate(runtime, container);
  for (Value other; source->next(runtime, &other);)
    if (equals(runtime, item, other)) return true;
  return false;
}

Value binary(Runtime& runtime, BinaryOp op, const Value& a, const Value& b) {
  if (op == BinaryOp::kMod && a.is_string()) {
    if (a.is_escaped()) fail("% on the result of the escape and safe filters is not supported");
    return format_percent(runtime, a.as_text(), b);
  }
  reject_undefined(a);
  reject_undefined(b);
  if (a.is_integral() && b.is_integral()) return integer_binary(op, a.as_integer(), b.as_integer());
  if (a.is_number() && b.is_number()) return real_binary(op, a.as_real(), b.as_real());
  if (op == BinaryOp::kAdd && a.is_string() && b.is_string()) return add_texts(runtime, a, b);
  if (op == BinaryOp::kAdd && a.is_sequence() && a.kind() == b.kind())
    return add_lists(runtime, a, b);
  if (op == BinaryOp::kMul && repeatable(a) && b.is_integral())
    return repeat(runtime, a, b.as_integer());
  if (op == BinaryOp::kMul && a.is_integral() && repeatable(b))
    return repeat(runtime, b, a.as_integer());
  unsupported(op, a, b);
}

Value negate(const Value& value) {
  reject_undefined(value);
  if (value.is(Kind::kFloat)) return Value::real(-value.as_real());
  if (!value.is_integral()) fail("unary - does not apply to {}", type_name(value));
  if (value.as_integer() == INT64_MIN) fail("the result of - does not fit in 64 bits");
  return Value::integer(-value.as_integer());
}

}  // namespace plumb::jinja
