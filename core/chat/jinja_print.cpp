// Values to text: str(), repr(), json.dumps; and JSON to values.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/chat/jinja_runtime.h"
#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

void print_items(Runtime& runtime, const List& items, const char* open, const char* close,
                 TextSink* sink) {
  sink->add(open);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) sink->add(", ");
    print_repr(runtime, items[i], sink);
  }
  sink->add(close);
}

void print_dict(Runtime& runtime, const Value& value, TextSink* sink) {
  sink->add("{");
  bool first = true;
  for (const auto& [key, item] : value.as<DictObject>().items) {
    if (!first) sink->add(", ");
    first = false;
    print_repr(runtime, key, sink);
    sink->add(": ");
    print_repr(runtime, item, sink);
  }
  sink->add("}");
}

void print_range(const RangeObject& range, TextSink* sink) {
  sink->add(fmt::format("range({}, {}", range.start, range.stop));
  if (range.step != 1) sink->add(fmt::format(", {}", range.step));
  sink->add(")");
}

void print_json_text(std::string_view text, bool ascii, TextSink* sink) {
  sink->add("\"");
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t point = next_point(text, &at);
    switch (point) {
      case '"':
        sink->add("\\\"");
        continue;
      case '\\':
        sink->add("\\\\");
        continue;
      case '\n':
        sink->add("\\n");
        continue;
      case '\r':
        sink->add("\\r");
        continue;
      case '\t':
        sink->add("\\t");
        continue;
      case '\f':
        sink->add("\\f");
        continue;
      case '\b':
        sink->add("\\b");
        continue;
      default:
        break;
    }
    const auto code = static_cast<uint32_t>(point);
    if (code >= 0x20 && (!ascii || code < 0x7f)) {
      sink->add(text.substr(start, at - start));
    } else if (code < 0x10000) {
      sink->add(fmt::format("\\u{:04x}", code));
    } else {
      const uint32_t rest = code - 0x10000;
      sink->add(fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff)));
    }
  }
  sink->add("\"");
}

std::string json_number(const Value& value) {
  if (value.is(Kind::kInt)) return fmt::format("{}", value.as_integer());
  const double real = value.as_real();
  if (std::isnan(real)) return "NaN";
  if (std::isinf(real)) return real < 0 ? "-Infinity" : "Infinity";
  return repr_real(real);
}

std::string json_key(const Value& key) {
  switch (key.kind()) {
    case Kind::kString:
      return key.as_text();
    case Kind::kNone:
      return "null";
    case Kind::kBool:
      return key.as_integer() ? "true" : "false";
    case Kind::kInt:
    case Kind::kFloat:
      return json_number(key);
    default:
      fail("tojson: '{}' cannot be the key of a JSON object", type_name(key));
  }
}

class JsonPrinter {
 public:
  JsonPrinter(Runtime& runtime, const JsonStyle& style, TextSink* sink)
      : runtime_(runtime), style_(style), sink_(sink) {}

  void print(const Value& value, int level) {
    switch (value.kind()) {
      case Kind::kNone:
        return sink_->add("null");
      case Kind::kBool:
        return sink_->add(value.as_integer() ? "true" : "false");
      case Kind::kInt:
      case Kind::kFloat:
        return sink_->add(json_number(value));
      case Kind::kString:
        return print_json_text(value.as_text(), style_.ascii, sink_);
      case Kind::kList:
      case Kind::kTuple:
        return print_array(value.as_list(), level);
      case Kind::kDict:
        return print_object(value.as<DictObject>().items, level);
      case Kind::kUndefined:
        fail("tojson: {}", value.as_text());
      default:
        fail("tojson: '{}' cannot be written as JSON", type_name(value));
    }
  }

 private:
  void break_line(int level) {
    if (!style_.indent) return;
    sink_->add("\n");
    for (int i = 0; i < level; ++i) sink_->add(*style_.indent);
  }

