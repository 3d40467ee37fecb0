// Filters on sequences. Those that Python makes generators of are lazy here too: a template can
// tell, by what fails and by reading a namespace while it iterates.
#include <algorithm>

#include "core/chat/jinja_filters.h"
#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

// "a.0.b" or 3: the path that attribute= names.
class AttributePath {
 public:
  AttributePath() = default;
  AttributePath(std::string_view filter, const Value& attribute) {
    if (attribute.is_none()) return;
    if (attribute.is_integral()) {
      parts_.push_back(attribute);
      return;
    }
    if (!attribute.is_string())
      fail("{}: attribute is of type {}, expected a name", filter, type_name(attribute));
    add_dotted(attribute.as_text());
  }
  void add_dotted(std::string_view path) {
    for (size_t start = 0; start <= path.size();) {
      const size_t dot = std::min(path.find('.', start), path.size());
      const std::string_view part = path.substr(start, dot - start);
      const bool number = !part.empty() && part.size() < 18 &&
                          part.find_first_not_of("0123456789") == std::string_view::npos;
      bool overflow = false;
      parts_.push_back(number ? Value::integer(*parse_integer(part, 10, &overflow))
                              : Value::text(std::string(part)));
      start = dot + 1;
    }
  }
  Value of(Runtime& runtime, Value item, const Value* fallback = nullptr) const {
    for (const Value& part : parts_) {
      item = get_item(runtime, item, part);
      if (fallback != nullptr && item.is_undefined()) item = *fallback;
    }
    return item;
  }

 private:
  List parts_;
};

Value ignore_case(Runtime& runtime, const Value& value) {
  return value.is_string() ? runtime.text(to_lower(value.as_text())) : value;
}

Arguments without_first(const Arguments& arguments, size_t count) {
  Arguments rest;
  rest.named = arguments.named;
  rest.positional.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(count),
                         arguments.positional.end());
  return rest;
}

struct MapIterator : IteratorObject {
  std::shared_ptr<IteratorObject> source;
  AttributePath path;
  std::optional<Value> fallback;
  std::optional<std::string> filter;
  Arguments arguments;

  bool next(Runtime& runtime, Value* item) override {
    Value value;
    if (!source->next(runtime, &value)) return false;
    *item = filter ? apply_filter(runtime, *filter, value, arguments)
                   : path.of(runtime, value, fallback ? &*fallback : nullptr);
    return true;
  }
};

Value filter_map(Runtime& runtime, const Value& value, const Arguments& arguments) {
  auto iterator = std::make_shared<MapIterator>();
  if (!truthy(runtime, value)) return runtime.iterator(iterate(runtime, Value::undefined("")), 0);
  iterator->source = iterate(runtime, value);
  if (arguments.positional.empty()) {
    Arguments named = arguments;
    const Bound bound("map", named, {"", "attribute", "default"});
    if (!bound.has(1)) fail("map needs a filter's name or attribute=");
    iterator->path = AttributePath("map", bound[1]);
    if (bound.has(2) && !bound[2].is_none()) iterator->fallback = bound[2];
  } else {
    if (!arguments.positional[0].is_string()) fail("map needs a filter's name");
    iterator->filter = arguments.positional[0].as_text();
    iterator->arguments = without_first(arguments, 1);
  }
  return runtime.iterator(iterator, value.depth());
}

struct SelectIterator : IteratorObject {
  std::shared_ptr<IteratorObject> source;
  AttributePath path;
  std::optional<std::string> test;
  Arguments arguments;
  bool wanted = true;

  bool next(Runtime& runtime, Value* item) override {
    while (source->next(runtime, item)) {
      runtime.spend();
      const Value subject = path.of(runtime, *item);
      const bool holds =
          test ? apply_test(runtime, *test, subject, arguments) : truthy(runtime, subject);
      if (holds == wanted) return true;
    }
    return false;
  }
};

