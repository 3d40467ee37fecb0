// Filters on single values: text, numbers, defaults, JSON.
#include "core/chat/jinja_filters.h"

#include <algorithm>
#include <cmath>

#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

std::string text_of(Runtime& runtime, const Value& value) { return to_text(runtime, value); }

Value filter_trim(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("trim", arguments, {"chars"});
  std::optional<std::string_view> chars;
  if (bound.has(0) && !bound[0].is_none()) chars = bound.text(0);
  const std::string text = text_of(runtime, value);
  runtime.spend(chars ? chars->size() * text.size() / 64 : 0);
  return runtime.text(std::string(strip(text, true, true, chars)));
}

template <std::string (*change)(std::string_view)>
Value filter_case(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("the filter", arguments, {});
  return runtime.text(change(text_of(runtime, value)));
}

Value filter_string(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("string", arguments, {});
  return value.is_string() ? value : runtime.text(text_of(runtime, value));
}

Value filter_safe(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("safe", arguments, {});
  return Value::text(text_of(runtime, value), true);
}

// Escapes whether or not output is escaped automatically (it never is in chat templates).
Value filter_escape(Runtime& runtime, const Value& value, const Arguments& arguments) {
  Bound("escape", arguments, {});
  if (value.is_escaped()) return value;
  const std::string text = text_of(runtime, value);
  runtime.check_text(text.size());
  std::string escaped = escape_html(text);
  runtime.check_text(escaped.size());
  runtime.spend_bytes(escaped.size());
  return Value::text(std::move(escaped), true);
}

Value filter_replace(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  Arguments plain;
  plain.positional = {runtime.text(text_of(runtime, bound[0])),
                      runtime.text(text_of(runtime, bound[1]))};
  if (bound.has(2) && !bound[2].is_none()) plain.positional.push_back(bound[2]);
  const Value text = runtime.text(text_of(runtime, value));
  return call(runtime, *find_method(runtime, text, "replace"), plain);
}

Value filter_indent(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("indent", arguments, {"width", "first", "blank"});
  if (value.is_undefined()) fail("{}", value.as_text());
  if (!value.is_string()) fail("indent needs a string, found {}", type_name(value));
  TextSink margin(runtime);
  if (bound.has(0) && bound[0].is_string())
    margin.add(bound[0].as_text());
  else
    margin.pad(static_cast<size_t>(std::max<int64_t>(bound.integer(0, 4), 0)));
  const std::string indent = margin.take();
  const bool first = bound.flag(runtime, 1, false), blank = bound.flag(runtime, 2, false);
  TextSink sink(runtime);
  if (first) sink.add(indent);
  const std::string text = value.as_text() + "\n";
  bool later = false;
  for (const std::string_view line : split_lines(text)) {
    if (later) {
      sink.add("\n");
      if (blank || !line.empty()) sink.add(indent);
    }
    later = true;
    sink.add(line);
  }
  return sink.finish();
}

Value filter_format(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (arguments.named.empty())
    return format_percent(runtime, text_of(runtime, value),
                          runtime.list(arguments.positional, Kind::kTuple));
  if (!arguments.positional.empty()) fail("format takes either positional or named values");
  auto dict = std::make_shared<DictObject>();
  for (const auto& [name, item] : arguments.named) dict->set(runtime, Value::text(name), item);
  return format_percent(runtime, text_of(runtime, value), Value(Kind::kDict, dict));
}

Value filter_default(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("default", arguments, {"default_value", "boolean"});
  const bool absent =
      value.is_undefined() || (bound.flag(runtime, 1, false) && !truthy(runtime, value));
  if (!absent) return value;
  return bound.has(0) ? bound[0] : Value::text("");
}

Value truncate_real(double real) {
  if (!(std::fabs(real) < 9.2e18)) fail("int: {} does not fit in 64 bits", real);
  return Value::integer(static_cast<int64_t>(real));
}

Value filter_int(Runtime&, const Value& value, const Arguments& arguments) {
  const Bound bound("int", arguments, {"default", "base"});
  const Value fallback = bound.value_or(0, Value::integer(0));
  if (value.is_undefined()) fail("{}", value.as_text());
  if (value.is_integral()) return Value::integer(value.as_integer());
  if (value.is(Kind::kFloat))
    return std::isnan(value.as_real()) ? fallback : truncate_real(value.as_real());
  if (!value.is_string()) return fallback;
  const int64_t base = bound.integer(1, 10);
  bool overflow = false;
  if (base == 0 || (base >= 2 && base <= 36)) {
    const auto whole = parse_integer(value.as_text(), static_cast<int>(base), &overflow);
    if (overflow) fail("int: {} does not fit in 64 bits", repr_text(value.as_text()));
    if (whole) return Value::integer(*whole);
  }
  const auto real = parse_real(value.as_text());
  return real && std::isfinite(*real) ? truncate_real(*real) : fallback;
}

