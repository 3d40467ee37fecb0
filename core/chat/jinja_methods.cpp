// Methods of list, tuple, dict and loop, and the lookup of all methods. The sandbox's rule holds:
// what would change a value is not there, and says so when it is called.
#include "core/chat/jinja_methods.h"

#include <algorithm>

namespace plumb::jinja {
namespace {

Value list_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"value"}, 1);
  int64_t count = 0;
  for (const Value& item : self.as_list()) count += equals(runtime, item, bound[0]);
  return Value::integer(count);
}

Value list_index(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("index", arguments, {"value"}, 1);
  const List& items = self.as_list();
  for (size_t i = 0; i < items.size(); ++i)
    if (equals(runtime, items[i], bound[0])) return Value::integer(static_cast<int64_t>(i));
  fail("index: the value is not in the {}", type_name(self));
}

Value copy_self(Runtime&, const Value& self, const Arguments& arguments) {
  Bound("copy", arguments, {});
  return self;
}

constexpr MethodEntry kListMethods[] = {
    {"count", list_count}, {"index", list_index}, {"copy", copy_self}};
constexpr MethodEntry kTupleMethods[] = {{"count", list_count}, {"index", list_index}};
constexpr std::string_view kListChanges[] = {"append", "clear", "pop",    "reverse",
                                             "insert", "sort",  "extend", "remove"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};

Value dict_items(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Bound("items", arguments, {});
  List items;
  for (const auto& [key, value] : self.as<DictObject>().items)
    items.push_back(runtime.list({key, value}, Kind::kTuple));
  return runtime.view("dict_items", std::move(items));
}

template <bool keys>
Value dict_side(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Bound(keys ? "keys" : "values", arguments, {});
  List items;
  for (const auto& [key, value] : self.as<DictObject>().items) items.push_back(keys ? key : value);
  return runtime.view(keys ? "dict_keys" : "dict_values", std::move(items));
}

Value dict_get(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (!arguments.named.empty()) fail("get takes no named arguments");
  const Bound bound("get", arguments, {"key", "default"}, 1);
  if (!hashable(runtime, bound[0])) fail("'{}' cannot be a dict key", type_name(bound[0]));
  const Value* value = self.as<DictObject>().find(runtime, bound[0]);
  return value ? *value : bound.value_or(1, Value());
}

constexpr MethodEntry kDictMethods[] = {{"items", dict_items},        {"keys", dict_side<true>},
                                        {"values", dict_side<false>}, {"get", dict_get},
                                        {"copy", copy_self},          {"fromkeys", nullptr}};

Value loop_cycle(Runtime&, const Value& self, const Arguments& arguments) {
  if (!arguments.named.empty() || arguments.positional.empty())
    fail("loop.cycle needs one or more positional arguments");
  const auto count = static_cast<int64_t>(arguments.positional.size());
  return arguments.positional[static_cast<size_t>(self.as<LoopObject>().index0 % count)];
}

Value loop_changed(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (!arguments.named.empty()) fail("loop.changed takes no named arguments");
  auto& loop = self.as<LoopObject>();
  const Value now = runtime.list(arguments.positional, Kind::kTuple);
  if (loop.last_changed && equals(runtime, *loop.last_changed, now)) return Value::boolean(false);
  loop.last_changed = now;
  return Value::boolean(true);
}

constexpr MethodEntry kLoopMethods[] = {{"cycle", loop_cycle}, {"changed", loop_changed}};

// Attributes that Python's other types have and templates have no business with.
constexpr MethodEntry kNumberMethods[] = {{"real", nullptr},       {"imag", nullptr},
                                          {"numerator", nullptr},  {"denominator", nullptr},
                                          {"bit_length", nullptr}, {"bit_count", nullptr},
                                          {"conjugate", nullptr},  {"to_bytes", nullptr},
                                          {"from_bytes", nullptr}, {"as_integer_ratio", nullptr},
                                          {"is_integer", nullptr}, {"hex", nullptr},
                                          {"fromhex", nullptr}};
constexpr MethodEntry kRangeMethods[] = {{"start", nullptr},
                                         {"stop", nullptr},
                                         {"step", nullptr},
                                         {"count", nullptr},
                                         {"index", nullptr}};
constexpr MethodEntry kMacroMethods[] = {{"name", nullptr},          {"arguments", nullptr},
                                         {"caller", nullptr},        {"catch_kwargs", nullptr},
                                         {"catch_varargs", nullptr}, {"explicit_caller", nullptr}};

std::span<const MethodEntry> methods_of(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return text_methods();
    case Kind::kList:
      return kListMethods;
    case Kind::kTuple:
      return kTupleMethods;
    case Kind::kDict:
      return kDictMethods;
    case Kind::kLoop:
      return kLoopMethods;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return kNumberMethods;
    case Kind::kRange:
      return kRangeMethods;
    case Kind::kMacro:
      return kMacroMethods;
    default:
      return {};
  }
}

bool changes(Kind kind, std::string_view name) {
  const auto has = [&](auto& table) {
    return std::find(std::begin(table), std::end(table), name) != std::end(table);
  };
  return kind == Kind::kList ? has(kListChanges) : kind == Kind::kDict && has(kDictChanges);
}

}  // namespace

std::optional<Value> find_method(Runtime& runtime, const Value& self, std::string_view name) {
  if (changes(self.kind(), name))
    return Value::undefined(fmt::format("a template may not change values: '{}.{}' is not allowed",
                                        type_name(self), name));
  for (const MethodEntry& entry : methods_of(self.kind())) {
    if (entry.name != name) continue;
    if (entry.call == nullptr) fail("'{}' of {} is not supported", name, type_name(self));
    auto function = std::make_shared<FunctionObject>();
    function->name = name;
    function->self = self;
    function->depth = runtime.container_depth(self.depth());
    function->call = entry.call;
    return Value(Kind::kFunction, std::move(function));
  }
  return {};
}

}  // namespace plumb::jinja
