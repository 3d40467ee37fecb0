#include "core/chat/jinja_value.h"

#include <algorithm>
#include <functional>

#include "core/chat/jinja_runtime.h"

namespace plumb::jinja {
namespace {

constexpr size_t kNotFound = static_cast<size_t>(-1);
constexpr size_t kLinearLimit = 8;  // below this a scan beats a hash table

}  // namespace

Value Value::text(std::string text, bool escaped) {
  auto object = std::make_shared<TextObject>();
  object->text = std::move(text);
  object->escaped = escaped;
  return Value(Kind::kString, std::move(object));
}

Value Value::undefined(std::string why) {
  auto object = std::make_shared<TextObject>();
  object->text = std::move(why);
  return Value(Kind::kUndefined, std::move(object));
}

const std::string& Value::as_text() const { return as<TextObject>().text; }
bool Value::is_escaped() const { return is_string() && as<TextObject>().escaped; }
const List& Value::as_list() const { return as<ListObject>().items; }

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kView:
      return value.as<ViewObject>().name;
    case Kind::kRange:
      return "range";
    case Kind::kNamespace:
      return "namespace";
    case Kind::kIterator:
      return "iterator";
    case Kind::kLoop:
      return "loop";
    case Kind::kMacro:
      return "macro";
    case Kind::kFunction:
      return "function";
  }
  return "";
}

bool hashable(Runtime& runtime, const Value& value) {
  runtime.spend();
  if (value.is(Kind::kList) || value.is(Kind::kDict) || value.is(Kind::kView)) return false;
  if (value.is(Kind::kTuple)) {
    for (const Value& item : value.as_list())
      if (!hashable(runtime, item)) return false;
  }
  return true;
}

// Equal values hash alike: True, 1 and 1.0 are one key.
size_t hash_value(Runtime& runtime, const Value& value) {
  runtime.spend();
  switch (value.kind()) {
    case Kind::kUndefined:
      return 1;
    case Kind::kNone:
      return 2;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return std::hash<double>{}(value.as_real() == 0 ? 0.0 : value.as_real());
    case Kind::kString:
      runtime.spend_compare(value.as_text().size());
      return std::hash<std::string>{}(value.as_text());
    case Kind::kTuple: {
      size_t hash = 3;
      for (const Value& item : value.as_list()) hash = hash * 1000003 + hash_value(runtime, item);
      return hash;
    }
    default:
      return std::hash<const void*>{}(value.object().get());
  }
}

size_t DictObject::position(Runtime& runtime, const Value& key, size_t hash) const {
  if (items.size() <= kLinearLimit) {
    for (size_t i = 0; i < items.size(); ++i)
      if (equals(runtime, items[i].first, key)) return i;
    return kNotFound;
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (equals(runtime, items[it->second].first, key)) return it->second;
  return kNotFound;
}

const Value* DictObject::find(Runtime& runtime, const Value& key) const {
  const size_t at =
      position(runtime, key, items.size() > kLinearLimit ? hash_value(runtime, key) : 0);
  return at == kNotFound ? nullptr : &items[at].second;
}

const Value* DictObject::find_text(std::string_view key) const {
  if (items.size() <= kLinearLimit) {
    for (const auto& [name, value] : items)
      if (name.is_string() && name.as_text() == key) return &value;
    return nullptr;
  }
  const auto [begin, end] = index_.equal_range(std::hash<std::string_view>{}(key));
  for (auto it = begin; it != end; ++it) {
    const Value& name = items[it->second].first;
    if (name.is_string() && name.as_text() == key) return &items[it->second].second;
  }
  return nullptr;
}

void DictObject::set(Runtime& runtime, const Value& key, Value value) {
  if (!hashable(runtime, key)) fail("'{}' cannot be a dict key", type_name(key));
  const size_t hash = hash_value(runtime, key);
  depth = runtime.container_depth(std::max(depth - 1, std::max(key.depth(), value.depth())));
  const size_t at = position(runtime, key, hash);
  if (at != kNotFound) {
    items[at].second = std::move(value);
    return;
  }
  runtime.spend();
  items.emplace_back(key, std::move(value));
  if (items.size() <= kLinearLimit) return;
  if (index_.empty()) {
    for (size_t i = 0; i + 1 < items.size(); ++i)
      index_.emplace(hash_value(runtime, items[i].first), i);
  }
  index_.emplace(hash, items.size() - 1);
}

}  // namespace plumb::jinja
