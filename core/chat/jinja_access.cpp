// Reaching into values: iteration, attributes, items, slices, calls.
#include <algorithm>
#include <cstdlib>

#include "core/chat/jinja_runtime.h"
#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

struct ListIterator : IteratorObject {
  Value source;  // keeps the items alive
  size_t at = 0;
  bool next(Runtime&, Value* item) override {
    const List& items = source.as_list();
    if (at == items.size()) return false;
    *item = items[at++];
    return true;
  }
};

struct KeyIterator : IteratorObject {
  Value source;
  size_t at = 0;
  bool next(Runtime&, Value* item) override {
    const auto& items = source.as<DictObject>().items;
    if (at == items.size()) return false;
    *item = items[at++].first;
    return true;
  }
};

struct TextIterator : IteratorObject {
  Value source;
  size_t at = 0;
  bool next(Runtime& runtime, Value* item) override {
    const std::string& text = source.as_text();
    if (at == text.size()) return false;
    const size_t start = at;
    next_point(text, &at);
    *item = runtime.text(text.substr(start, at - start));
    return true;
  }
};

struct RangeIterator : IteratorObject {
  Value source;
  int64_t at = 0;
  bool next(Runtime&, Value* item) override {
    const auto& range = source.as<RangeObject>();
    if (at == range.length) return false;
    *item = Value::integer(range.start + at++ * range.step);
    return true;
  }
};

struct EmptyIterator : IteratorObject {
  bool next(Runtime&, Value*) override { return false; }
};

template <class Iterator>
std::shared_ptr<IteratorObject> over(const Value& value) {
  auto iterator = std::make_shared<Iterator>();
  iterator->source = value;
  return iterator;
}

Value no_attribute(const Value& object, std::string_view name) {
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", type_name(object), name));
}

const Value* namespace_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  const auto& attributes = object.as<NamespaceObject>().attributes;
  runtime.spend(attributes.size() / 8);
  for (const auto& [key, value] : attributes)
    if (key == name) return &value;
  return nullptr;
}

// What getattr(object, name) finds in Python; nullopt where it raises AttributeError.
std::optional<Value> python_attribute(Runtime& runtime, const Value& object,
                                      std::string_view name) {
  if (name.empty()) return {};
  if (object.is(Kind::kNamespace)) {
    const Value* value = namespace_attribute(runtime, object, name);
    if (value == nullptr) return {};
    if (name.front() != '_') return *value;
  }
  if (object.is(Kind::kLoop)) {
    Value value = object.as<LoopObject>().attribute(runtime, object, name);
    if (!value.is_undefined() || name == "previtem" || name == "nextitem") return value;
    return {};
  }
  const bool internal = name.size() > 4 && name.starts_with("__") && name.ends_with("__");
  if (internal || object.is(Kind::kNamespace))
    return Value::undefined(
        fmt::format("access to attribute '{}' of '{}' is not allowed", name, type_name(object)));
  return find_method(runtime, object, name);
}

// obj[key]; nullopt where Python raises TypeError or LookupError.
std::optional<Value> python_item(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is(Kind::kDict)) {
    if (!hashable(runtime, key)) return {};
    if (key.is_string()) runtime.spend_compare(key.as_text().size());
    const Value* value = key.is_string() ? object.as<DictObject>().find_text(key.as_text())
                                         : object.as<DictObject>().find(runtime, key);
    return value ? std::optional<Value>(*value) : std::nullopt;
  }
  if (!key.is_integral()) return {};
  const bool indexed = object.is_string() || object.is_sequence() || object.is(Kind::kRange);
  if (!indexed) return {};
  int64_t index = key.as_integer();
  const int64_t length = length_of(runtime, object);
  if (index < 0) index += length;
  if (index < 0 || index >= length) return {};
  if (object.is_sequence()) return object.as_list()[static_cast<size_t>(index)];
  if (object.is(Kind::kRange)) {
    const auto& range = object.as<RangeObject>();
    return Value::integer(range.start + index * range.step);
  }
  const std::string& text = object.as_text();
  size_t at = byte_of_point(text, static_cast<size_t>(index));
  const size_t start = at;
  next_point(text, &at);
  return runtime.text(text.substr(start, at - start));
}

int64_t slice_bound(const Value& value, int64_t length, int64_t lowest, int64_t highest,
                    int64_t fallback) {
  if (value.is_none()) return fallback;
  if (!value.is_integral()) fail("a slice needs whole numbers, found {}", type_name(value));
  int64_t bound = value.as_integer();
  if (bound < 0) bound = bound < -length ? lowest : bound + length;
  return std::clamp(bound, lowest, highest);
}

// What a slice selects: `count` positions from `first` on, `step` apart.
struct Selection {
  int64_t first = 0, step = 1;
  size_t count = 0;
};

