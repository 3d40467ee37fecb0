// What every operation of a running template shares: its budget, and the operations themselves.
//
// A template is outside input. Every operation, list element and byte of text it causes is paid
// for here before it is made; whoever exceeds a limit gets a Failure that names it.
#pragma once

#include <ctime>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/chat/jinja_value.h"

namespace plumb::jinja {

constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
constexpr size_t kMaxTextBytes = size_t{16} << 20;  // of the output and of any one string
constexpr size_t kMaxTotalBytes = size_t{1} << 30;  // of all strings one render builds
constexpr size_t kMaxOperations = 10'000'000;
constexpr int kMaxMacroDepth = 100;
constexpr int kMaxNesting = 100;     // blocks and brackets in a template
constexpr int kMaxTreeDepth = 500;   // of one expression, long a + b + c chains included
constexpr int kMaxEvalDepth = 1000;  // of the interpreter's own recursion
constexpr int kMaxValueDepth = 128;  // containers in containers
constexpr int64_t kMaxRangeLength = 100'000;
constexpr size_t kMaxRetained = 100'000;  // namespaces and macros made in one render

class Runtime {
 public:
  explicit Runtime(std::optional<std::tm> now) : now_(now) {}
  virtual ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  void spend(size_t operations = 1);
  void spend_bytes(size_t bytes);  // built
  void spend_scan(size_t bytes) { spend_bytes(bytes / 8); }
  void spend_compare(size_t bytes) { spend(bytes / 64); }
  void check_text(size_t bytes) const;  // would one string of this size be too long?
  // Depth of a container whose deepest element has depth `inner`; fails beyond the limit.
  int container_depth(int inner) const;

  Value text(std::string text);  // paid for
  Value list(List items, Kind kind = Kind::kList);
  Value view(const char* name, List items);
  Value name_space(std::vector<std::pair<std::string, Value>> attributes);
  Value iterator(std::shared_ptr<IteratorObject> iterator, int source_depth);
  std::tm now() const;

  // REQUIRES callee.is(Kind::kMacro).
  virtual Value call_macro(const Value& callee, const Arguments& arguments) = 0;

 private:
  size_t operations_ = 0, bytes_ = 0;
  std::optional<std::tm> now_;
  // Namespaces can hold themselves. All are kept until the end and emptied there, one by one, so
  // neither a cycle nor a long chain of them survives or recurses.
  std::vector<std::shared_ptr<NamespaceObject>> namespaces_;
};

// Appends with the limit on one string.
class TextSink {
 public:
  explicit TextSink(Runtime& runtime) : runtime_(runtime) {}
  void add(std::string_view piece) {
    runtime_.check_text(text_.size() + piece.size());
    text_ += piece;
  }
  void pad(size_t count, char c = ' ');
  size_t size() const { return text_.size(); }
  Value finish() { return runtime_.text(std::move(text_)); }
  std::string take() {
    runtime_.spend_bytes(text_.size());
    return std::move(text_);
  }

 private:
  Runtime& runtime_;
  std::string text_;
};

// The state of one `for`; Python semantics of looking ahead included (`last` reads one item early).
struct LoopObject : Object {
  std::shared_ptr<IteratorObject> source;
  std::optional<int64_t> known_length;
  int64_t index0 = -1;
  int64_t outer_depth = 0;
  std::optional<Value> after, current, before, last_changed;
  List rest;  // read ahead by `length`
  size_t rest_at = 0;
  bool use_rest = false;

  bool advance(Runtime& runtime);
  bool peek(Runtime& runtime);  // fills `after`; false at the end
  int64_t length(Runtime& runtime);
  // After the loop: forgets all items, so that loops kept in loops form no chain.
  void finish();
  // Undefined for an unknown name.
  Value attribute(Runtime& runtime, const Value& self, std::string_view name);

 private:
  bool pull(Runtime& runtime, Value* item);
};

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

// jinja_operators.cpp
bool truthy(Runtime& runtime, const Value& value);
bool equals(Runtime& runtime, const Value& a, const Value& b);
bool compare(Runtime& runtime, CompareOp op, const Value& a, const Value& b);
bool contains(Runtime& runtime, const Value& container, const Value& item);
Value binary(Runtime& runtime, BinaryOp op, const Value& a, const Value& b);
Value negate(const Value& value);

// jinja_access.cpp
int64_t length_of(Runtime& runtime, const Value& value);
bool iterable(const Value& value);
std::shared_ptr<IteratorObject> iterate(Runtime& runtime, const Value& value);
List to_list(Runtime& runtime, const Value& value);
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name);
Value get_item(Runtime& runtime, const Value& object, const Value& key);
Value get_slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
                const Value& step);
Value call(Runtime& runtime, const Value& callee, const Arguments& arguments);

// jinja_print.cpp: Python's str() and repr(), json.dumps, and the way in from JSON.
void print(Runtime& runtime, const Value& value, TextSink* sink);
void print_repr(Runtime& runtime, const Value& value, TextSink* sink);
std::string to_text(Runtime& runtime, const Value& value);
struct JsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;  // one level of it
  std::string item_separator = ", ", key_separator = ": ";
};
void print_json(Runtime& runtime, const Value& value, const JsonStyle& style, TextSink* sink);
// `where` names the value in a failure: "messages".
Value from_json(Runtime& runtime, const nlohmann::ordered_json& json, const std::string& where);

// jinja_filters.cpp, jinja_tests.cpp: a name that is not known, or not supported, fails.
Value apply_filter(Runtime& runtime, const std::string& name, const Value& value,
                   const Arguments& arguments);
bool apply_test(Runtime& runtime, const std::string& name, const Value& value,
                const Arguments& arguments);

// jinja_methods.cpp: nullopt when Python's type has no such method either.
std::optional<Value> find_method(Runtime& runtime, const Value& self, std::string_view name);
// jinja_globals.cpp: range, dict, namespace, raise_exception, strftime_now.
std::optional<Value> find_global(std::string_view name);
// jinja_format.cpp: "%s" % values, and "{}".format(...).
Value format_percent(Runtime& runtime, std::string_view format, const Value& values);
Value format_braces(Runtime& runtime, std::string_view format, const Arguments& arguments);

// Arguments by Python's rules: positional first, then by name; too many, unknown, repeated or
// missing ones fail with the callee's name.
class Bound {
 public:
  Bound(std::string_view callee, const Arguments& arguments,
        std::initializer_list<std::string_view> names, size_t required = 0);
  bool has(size_t i) const { return values_[i] != nullptr; }
  // REQUIRES has(i).
  const Value& operator[](size_t i) const { return *values_[i]; }
  const Value& value_or(size_t i, const Value& fallback) const {
    return has(i) ? *values_[i] : fallback;
  }
  bool flag(Runtime& runtime, size_t i, bool fallback) const;
  int64_t integer(size_t i, int64_t fallback) const;
  const std::string& text(size_t i) const;  // REQUIRES has(i); fails when it is not a string

 private:
  std::string callee_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

}  // namespace plumb::jinja