  void print_array(const List& items, int level) {
    if (items.empty()) return sink_->add("[]");
    sink_->add("[");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) sink_->add(style_.item_separator);
      break_line(level + 1);
      print(items[i], level + 1);
    }
    break_line(level);
    sink_->add("]");
  }

  using Items = std::vector<std::pair<Value, Value>>;

  void print_object(const Items& items, int level) {
    if (items.empty()) return sink_->add("{}");
    if (!style_.sort_keys) return print_members(items, level);
    Items sorted = items;
    std::stable_sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) {
      return compare(runtime_, CompareOp::kLt, a.first, b.first);
    });
    print_members(sorted, level);
  }

  void print_members(const Items& items, int level) {
    sink_->add("{");
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) sink_->add(style_.item_separator);
      break_line(level + 1);
      print_json_text(json_key(items[i].first), style_.ascii, sink_);
      sink_->add(style_.key_separator);
      print(items[i].second, level + 1);
    }
    break_line(level);
    sink_->add("}");
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  TextSink* sink_;
};

Value text_from_json(const std::string& text, const std::string& where) {
  if (!is_utf8(text)) fail("{} holds text that is not valid UTF-8", where);
  return Value::text(text);
}

Value convert(Runtime& runtime, const nlohmann::ordered_json& json, const std::string& where,
              int depth) {
  if (depth > kMaxValueDepth) fail("{} is nested deeper than {} levels", where, kMaxValueDepth);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null:
      return Value();
    case nlohmann::ordered_json::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        fail("{} holds {}, expected a number of 64 bits with sign", where, number);
      return Value::integer(static_cast<int64_t>(number));
    }
    case nlohmann::ordered_json::value_t::number_float:
      return Value::real(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return text_from_json(json.get_ref<const std::string&>(), where);
    case nlohmann::ordered_json::value_t::array: {
      List items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(convert(runtime, item, where, depth + 1));
      return runtime.list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      auto dict = std::make_shared<DictObject>();
      dict->depth = 1;
      for (const auto& [key, item] : json.items())
        dict->set(runtime, text_from_json(key, where), convert(runtime, item, where, depth + 1));
      return Value(Kind::kDict, std::move(dict));
    }
    default:
      fail("{} holds a value that is not JSON", where);
  }
}

}  // namespace

void print_repr(Runtime& runtime, const Value& value, TextSink* sink) {
  runtime.spend();
  switch (value.kind()) {
    case Kind::kUndefined:
      return sink->add("Undefined");
    case Kind::kNone:
      return sink->add("None");
    case Kind::kBool:
      return sink->add(value.as_integer() ? "True" : "False");
    case Kind::kInt:
      return sink->add(fmt::format("{}", value.as_integer()));
    case Kind::kFloat:
      return sink->add(repr_real(value.as_real()));
    case Kind::kString:
      sink->add(value.is_escaped() ? "Markup(" : "");
      sink->add(repr_text(value.as_text()));
      return sink->add(value.is_escaped() ? ")" : "");
    case Kind::kList:
      return print_items(runtime, value.as_list(), "[", "]", sink);
    case Kind::kTuple:
      return print_items(runtime, value.as_list(), "(", value.as_list().size() == 1 ? ",)" : ")",
                         sink);
    case Kind::kDict:
      return print_dict(runtime, value, sink);
    case Kind::kView:
      sink->add(type_name(value));
      return print_items(runtime, value.as_list(), "([", "])", sink);
    case Kind::kRange:
      return print_range(value.as<RangeObject>(), sink);
    default:
      fail("'{}' cannot be printed", type_name(value));
  }
}

void print(Runtime& runtime, const Value& value, TextSink* sink) {
  if (value.is_undefined()) return;
  if (value.is_string()) return sink->add(value.as_text());
  print_repr(runtime, value, sink);
}

std::string to_text(Runtime& runtime, const Value& value) {
  TextSink sink(runtime);
  print(runtime, value, &sink);
  return sink.take();
}

void print_json(Runtime& runtime, const Value& value, const JsonStyle& style, TextSink* sink) {
  JsonPrinter(runtime, style, sink).print(value, 0);
}

Value from_json(Runtime& runtime, const nlohmann::ordered_json& json, const std::string& where) {
  return convert(runtime, json, where, 1);
}

}  // namespace plumb::jinja