template <bool wanted, bool by_attribute>
Value filter_select(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!truthy(runtime, value)) return runtime.iterator(iterate(runtime, Value::undefined("")), 0);
  auto iterator = std::make_shared<SelectIterator>();
  iterator->source = iterate(runtime, value);
  iterator->wanted = wanted;
  size_t used = 0;
  if (by_attribute) {
    if (arguments.positional.empty()) fail("the filter needs the name of an attribute");
    iterator->path = AttributePath("select", arguments.positional[used++]);
  }
  if (used < arguments.positional.size()) {
    const Value& test = arguments.positional[used++];
    if (!test.is_string()) fail("the filter needs a test's name, found {}", type_name(test));
    iterator->test = test.as_text();
  }
  iterator->arguments = without_first(arguments, used);
  return runtime.iterator(iterator, value.depth());
}

struct UniqueIterator : IteratorObject {
  std::shared_ptr<IteratorObject> source;
  AttributePath path;
  bool case_sensitive = false;
  DictObject seen;

  bool next(Runtime& runtime, Value* item) override {
    while (source->next(runtime, item)) {
      Value key = path.of(runtime, *item);
      if (!case_sensitive) key = ignore_case(runtime, key);
      const size_t before = seen.items.size();
      seen.set(runtime, key, Value());
      if (seen.items.size() > before) return true;
    }
    return false;
  }
};

Value filter_unique(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  auto iterator = std::make_shared<UniqueIterator>();
  iterator->source = iterate(runtime, value);
  iterator->case_sensitive = bound.flag(runtime, 0, false);
  if (bound.has(1)) iterator->path = AttributePath("unique", bound[1]);
  return runtime.iterator(iterator, value.depth());
}

struct ItemsIterator : IteratorObject {
  Value source;
  size_t at = 0;
  bool next(Runtime& runtime, Value* item) override {
    const auto& items = source.as<DictObject>().items;
    if (at == items.size()) return false;
    *item = runtime.list({items[at].first, items[at].second}, Kind::kTuple);
    ++at;
    return true;
  }
};

Value filter_items(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("items", arguments, {});
  if (value.is_undefined()) return runtime.iterator(iterate(runtime, value), 0);
  if (!value.is(Kind::kDict)) fail("items needs a dict, found {}", type_name(value));
  auto iterator = std::make_shared<ItemsIterator>();
  iterator->source = value;
  return runtime.iterator(iterator, value.depth());
}

Value filter_length(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("length", arguments, {});
  return Value::integer(length_of(runtime, value));
}

Value filter_list(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("list", arguments, {});
  return runtime.list(to_list(runtime, value));
}

Value filter_join(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound.has(0) ? to_text(runtime, bound[0]) : "";
  AttributePath path;
  if (bound.has(1)) path = AttributePath("join", bound[1]);
  const auto source = iterate(runtime, value);
  TextSink sink(runtime);
  bool first = true;
  for (Value item; source->next(runtime, &item); first = false) {
    runtime.spend();
    if (!first) sink.add(separator);
    print(runtime, path.of(runtime, item), &sink);
  }
  return sink.finish();
}

Value filter_first(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("first", arguments, {});
  Value item;
  if (iterate(runtime, value)->next(runtime, &item)) return item;
  return Value::undefined("there is no first item: the sequence is empty");
}

// What reversed() takes; iterators it does not.
bool reversible(const Value& value) {
  return iterable(value) && !value.is(Kind::kIterator) && !value.is(Kind::kLoop);
}

Value filter_last(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("last", arguments, {});
  if (!reversible(value)) fail("last does not apply to {}", type_name(value));
  const List items = to_list(runtime, value);
  if (items.empty()) return Value::undefined("there is no last item: the sequence is empty");
  return items.back();
}

Value filter_reverse(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("reverse", arguments, {});
  if (value.is_string()) return get_slice(runtime, value, Value(), Value(), Value::integer(-1));
  List items = to_list(runtime, value);
  std::reverse(items.begin(), items.end());
  const Value reversed = runtime.list(std::move(items));
  // reversed() gives an iterator; what it refuses is listed and turned round.
  return reversible(value) ? runtime.iterator(iterate(runtime, reversed), reversed.depth())
                           : reversed;
}

struct Keyed {
  List keys;
  Value item;
};

// Lists compare by their first difference, as Python's do.
bool keys_before(Runtime& runtime, const List& a, const List& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!equals(runtime, a[i], b[i])) return compare(runtime, CompareOp::kLt, a[i], b[i]);
  return false;
}

