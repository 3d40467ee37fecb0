#include "core/chat/jinja_runtime.h"

#include <algorithm>

namespace plumb::jinja {
namespace {

int deepest(const List& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

}  // namespace

Runtime::~Runtime() {
  for (const auto& space : namespaces_) space->attributes.clear();
}

void Runtime::spend(size_t operations) {
  if (operations > kMaxOperations - operations_)
    fail("the template needs more than {} operations", kMaxOperations);
  operations_ += operations;
}

void Runtime::spend_bytes(size_t bytes) {
  if (bytes > kMaxTotalBytes - bytes_)
    fail("the template handles more than {} bytes of text", kMaxTotalBytes);
  bytes_ += bytes;
}

void Runtime::check_text(size_t bytes) const {
  if (bytes > kMaxTextBytes)
    fail("the template builds a text of more than {} bytes", kMaxTextBytes);
}

int Runtime::container_depth(int inner) const {
  if (inner >= kMaxValueDepth) fail("values nested deeper than {} levels", kMaxValueDepth);
  return inner + 1;
}

Value Runtime::text(std::string text) {
  spend();
  check_text(text.size());
  spend_bytes(text.size());
  return Value::text(std::move(text));
}

Value Runtime::list(List items, Kind kind) {
  spend(items.size());
  auto object = std::make_shared<ListObject>();
  object->depth = container_depth(deepest(items));
  object->items = std::move(items);
  return Value(kind, std::move(object));
}

Value Runtime::view(const char* name, List items) {
  spend(items.size());
  auto object = std::make_shared<ViewObject>();
  object->name = name;
  object->depth = container_depth(deepest(items));
  object->items = std::move(items);
  return Value(Kind::kView, std::move(object));
}

Value Runtime::name_space(std::vector<std::pair<std::string, Value>> attributes) {
  if (namespaces_.size() >= kMaxRetained) fail("more than {} namespaces", kMaxRetained);
  auto object = std::make_shared<NamespaceObject>();
  object->attributes = std::move(attributes);
  namespaces_.push_back(object);
  return Value(Kind::kNamespace, std::move(object));
}

Value Runtime::iterator(std::shared_ptr<IteratorObject> iterator, int source_depth) {
  iterator->depth = container_depth(source_depth);
  return Value(Kind::kIterator, std::move(iterator));
}

std::tm Runtime::now() const {
  if (now_) return *now_;
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  localtime_r(&seconds, &local);
  return local;
}

void TextSink::pad(size_t count, char c) {
  if (count > kMaxTextBytes) runtime_.check_text(count);
  runtime_.check_text(text_.size() + count);
  text_.append(count, c);
}

bool LoopObject::pull(Runtime& runtime, Value* item) {
  if (!use_rest) return source->next(runtime, item);
  if (rest_at == rest.size()) return false;
  *item = rest[rest_at++];
  return true;
}

bool LoopObject::advance(Runtime& runtime) {
  Value item;
  if (after) {
    item = std::move(*after);
    after.reset();
  } else if (!pull(runtime, &item)) {
    return false;
  }
  ++index0;
  before = std::move(current);
  current = std::move(item);
  return true;
}

bool LoopObject::peek(Runtime& runtime) {
  if (after) return true;
  Value item;
  if (!pull(runtime, &item)) return false;
  after = std::move(item);
  return true;
}

int64_t LoopObject::length(Runtime& runtime) {
  if (known_length) return *known_length;
  List ahead;
  for (Value item; pull(runtime, &item);) {
    runtime.spend();
    ahead.push_back(item);
  }
  rest = std::move(ahead);
  rest_at = 0;
  use_rest = true;
  known_length = static_cast<int64_t>(rest.size()) + index0 + 1 + (after ? 1 : 0);
  return *known_length;
}

void LoopObject::finish() {
  after.reset();
  current.reset();
  before.reset();
  last_changed.reset();
  rest.clear();
  rest_at = 0;
  use_rest = true;
  source.reset();
}

Value LoopObject::attribute(Runtime& runtime, const Value& self, std::string_view name) {
  if (name == "index") return Value::integer(index0 + 1);
  if (name == "index0") return Value::integer(index0);
  if (name == "first") return Value::boolean(index0 == 0);
  if (name == "last") return Value::boolean(!peek(runtime));
  if (name == "length") return Value::integer(length(runtime));
  if (name == "revindex") return Value::integer(length(runtime) - index0);
  if (name == "revindex0") return Value::integer(length(runtime) - index0 - 1);
  if (name == "depth") return Value::integer(outer_depth + 1);
  if (name == "depth0") return Value::integer(outer_depth);
  if (name == "previtem")
    return index0 > 0 && before ? *before : Value::undefined("there is no previous item");
  if (name == "nextitem") return peek(runtime) ? *after : Value::undefined("there is no next item");
  if (auto method = find_method(runtime, self, name)) return *method;
  return Value::undefined(fmt::format("'loop' has no attribute '{}'", name));
}

Bound::Bound(std::string_view callee, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t required)
    : callee_(callee), names_(names), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names_.size())
    fail("{} takes at most {} arguments, found {}", callee_, names_.size(),
         arguments.positional.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto it = std::find(names_.begin(), names_.end(), name);
    if (it == names_.end() || name.empty()) fail("{} takes no argument named '{}'", callee_, name);
    const Value*& slot = values_[static_cast<size_t>(it - names_.begin())];
    if (slot != nullptr) fail("{} got two values for its argument '{}'", callee_, name);
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i)
    if (values_[i] == nullptr)
      fail("{} needs {} {}", callee_, required, required == 1 ? "argument" : "arguments");
}

bool Bound::flag(Runtime& runtime, size_t i, bool fallback) const {
  return has(i) ? truthy(runtime, *values_[i]) : fallback;
}

int64_t Bound::integer(size_t i, int64_t fallback) const {
  if (!has(i)) return fallback;
  if (values_[i]->is_undefined()) fail("{}", values_[i]->as_text());
  if (!values_[i]->is_integral())
    fail("{}: argument '{}' is of type {}, expected int", callee_, names_[i],
         type_name(*values_[i]));
  return values_[i]->as_integer();
}

const std::string& Bound::text(size_t i) const {
  if (values_[i]->is_undefined()) fail("{}", values_[i]->as_text());
  if (!values_[i]->is_string())
    fail("{}: argument '{}' is of type {}, expected a string", callee_, names_[i],
         type_name(*values_[i]));
  return values_[i]->as_text();
}

}  // namespace plumb::jinja
