// The values a chat template computes with: Python's, as far as templates can tell.
//
// Values are immutable and shared; only a namespace's attributes, an iterator's position and a
// loop's counters change. Text is valid UTF-8 and indexed by code point.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace plumb::jinja {

// Thrown inside the interpreter only: parse() and render() turn it into an Error with the
// template's name. `line` is 0 until somebody knows it.
struct Failure {
  std::string message;
  int line = 0;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure{fmt::format(format, std::forward<Args>(args)...)};
}

class Runtime;
class Value;
using List = std::vector<Value>;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kView,  // dict.items(), keys(), values()
  kRange,
  kNamespace,
  kIterator,  // consumed once: the result of map, select, reverse, ...
  kLoop,      // the `loop` variable
  kMacro,
  kFunction,  // a global function or a bound method
};

// What a Value points at. `depth` counts containers inside containers, so that nothing that
// recurses over a value can exhaust the stack.
struct Object {
  virtual ~Object() = default;
  int depth = 0;
};

class Value {
 public:
  Value() = default;  // none
  static Value boolean(bool b) {
    Value v(Kind::kBool);
    v.scalar_.i = b;
    return v;
  }
  static Value integer(int64_t i) {
    Value v(Kind::kInt);
    v.scalar_.i = i;
    return v;
  }
  static Value real(double d) {
    Value v(Kind::kFloat);
    v.scalar_.d = d;
    return v;
  }
  // `escaped` marks the result of the escape and safe filters.
  static Value text(std::string text, bool escaped = false);
  // `why` is the sentence a use of it fails with: "'tools' is undefined".
  static Value undefined(std::string why);
  Value(Kind kind, std::shared_ptr<Object> object) : kind_(kind), object_(std::move(object)) {}

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }

  // REQUIRES is_integral().
  int64_t as_integer() const { return scalar_.i; }
  // REQUIRES is_number().
  double as_real() const {
    return kind_ == Kind::kFloat ? scalar_.d : static_cast<double>(scalar_.i);
  }
  // REQUIRES is_string() or is_undefined() (then: the reason).
  const std::string& as_text() const;
  bool is_escaped() const;
  // REQUIRES a list, a tuple or a view.
  const List& as_list() const;

  // REQUIRES the kind that T belongs to.
  template <class T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const std::shared_ptr<Object>& object() const { return object_; }
  int depth() const { return object_ ? object_->depth : 0; }

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kNone;
  union {
    int64_t i = 0;
    double d;
  } scalar_;
  std::shared_ptr<Object> object_;
};

struct TextObject : Object {
  std::string text;
  bool escaped = false;
};

struct ListObject : Object {  // lists and tuples
  List items;
};

struct ViewObject : ListObject {
  const char* name = "";  // "dict_items"
};

// Insertion-ordered. Keys are hashed once there are more than a few of them.
struct DictObject : Object {
  std::vector<std::pair<Value, Value>> items;

  // nullptr when absent. REQUIRES hashable(key).
  const Value* find(Runtime& runtime, const Value& key) const;
  const Value* find_text(std::string_view key) const;
  // A later value replaces an earlier one in its place. Fails for unhashable keys.
  void set(Runtime& runtime, const Value& key, Value value);

 private:
  size_t position(Runtime& runtime, const Value& key, size_t hash) const;
  std::unordered_multimap<size_t, size_t> index_;
};

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1, length = 0;
};

struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> attributes;
};

struct IteratorObject : Object {
  // False at the end.
  virtual bool next(Runtime& runtime, Value* item) = 0;
};

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct FunctionObject : Object {
  std::string name;
  Value self;  // of a bound method
  Value (*call)(Runtime& runtime, const Value& self, const Arguments& arguments) = nullptr;
};

// "str", "list", "NoneType": the names that error sentences use.
std::string_view type_name(const Value& value);
bool hashable(Runtime& runtime, const Value& value);
size_t hash_value(Runtime& runtime, const Value& value);

}  // namespace plumb::jinja