Selection select(int64_t length, const Value& start, const Value& stop, const Value& step_value) {
  Selection selection;
  if (!step_value.is_none()) {
    if (!step_value.is_integral())
      fail("a slice needs whole numbers, found {}", type_name(step_value));
    if (step_value.as_integer() == 0) fail("a slice cannot have the step 0");
    // A step beyond the length selects what one of the length does.
    selection.step = std::clamp<int64_t>(step_value.as_integer(), -(length + 1), length + 1);
  }
  const bool forward = selection.step > 0;
  const int64_t lowest = forward ? 0 : -1, highest = forward ? length : length - 1;
  selection.first = slice_bound(start, length, lowest, highest, forward ? lowest : highest);
  const int64_t last = slice_bound(stop, length, lowest, highest, forward ? highest : lowest);
  const int64_t distance = forward ? last - selection.first : selection.first - last;
  const int64_t stride = std::abs(selection.step);
  selection.count = distance > 0 ? static_cast<size_t>((distance + stride - 1) / stride) : 0;
  return selection;
}

Value slice_text(Runtime& runtime, std::string_view text, const Value& start, const Value& stop,
                 const Value& step) {
  runtime.spend_scan(text.size());
  const Selection chosen = select(static_cast<int64_t>(count_points(text)), start, stop, step);
  if (chosen.count == 0) return Value::text("");
  if (chosen.step == 1) {
    text.remove_prefix(byte_of_point(text, static_cast<size_t>(chosen.first)));
    return runtime.text(std::string(text.substr(0, byte_of_point(text, chosen.count))));
  }
  runtime.spend(chosen.count);
  std::vector<size_t> offsets;  // of each code point, and the end
  for (size_t at = 0; at < text.size(); next_point(text, &at)) offsets.push_back(at);
  offsets.push_back(text.size());
  std::string sliced;
  for (size_t i = 0; i < chosen.count; ++i) {
    const auto at = static_cast<size_t>(chosen.first + static_cast<int64_t>(i) * chosen.step);
    sliced.append(text, offsets[at], offsets[at + 1] - offsets[at]);
  }
  return runtime.text(std::move(sliced));
}

}  // namespace

int64_t length_of(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      runtime.spend_scan(value.as_text().size());
      return static_cast<int64_t>(count_points(value.as_text()));
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return static_cast<int64_t>(value.as_list().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.as<DictObject>().items.size());
    case Kind::kRange:
      return value.as<RangeObject>().length;
    case Kind::kLoop:
      return value.as<LoopObject>().length(runtime);
    default:
      fail("'{}' has no length", type_name(value));
  }
}

bool iterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}

std::shared_ptr<IteratorObject> iterate(Runtime& runtime, const Value& value) {
  runtime.spend();
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::make_shared<EmptyIterator>();
    case Kind::kString:
      return over<TextIterator>(value);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kView:
      return over<ListIterator>(value);
    case Kind::kDict:
      return over<KeyIterator>(value);
    case Kind::kRange:
      return over<RangeIterator>(value);
    case Kind::kIterator:
      return std::static_pointer_cast<IteratorObject>(value.object());
    case Kind::kLoop:
      fail("iterating over 'loop' itself is not supported");
    default:
      fail("'{}' cannot be iterated over", type_name(value));
  }
}

List to_list(Runtime& runtime, const Value& value) {
  List items;
  const auto source = iterate(runtime, value);
  for (Value item; source->next(runtime, &item);) {
    runtime.spend();
    items.push_back(std::move(item));
  }
  return items;
}

// As the sandbox does it: the attribute first (so a dict's `items` is its method), then the item.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name) {
  runtime.spend();
  if (object.is_undefined()) fail("{}", object.as_text());
  if (auto value = python_attribute(runtime, object, name)) return *value;
  if (object.is(Kind::kDict)) {
    const Value* value = object.as<DictObject>().find_text(name);
    if (value != nullptr) return *value;
  }
  return no_attribute(object, name);
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  runtime.spend();
  if (object.is_undefined()) fail("{}", object.as_text());
  if (auto value = python_item(runtime, object, key)) return *value;
  if (key.is_string()) {
    if (auto value = python_attribute(runtime, object, key.as_text())) return *value;
    return no_attribute(object, key.as_text());
  }
  if (key.is(Kind::kInt))
    return Value::undefined(
        fmt::format("'{}' has no element {}", type_name(object), key.as_integer()));
  return Value::undefined(
      fmt::format("'{}' has no element of a key of type {}", type_name(object), type_name(key)));
}

Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  if (object.is_undefined()) fail("{}", object.as_text());
  if (object.is_string()) return slice_text(runtime, object.as_text(), start, stop, step);
  if (!object.is_sequence()) fail("'{}' cannot be sliced", type_name(object));
  const List& items = object.as_list();
  const Selection chosen = select(static_cast<int64_t>(items.size()), start, stop, step);
  runtime.spend(chosen.count);
  List sliced;
  for (size_t i = 0; i < chosen.count; ++i)
    sliced.push_back(
        items[static_cast<size_t>(chosen.first + static_cast<int64_t>(i) * chosen.step)]);
  return runtime.list(std::move(sliced), object.kind());
}

Value call(Runtime& runtime, const Value& callee, const Arguments& arguments) {
  runtime.spend();
  switch (callee.kind()) {
    case Kind::kUndefined:
      fail("{}", callee.as_text());
    case Kind::kMacro:
      return runtime.call_macro(callee, arguments);
    case Kind::kFunction: {
      const auto& function = callee.as<FunctionObject>();
      return function.call(runtime, function.self, arguments);
    }
    case Kind::kLoop:
      fail("recursive loops are not supported");
    default:
      fail("'{}' cannot be called", type_name(callee));
  }
}

}  // namespace plumb::jinja