Value filter_sort(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool reverse = bound.flag(runtime, 0, false), exact = bound.flag(runtime, 1, false);
  std::vector<AttributePath> paths;
  if (bound.has(2) && bound[2].is_string()) {
    const std::string& names = bound[2].as_text();
    for (size_t start = 0; start <= names.size();) {
      const size_t comma = std::min(names.find(',', start), names.size());
      paths.emplace_back().add_dotted(std::string_view(names).substr(start, comma - start));
      start = comma + 1;
    }
  } else {
    paths.emplace_back("sort", bound.value_or(2, Value()));
  }
  std::vector<Keyed> keyed;
  for (const Value& item : to_list(runtime, value)) {
    Keyed& entry = keyed.emplace_back(Keyed{{}, item});
    for (const AttributePath& path : paths) {
      const Value key = path.of(runtime, item);
      entry.keys.push_back(exact ? key : ignore_case(runtime, key));
    }
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? keys_before(runtime, b.keys, a.keys) : keys_before(runtime, a.keys, b.keys);
  });
  List sorted;
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.item));
  return runtime.list(std::move(sorted));
}

Value filter_dictsort(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const bool exact = bound.flag(runtime, 0, false), reverse = bound.flag(runtime, 2, false);
  const std::string by = bound.has(1) ? bound.text(1) : "key";
  if (by != "key" && by != "value") fail("dictsort: by is '{}', expected key or value", by);
  if (value.is_undefined()) fail("{}", value.as_text());
  if (!value.is(Kind::kDict)) fail("dictsort needs a dict, found {}", type_name(value));
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.as<DictObject>().items) {
    const Value& by_value = by == "key" ? key : item;
    keyed.push_back({{exact ? by_value : ignore_case(runtime, by_value)},
                     runtime.list({key, item}, Kind::kTuple)});
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    return compare(runtime, CompareOp::kLt, reverse ? b.keys[0] : a.keys[0],
                   reverse ? a.keys[0] : b.keys[0]);
  });
  List sorted;
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.item));
  return runtime.list(std::move(sorted));
}

Value filter_sum(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("sum", arguments, {"attribute", "start"});
  AttributePath path;
  if (bound.has(0)) path = AttributePath("sum", bound[0]);
  Value total = bound.value_or(1, Value::integer(0));
  if (total.is_string()) fail("sum cannot add up strings (use join)");
  const auto source = iterate(runtime, value);
  for (Value item; source->next(runtime, &item);)
    total = binary(runtime, BinaryOp::kAdd, total, path.of(runtime, item));
  return total;
}

template <CompareOp better>
Value filter_extreme(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("min and max", arguments, {"case_sensitive", "attribute"});
  const bool exact = bound.flag(runtime, 0, false);
  AttributePath path;
  if (bound.has(1)) path = AttributePath("min and max", bound[1]);
  const auto source = iterate(runtime, value);
  std::optional<Value> best, best_key;
  for (Value item; source->next(runtime, &item);) {
    Value key = path.of(runtime, item);
    if (!exact) key = ignore_case(runtime, key);
    if (best && !compare(runtime, better, key, *best_key)) continue;
    best = item;
    best_key = key;
  }
  return best ? *best
              : Value::undefined("there is no smallest or largest item: the sequence is empty");
}

constexpr Filter kSequenceFilters[] = {
    {"map", filter_map},
    {"select", filter_select<true, false>},
    {"reject", filter_select<false, false>},
    {"selectattr", filter_select<true, true>},
    {"rejectattr", filter_select<false, true>},
    {"unique", filter_unique},
    {"items", filter_items},
    {"length", filter_length},
    {"count", filter_length},
    {"list", filter_list},
    {"join", filter_join},
    {"first", filter_first},
    {"last", filter_last},
    {"reverse", filter_reverse},
    {"sort", filter_sort},
    {"dictsort", filter_dictsort},
    {"sum", filter_sum},
    {"min", filter_extreme<CompareOp::kLt>},
    {"max", filter_extreme<CompareOp::kGt>},
};

}  // namespace

std::span<const Filter> sequence_filters() { return kSequenceFilters; }

}  // namespace plumb::jinja