Value filter_float(Runtime&, const Value& value, const Arguments& arguments) {
  const Bound bound("float", arguments, {"default"});
  if (value.is_undefined()) fail("{}", value.as_text());
  if (value.is_number()) return Value::real(value.as_real());
  const auto real = value.is_string() ? parse_real(value.as_text()) : std::nullopt;
  return real ? Value::real(*real) : bound.value_or(0, Value::real(0));
}

Value filter_abs(Runtime&, const Value& value, const Arguments& arguments) {
  Bound("abs", arguments, {});
  if (value.is_undefined()) fail("{}", value.as_text());
  if (value.is(Kind::kFloat)) return Value::real(std::fabs(value.as_real()));
  if (!value.is_integral()) fail("abs needs a number, found {}", type_name(value));
  return value.as_integer() < 0 ? negate(value) : Value::integer(value.as_integer());
}

// printf rounds the exact binary value, halves to even: so does Python's round().
double round_common(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 300) return value;
  return std::strtod(fmt::format("{:.{}f}", value, static_cast<int>(precision)).c_str(), nullptr);
}

Value filter_round(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("round", arguments, {"precision", "method"});
  const int64_t precision = bound.integer(0, 0);
  const std::string method = bound.has(1) ? bound.text(1) : "common";
  if (value.is_undefined()) fail("{}", value.as_text());
  if (!value.is_number()) fail("round needs a number, found {}", type_name(value));
  if (precision < 0) fail("round: a negative precision is not supported");
  if (method == "common")
    return value.is_integral() ? Value::integer(value.as_integer())
                               : Value::real(round_common(value.as_real(), precision));
  if (method != "ceil" && method != "floor")
    fail("round: the method '{}' is not common, ceil or floor", method);
  const Value scale =
      binary(runtime, BinaryOp::kPow, Value::integer(10), Value::integer(precision));
  const Value scaled = binary(runtime, BinaryOp::kMul, value, scale);
  if (!std::isfinite(scaled.as_real())) fail("round: {} has no {}", scaled.as_real(), method);
  const double whole =
      method == "ceil" ? std::ceil(scaled.as_real()) : std::floor(scaled.as_real());
  return Value::real(whole / scale.as_real());
}

Value filter_tojson(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.flag(runtime, 0, false);
  style.sort_keys = bound.flag(runtime, 3, false);
  if (bound.has(1) && !bound[1].is_none()) {
    TextSink level(runtime);
    if (bound[1].is_string())
      level.add(bound[1].as_text());
    else
      level.pad(static_cast<size_t>(std::max<int64_t>(bound.integer(1, 0), 0)));
    style.indent = level.take();
    style.item_separator = ",";
  }
  if (bound.has(2) && !bound[2].is_none()) {
    const bool pair = bound[2].is_sequence() && bound[2].as_list().size() == 2 &&
                      bound[2].as_list()[0].is_string() && bound[2].as_list()[1].is_string();
    if (!pair) fail("tojson: separators must be two strings");
    style.item_separator = bound[2].as_list()[0].as_text();
    style.key_separator = bound[2].as_list()[1].as_text();
  }
  TextSink sink(runtime);
  print_json(runtime, value, style, &sink);
  return sink.finish();
}

constexpr Filter kFilters[] = {
    {"trim", filter_trim},
    {"upper", filter_case<to_upper>},
    {"lower", filter_case<to_lower>},
    {"capitalize", filter_case<capitalize>},
    {"title", filter_case<title_filter>},
    {"string", filter_string},
    {"safe", filter_safe},
    {"escape", filter_escape},
    {"e", filter_escape},
    {"replace", filter_replace},
    {"indent", filter_indent},
    {"format", filter_format},
    {"default", filter_default},
    {"d", filter_default},
    {"int", filter_int},
    {"float", filter_float},
    {"abs", filter_abs},
    {"round", filter_round},
    {"tojson", filter_tojson},
};

}  // namespace

std::span<const Filter> text_filters() { return kFilters; }

Value apply_filter(Runtime& runtime, const std::string& name, const Value& value,
                   const Arguments& arguments) {
  for (const auto table : {text_filters(), sequence_filters()})
    for (const Filter& filter : table)
      if (filter.name == name) return filter.apply(runtime, value, arguments);
  fail("the filter '{}' is not supported", name);
}

}  // namespace plumb::jinja
