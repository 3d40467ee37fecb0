// The functions every chat template can call.
#include <algorithm>

#include "core/chat/jinja_runtime.h"

namespace plumb::jinja {
namespace {

// dict(mapping or pairs, name=value, ...)
std::shared_ptr<DictObject> build_dict(Runtime& runtime, std::string_view callee,
                                       const Arguments& arguments) {
  if (arguments.positional.size() > 1) fail("{} takes at most one positional argument", callee);
  auto dict = std::make_shared<DictObject>();
  dict->depth = 1;
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is(Kind::kDict)) {
      for (const auto& [key, value] : source.as<DictObject>().items) dict->set(runtime, key, value);
    } else {
      for (const Value& pair : to_list(runtime, source)) {
        const List items = to_list(runtime, pair);
        if (items.size() != 2) fail("{}: a pair has {} items, expected 2", callee, items.size());
        dict->set(runtime, items[0], items[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) dict->set(runtime, Value::text(name), value);
  return dict;
}

Value make_dict(Runtime& runtime, const Value&, const Arguments& arguments) {
  return Value(Kind::kDict, build_dict(runtime, "dict", arguments));
}

Value make_namespace(Runtime& runtime, const Value&, const Arguments& arguments) {
  std::vector<std::pair<std::string, Value>> attributes;
  const auto dict = build_dict(runtime, "namespace", arguments);
  for (const auto& [key, value] : dict->items) {
    if (!key.is_string())
      fail("namespace: a name is of type {}, expected a string", type_name(key));
    attributes.emplace_back(key.as_text(), value);
  }
  return runtime.name_space(std::move(attributes));
}

Value make_range(Runtime&, const Value&, const Arguments& arguments) {
  const Bound bound("range", arguments, {"start", "stop", "step"}, 1);
  if (!arguments.named.empty()) fail("range takes no named arguments");
  auto range = std::make_shared<RangeObject>();
  range->start = bound.has(1) ? bound.integer(0, 0) : 0;
  range->stop = bound.has(1) ? bound.integer(1, 0) : bound.integer(0, 0);
  range->step = bound.integer(2, 1);
  if (range->step == 0) fail("range: the step is 0");
  const bool forward = range->step > 0;
  if (forward ? range->start < range->stop : range->start > range->stop) {
    const uint64_t low = static_cast<uint64_t>(forward ? range->start : range->stop);
    const uint64_t high = static_cast<uint64_t>(forward ? range->stop : range->start);
    const uint64_t step =
        forward ? static_cast<uint64_t>(range->step) : 0 - static_cast<uint64_t>(range->step);
    const uint64_t length = (high - low - 1) / step + 1;
    if (length > static_cast<uint64_t>(kMaxRangeLength))
      fail("range: {} items, the limit is {}", length, kMaxRangeLength);
    range->length = static_cast<int64_t>(length);
  }
  return Value(Kind::kRange, std::move(range));
}

Value raise_exception(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Bound bound("raise_exception", arguments, {"message"}, 1);
  fail("the template refuses this conversation: {}", to_text(runtime, bound[0]));
}

Value strftime_now(Runtime& runtime, const Value&, const Arguments& arguments) {
  const Bound bound("strftime_now", arguments, {"format"}, 1);
  const std::string& format = bound.text(0);
  if (format.size() > 1024) fail("strftime_now: a format of more than 1024 bytes");
  if (format.find("%f") != std::string::npos) fail("strftime_now: %f is not supported");
  if (format.empty()) return Value::text("");
  const std::tm now = runtime.now();
  std::string text(size_t{1} << 16, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &now));
  return runtime.text(std::move(text));
}

}  // namespace

std::optional<Value> find_global(std::string_view name) {
  struct Global {
    std::string_view name;
    Value (*call)(Runtime&, const Value&, const Arguments&);
  };
  static constexpr Global kGlobals[] = {{"range", make_range},
                                        {"dict", make_dict},
                                        {"namespace", make_namespace},
                                        {"raise_exception", raise_exception},
                                        {"strftime_now", strftime_now}};
  for (const Global& global : kGlobals) {
    if (global.name != name) continue;
    auto function = std::make_shared<FunctionObject>();
    function->name = name;
    function->call = global.call;
    return Value(Kind::kFunction, std::move(function));
  }
  // Jinja has these too; a template that uses one gets told, not an undefined value.
  for (const std::string_view known : {"cycler", "joiner", "lipsum"})
    if (known == name) fail("the function '{}' is not supported", name);
  return {};
}

}  // namespace plumb::jinja
