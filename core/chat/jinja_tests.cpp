// The tests of `x is TEST`.
#include <algorithm>

#include "core/chat/jinja_runtime.h"
#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

struct Test {
  std::string_view name;
  size_t arguments;
  bool (*holds)(Runtime& runtime, const Value& value, const Value& other);
};

bool divisible(Runtime& runtime, const Value& value, const Value& by, int64_t rest) {
  const Value modulo = binary(runtime, BinaryOp::kMod, value, by);
  return equals(runtime, modulo, Value::integer(rest));
}

template <CompareOp op>
bool compares(Runtime& runtime, const Value& value, const Value& other) {
  return compare(runtime, op, value, other);
}

template <Kind kind>
bool is_kind(Runtime&, const Value& value, const Value&) {
  return value.is(kind);
}

bool same_object(Runtime&, const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
      return true;
    case Kind::kBool:
      return a.as_integer() == b.as_integer();
    case Kind::kInt:
    case Kind::kFloat:
    case Kind::kString:
      fail("sameas on type {} is not supported (use ==)", type_name(a));
    default:
      return a.object() == b.object();
  }
}

// All cased characters are of one case, and there is at least one.
bool one_case(Runtime& runtime, const Value& value, bool (*wanted)(char32_t),
              bool (*other)(char32_t)) {
  const std::string text = to_text(runtime, value);
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t point = next_point(text, &at);
    if (other(point)) return false;
    any = any || wanted(point);
  }
  return any;
}

bool is_callable(Runtime&, const Value& value, const Value&) {
  return value.is(Kind::kMacro) || value.is(Kind::kFunction) || value.is(Kind::kLoop) ||
         value.is_undefined();
}

constexpr Test kTests[] = {
    {"defined", 0, [](Runtime&, const Value& v, const Value&) { return !v.is_undefined(); }},
    {"undefined", 0, is_kind<Kind::kUndefined>},
    {"none", 0, is_kind<Kind::kNone>},
    {"boolean", 0, is_kind<Kind::kBool>},
    {"true", 0,
     [](Runtime&, const Value& v, const Value&) {
       return v.is(Kind::kBool) && v.as_integer() != 0;
     }},
    {"false", 0,
     [](Runtime&, const Value& v, const Value&) {
       return v.is(Kind::kBool) && v.as_integer() == 0;
     }},
    {"integer", 0, is_kind<Kind::kInt>},
    {"float", 0, is_kind<Kind::kFloat>},
    {"number", 0, [](Runtime&, const Value& v, const Value&) { return v.is_number(); }},
    {"string", 0, is_kind<Kind::kString>},
    {"mapping", 0, is_kind<Kind::kDict>},
    {"iterable", 0, [](Runtime&, const Value& v, const Value&) { return iterable(v); }},
    {"sequence", 0,
     [](Runtime&, const Value& v, const Value&) {
       return v.is_string() || v.is_sequence() || v.is(Kind::kDict) || v.is(Kind::kRange) ||
              v.is_undefined();
     }},
    {"callable", 0, is_callable},
    {"escaped", 0, [](Runtime&, const Value& v, const Value&) { return v.is_escaped(); }},
    {"lower", 0,
     [](Runtime& r, const Value& v, const Value&) {
       return one_case(r, v, is_cased_lower, is_cased_upper);
     }},
    {"upper", 0,
     [](Runtime& r, const Value& v, const Value&) {
       return one_case(r, v, is_cased_upper, is_cased_lower);
     }},
    {"odd", 0,
     [](Runtime& r, const Value& v, const Value&) {
       return divisible(r, v, Value::integer(2), 1);
     }},
    {"even", 0,
     [](Runtime& r, const Value& v, const Value&) {
       return divisible(r, v, Value::integer(2), 0);
     }},
    {"divisibleby", 1,
     [](Runtime& r, const Value& v, const Value& by) { return divisible(r, v, by, 0); }},
    {"sameas", 1, same_object},
    {"in", 1, [](Runtime& r, const Value& v, const Value& in) { return contains(r, in, v); }},
    {"==", 1, compares<CompareOp::kEq>},
    {"eq", 1, compares<CompareOp::kEq>},
    {"equalto", 1, compares<CompareOp::kEq>},
    {"!=", 1, compares<CompareOp::kNe>},
    {"ne", 1, compares<CompareOp::kNe>},
    {">", 1, compares<CompareOp::kGt>},
    {"gt", 1, compares<CompareOp::kGt>},
    {"greaterthan", 1, compares<CompareOp::kGt>},
    {">=", 1, compares<CompareOp::kGe>},
    {"ge", 1, compares<CompareOp::kGe>},
    {"<", 1, compares<CompareOp::kLt>},
    {"lt", 1, compares<CompareOp::kLt>},
    {"lessthan", 1, compares<CompareOp::kLt>},
    {"<=", 1, compares<CompareOp::kLe>},
    {"le", 1, compares<CompareOp::kLe>},
};

}  // namespace

bool apply_test(Runtime& runtime, const std::string& name, const Value& value,
                const Arguments& arguments) {
  const auto it = std::find_if(std::begin(kTests), std::end(kTests),
                               [&](const Test& test) { return test.name == name; });
  if (it == std::end(kTests)) fail("the test '{}' is not supported", name);
  if (!arguments.named.empty()) fail("the test '{}' takes no named arguments", name);
  if (arguments.positional.size() != it->arguments)
    fail("the test '{}' takes {} arguments, found {}", name, it->arguments,
         arguments.positional.size());
  return it->holds(runtime, value, it->arguments == 0 ? Value() : arguments.positional[0]);
}

}  // namespace plumb::jinja
