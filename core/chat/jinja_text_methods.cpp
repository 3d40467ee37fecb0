// Methods of str.
#include "core/chat/jinja_methods.h"

#include <algorithm>

#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

std::optional<std::string_view> optional_text(const Bound& bound, size_t i) {
  if (!bound.has(i) || bound[i].is_none()) return {};
  return bound.text(i);
}

template <bool left, bool right>
Value text_strip(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("strip", arguments, {"chars"});
  const auto chars = optional_text(bound, 0);
  runtime.spend(chars ? chars->size() * self.as_text().size() / 64 : 0);
  return runtime.text(std::string(strip(self.as_text(), left, right, chars)));
}

size_t split_limit(const Bound& bound) {
  const int64_t limit = bound.integer(1, -1);
  return limit < 0 ? static_cast<size_t>(-1) : static_cast<size_t>(limit);
}

Value text_list(Runtime& runtime, const std::vector<std::string_view>& pieces) {
  runtime.spend(pieces.size());
  List items;
  for (const std::string_view piece : pieces) items.push_back(runtime.text(std::string(piece)));
  return runtime.list(std::move(items));
}

Value text_split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("split", arguments, {"sep", "maxsplit"});
  const auto separator = optional_text(bound, 0);
  const size_t limit = split_limit(bound);
  const std::string_view text = self.as_text();
  runtime.spend_scan(text.size());
  if (!separator) return text_list(runtime, split_space(text, limit));
  if (separator->empty()) fail("split: the separator is empty");
  std::vector<std::string_view> pieces;
  size_t start = 0;
  for (size_t at;
       pieces.size() < limit && (at = find_text(text, *separator, start)) != text.npos;) {
    runtime.spend();
    pieces.push_back(text.substr(start, at - start));
    start = at + separator->size();
  }
  pieces.push_back(text.substr(start));
  return text_list(runtime, pieces);
}

Value text_rsplit(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("rsplit", arguments, {"sep", "maxsplit"});
  const auto separator = optional_text(bound, 0);
  const size_t limit = split_limit(bound);
  if (limit == static_cast<size_t>(-1)) return text_split(runtime, self, arguments);
  if (!separator) fail("rsplit: a limit without a separator is not supported");
  if (separator->empty()) fail("rsplit: the separator is empty");
  std::string_view text = self.as_text();
  std::vector<std::string_view> pieces;
  while (pieces.size() < limit) {
    runtime.spend();
    runtime.spend_scan(text.size());
    const size_t at = find_last_text(text, *separator);
    if (at == text.npos) break;
    pieces.push_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
  pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return text_list(runtime, pieces);
}

Value text_splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("splitlines", arguments, {"keepends"});
  if (bound.flag(runtime, 0, false)) fail("splitlines: keepends is not supported");
  return text_list(runtime, split_lines(self.as_text()));
}

template <bool at_end>
Value text_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(at_end ? "endswith" : "startswith", arguments, {"prefix", "start", "end"}, 1);
  if (bound.has(1) || bound.has(2))
    fail("startswith and endswith: start and end are not supported");
  const std::string& text = self.as_text();
  const auto matches = [&](const Value& affix) {
    if (affix.is_undefined()) fail("{}", affix.as_text());
    if (!affix.is_string())
      fail("startswith and endswith need a string, found {}", type_name(affix));
    runtime.spend_compare(affix.as_text().size());
    return at_end ? text.ends_with(affix.as_text()) : text.starts_with(affix.as_text());
  };
  if (!bound[0].is(Kind::kTuple)) return Value::boolean(matches(bound[0]));
  runtime.spend(bound[0].as_list().size());
  return Value::boolean(std::any_of(bound[0].as_list().begin(), bound[0].as_list().end(), matches));
}

template <bool at_end>
Value text_remove_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("removeprefix and removesuffix", arguments, {"affix"}, 1);
  std::string_view text = self.as_text();
  const std::string& affix = bound.text(0);
  if (at_end && text.ends_with(affix))
    text.remove_suffix(affix.size());
  else if (!at_end && text.starts_with(affix))
    text.remove_prefix(affix.size());
  return runtime.text(std::string(text));
}

template <std::string (*change)(std::string_view)>
Value text_case(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Bound("the method", arguments, {});
  return runtime.text(change(self.as_text()));
}

// An empty `old` stands before every code point and at the end.
std::string replace_empty(std::string_view text, std::string_view fresh, size_t limit,
                          TextSink sink) {
  size_t done = 0, at = 0;
  while (done < limit) {
    sink.add(fresh);
    ++done;
    if (at == text.size()) break;
    const size_t start = at;
    next_point(text, &at);
    sink.add(text.substr(start, at - start));
  }
  sink.add(text.substr(at));
  return sink.take();
}

Value text_replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const std::string_view text = self.as_text(), old = bound.text(0), fresh = bound.text(1);
  const int64_t count = bound.integer(2, -1);
  const size_t limit = count < 0 ? static_cast<size_t>(-1) : static_cast<size_t>(count);
  runtime.spend_scan(text.size());
  TextSink sink(runtime);
  if (old.empty()) return Value::text(replace_empty(text, fresh, limit, sink));
  size_t start = 0, done = 0;
  for (size_t at; done < limit && (at = find_text(text, old, start)) != text.npos; ++done) {
    sink.add(text.substr(start, at - start));
    sink.add(fresh);
    start = at + old.size();
  }
  sink.add(text.substr(start));
  return sink.finish();
}

Value text_join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("join", arguments, {"iterable"}, 1);
  const auto source = iterate(runtime, bound[0]);
  TextSink sink(runtime);
  bool first = true;
  for (Value item; source->next(runtime, &item); first = false) {
    runtime.spend();
    if (!item.is_string()) fail("join: an item is of type {}, expected a string", type_name(item));
    if (!first) sink.add(self.as_text());
    sink.add(item.as_text());
  }
  return sink.finish();
}

// find and index, from either end; in code points.
template <bool last, bool must>
Value text_find(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(must ? "index" : "find", arguments, {"sub", "start", "end"}, 1);
  if (bound.has(1) || bound.has(2)) fail("find and index: start and end are not supported");
  const std::string& text = self.as_text();
  const std::string& needle = bound.text(0);
  runtime.spend_scan(text.size());
  const size_t at = last ? find_last_text(text, needle) : find_text(text, needle);
  if (at == std::string::npos && must) fail("index: the text is not there");
  if (at == std::string::npos) return Value::integer(-1);
  return Value::integer(static_cast<int64_t>(count_points(std::string_view(text).substr(0, at))));
}

Value text_count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"sub"}, 1);
  const std::string_view text = self.as_text(), needle = bound.text(0);
  runtime.spend_scan(text.size());
  if (needle.empty()) return Value::integer(static_cast<int64_t>(count_points(text)) + 1);
  int64_t count = 0;
  for (size_t at = 0; (at = find_text(text, needle, at)) != text.npos; at += needle.size()) ++count;
  return Value::integer(count);
}

template <bool from_end>
Value text_partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("partition", arguments, {"sep"}, 1);
  const std::string_view text = self.as_text(), separator = bound.text(0);
  if (separator.empty()) fail("partition: the separator is empty");
  runtime.spend_scan(text.size());
  const size_t at = from_end ? find_last_text(text, separator) : find_text(text, separator);
  const auto piece = [&](std::string_view part) { return runtime.text(std::string(part)); };
  if (at == text.npos)
    return runtime.list({piece(from_end ? "" : text), piece(""), piece(from_end ? text : "")},
                        Kind::kTuple);
  return runtime.list(
      {piece(text.substr(0, at)), piece(separator), piece(text.substr(at + separator.size()))},
      Kind::kTuple);
}

template <bool (*holds)(char32_t)>
Value text_all(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Bound("the method", arguments, {});
  const std::string& text = self.as_text();
  runtime.spend_scan(text.size());
  for (size_t at = 0; at < text.size();)
    if (!holds(next_point(text, &at))) return Value::boolean(false);
  return Value::boolean(!text.empty());
}

bool is_alnum(char32_t point) { return is_alphabetic(point) || is_digit(point); }

template <bool upper>
Value text_is_case(Runtime& runtime, const Value& self, const Arguments& arguments) {
  Bound("the method", arguments, {});
  return Value::boolean(apply_test(runtime, upper ? "upper" : "lower", self, {}));
}

template <bool left, bool right>
Value text_pad(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound("ljust and rjust", arguments, {"width", "fillchar"}, 1);
  const std::string fill = bound.has(1) ? bound.text(1) : " ";
  if (count_points(fill) != 1) fail("ljust and rjust: the fill is not one character");
  const int64_t missing = bound.integer(0, 0) - static_cast<int64_t>(count_points(self.as_text()));
  TextSink sink(runtime);
  if (right) sink.add(self.as_text());
  for (int64_t i = 0; i < missing; ++i) sink.add(fill);
  if (left) sink.add(self.as_text());
  return sink.finish();
}

Value text_format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return format_braces(runtime, self.as_text(), arguments);
}

constexpr MethodEntry kTextMethods[] = {
    {"strip", text_strip<true, true>},
    {"lstrip", text_strip<true, false>},
    {"rstrip", text_strip<false, true>},
    {"split", text_split},
    {"rsplit", text_rsplit},
    {"splitlines", text_splitlines},
    {"startswith", text_affix<false>},
    {"endswith", text_affix<true>},
    {"removeprefix", text_remove_affix<false>},
    {"removesuffix", text_remove_affix<true>},
    {"upper", text_case<to_upper>},
    {"lower", text_case<to_lower>},
    {"title", text_case<title_method>},
    {"capitalize", text_case<capitalize>},
    {"replace", text_replace},
    {"join", text_join},
    {"find", text_find<false, false>},
    {"rfind", text_find<true, false>},
    {"index", text_find<false, true>},
    {"rindex", text_find<true, true>},
    {"count", text_count},
    {"partition", text_partition<false>},
    {"rpartition", text_partition<true>},
    {"isspace", text_all<is_space>},
    {"isalpha", text_all<is_alphabetic>},
    {"isdigit", text_all<is_digit>},
    {"isalnum", text_all<is_alnum>},
    {"isupper", text_is_case<true>},
    {"islower", text_is_case<false>},
    {"ljust", text_pad<false, true>},
    {"rjust", text_pad<true, false>},
    {"format", text_format},
    {"casefold", nullptr},
    {"center", nullptr},
    {"encode", nullptr},
    {"expandtabs", nullptr},
    {"format_map", nullptr},
    {"isascii", nullptr},
    {"isdecimal", nullptr},
    {"isidentifier", nullptr},
    {"isnumeric", nullptr},
    {"isprintable", nullptr},
    {"istitle", nullptr},
    {"maketrans", nullptr},
    {"swapcase", nullptr},
    {"translate", nullptr},
    {"zfill", nullptr},
};

}  // namespace

std::span<const MethodEntry> text_methods() { return kTextMethods; }

}  // namespace plumb::jinja
