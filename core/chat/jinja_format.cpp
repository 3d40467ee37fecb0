// Python's two ways of formatting text: "%s" % values, and "{}".format(...).
#include <cmath>

#include "core/chat/jinja_runtime.h"
#include "core/chat/jinja_text.h"

namespace plumb::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxPrecision = 300;

struct Spec {
  std::string fill = " ";
  char align = 0;  // '<' '>' '^' '='
  char sign = '-';
  bool alternate = false, zero = false, group = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = 0;
};

int64_t read_number(std::string_view text, size_t* at, int64_t limit) {
  int64_t number = 0;
  for (; *at < text.size() && text[*at] >= '0' && text[*at] <= '9'; ++*at) {
    number = number * 10 + (text[*at] - '0');
    if (number > limit) fail("format: a width or precision beyond {}", limit);
  }
  return number;
}

// "-12.50" padded to the width, zeros after the sign where asked.
void place(std::string_view body, const Spec& spec, char default_align, TextSink* sink) {
  const auto length = static_cast<int64_t>(count_points(body));
  const int64_t missing = std::max<int64_t>(spec.width - length, 0);
  const char align = spec.align ? spec.align : spec.zero ? '=' : default_align;
  const std::string fill = spec.zero && !spec.align ? "0" : spec.fill;
  int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const auto pad = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) sink->add(fill);
  };
  size_t head = 0;
  if (align == '=' && !body.empty() && (body[0] == '-' || body[0] == '+' || body[0] == ' '))
    head = 1;
  if (align == '=' && spec.alternate && body.size() > head + 2 && body[head] == '0' &&
      body[head + 1] >= 'a')
    head += 2;
  sink->add(body.substr(0, head));
  pad(left);
  sink->add(body.substr(head));
  pad(missing - left);
}

std::string group_thousands(std::string digits) {
  const size_t end = std::min(digits.find_first_of(".e"), digits.size());
  for (size_t at = end; at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string with_sign(bool negative, char sign, std::string digits) {
  if (negative) return "-" + digits;
  return sign == '-' ? digits : std::string(1, sign) + digits;
}

std::string format_integer(int64_t value, const Spec& spec) {
  const uint64_t size = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  std::string digits;
  switch (spec.type) {
    case 'x':
      digits = (spec.alternate ? "0x" : "") + fmt::format("{:x}", size);
      break;
    case 'X':
      digits = (spec.alternate ? "0X" : "") + fmt::format("{:X}", size);
      break;
    case 'o':
      digits = (spec.alternate ? "0o" : "") + fmt::format("{:o}", size);
      break;
    case 'b':
      digits = (spec.alternate ? "0b" : "") + fmt::format("{:b}", size);
      break;
    default:
      digits = fmt::format("{}", size);
  }
  if (spec.group) digits = group_thousands(digits);
  return with_sign(value < 0, spec.sign, digits);
}

std::string format_real(double value, const Spec& spec) {
  const auto precision = static_cast<int>(spec.precision.value_or(6));
  const double size = std::fabs(value);
  std::string digits;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else {
    switch (spec.type) {
      case 'e':
        digits = fmt::format("{:.{}e}", size, precision);
        break;
      case 'E':
        digits = fmt::format("{:.{}E}", size, precision);
        break;
      case 'g':
        digits = fmt::format("{:.{}g}", size, precision);
        break;
      case 'G':
        digits = fmt::format("{:.{}G}", size, precision);
        break;
      case '%':
        digits = fmt::format("{:.{}f}%", size * 100, precision);
        break;
      default:
        digits = fmt::format("{:.{}f}", size, precision);
    }
  }
  if (spec.group) digits = group_thousands(digits);
  return with_sign(std::signbit(value) && !std::isnan(value), spec.sign, digits);
}

void put_text(std::string_view text, const Spec& spec, TextSink* sink) {
  if (spec.precision)
    text = text.substr(0, byte_of_point(text, static_cast<size_t>(*spec.precision)));
  place(text, spec, '<', sink);
}

std::string repr_of(Runtime& runtime, const Value& value) {
  TextSink sink(runtime);
  print_repr(runtime, value, &sink);
  return sink.take();
}

// --- percent -----------------------------------------------------------------------------------

class PercentValues {
 public:
  PercentValues(Runtime& runtime, const Value& values) : runtime_(runtime), values_(values) {}

  const Value& next() {
    if (values_.is(Kind::kTuple)) {
      if (at_ >= values_.as_list().size()) fail("%: not enough values for the format");
      return values_.as_list()[at_++];
    }
    if (at_++ > 0) fail("%: not enough values for the format");
    return values_;
  }
  const Value& named(const std::string& name) {
    named_ = true;
    if (!values_.is(Kind::kDict)) fail("%: the format names '{}', expected a dict", name);
    const Value* value = values_.as<DictObject>().find_text(name);
    if (value == nullptr) fail("%: the dict has no key '{}'", name);
    return *value;
  }
  void finish() const {
    const bool list_like = values_.is(Kind::kDict) || values_.is(Kind::kList) ||
                           values_.is(Kind::kRange) || values_.is_undefined();
    const size_t count = values_.is(Kind::kTuple) ? values_.as_list().size()
                         : list_like || named_    ? 0
                                                  : 1;
    if (at_ < count) fail("%: not all values were used by the format");
  }
  Runtime& runtime() { return runtime_; }

 private:
  Runtime& runtime_;
  const Value& values_;
  size_t at_ = 0;
  bool named_ = false;
};

int64_t percent_integer(const Value& value, char type) {
  if (value.is_integral()) return value.as_integer();
  const bool truncates = type == 'd' || type == 'i' || type == 'u';
  if (!value.is(Kind::kFloat) || !truncates)
    fail("%{} needs a number, found {}", type, type_name(value));
  const double real = std::trunc(value.as_real());
  if (!(std::fabs(real) < 9.2e18)) fail("%{}: {} does not fit in 64 bits", type, real);
  return static_cast<int64_t>(real);
}

void put_percent(PercentValues& values, const Value& value, Spec spec, TextSink* sink) {
  Runtime& runtime = values.runtime();
  if (value.is_undefined() && spec.type != 's' && spec.type != 'r') fail("{}", value.as_text());
  switch (spec.type) {
    case 's':
    case 'r':
    case 'a': {
      if (spec.type == 'a') fail("%a is not supported");
      if (!spec.align) spec.align = '>';
      return put_text(spec.type == 's' ? to_text(runtime, value) : repr_of(runtime, value), spec,
                      sink);
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': {
      if (spec.precision) fail("a precision for %{} is not supported", spec.type);
      return place(format_integer(percent_integer(value, spec.type), spec), spec, '>', sink);
    }
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
      if (!value.is_number()) fail("%{} needs a number, found {}", spec.type, type_name(value));
      return place(format_real(value.as_real(), spec), spec, '>', sink);
    default:
      fail("%: the conversion '{}' is not supported", spec.type);
  }
}

// After the '%': flags, width, precision, conversion.
void percent_item(PercentValues& values, std::string_view format, size_t* at, TextSink* sink) {
  Spec spec;
  const Value* value = nullptr;
  if (*at < format.size() && format[*at] == '(') {
    const size_t close = format.find(')', *at);
    if (close == std::string_view::npos) fail("%: a key without its closing parenthesis");
    value = &values.named(std::string(format.substr(*at + 1, close - *at - 1)));
    *at = close + 1;
  }
  for (; *at < format.size(); ++*at) {
    const char c = format[*at];
    if (c == '-')
      spec.align = '<';
    else if (c == '+')
      spec.sign = '+';
    else if (c == ' ')
      spec.sign = spec.sign == '+' ? '+' : ' ';
    else if (c == '0')
      spec.zero = true;
    else if (c == '#')
      spec.alternate = true;
    else
      break;
  }
  if (*at < format.size() && format[*at] == '*') fail("%: a width of * is not supported");
  spec.width = read_number(format, at, kMaxWidth);
  if (*at < format.size() && format[*at] == '.') {
    ++*at;
    spec.precision = read_number(format, at, kMaxPrecision);
  }
  while (*at < format.size() && (format[*at] == 'l' || format[*at] == 'h' || format[*at] == 'L'))
    ++*at;
  if (*at >= format.size()) fail("%: the format ends inside a conversion");
  spec.type = format[(*at)++];
  if (spec.type == '%') return sink->add("%");
  if (spec.zero && (spec.type == 's' || spec.type == 'r')) spec.zero = false;
  put_percent(values, value ? *value : values.next(), spec, sink);
}

// --- braces ------------------------------------------------------------------------------------

Spec parse_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  size_t second = 0;
  if (!text.empty()) next_point(text, &second);
  if (second < text.size() && second > 0 && is_align(text[second])) {
    spec.fill = std::string(text.substr(0, second));
    spec.align = text[second];
    at = second + 1;
  } else if (!text.empty() && is_align(text[0])) {
    spec.align = text[at++];
  }
  const auto take = [&](char c) { return at < text.size() && text[at] == c && ++at; };
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' '))
    spec.sign = text[at++];
  spec.alternate = take('#');
  spec.zero = take('0');
  spec.width = read_number(text, &at, kMaxWidth);
  spec.group = take(',');
  if (take('.')) spec.precision = read_number(text, &at, kMaxPrecision);
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) fail("format: '{}' is not a supported format specification", text);
  return spec;
}

void put_formatted(Runtime& runtime, const Value& value, std::string_view spec_text,
                   TextSink* sink) {
  if (spec_text.empty()) return print(runtime, value, sink);
  const Spec spec = parse_spec(spec_text);
  const std::string_view types = value.is_string()        ? "s"
                                 : value.is(Kind::kFloat) ? "eEfFgG%"
                                                          : "dxXobeEfFgG%";
  const bool known = spec.type == 0 || types.find(spec.type) != std::string_view::npos;
  const bool bare_number = value.is(Kind::kFloat) && spec.type == 0;
  const bool number_only = value.is_string() && (spec.align == '=' || spec.zero || spec.group ||
                                                 spec.alternate || spec.sign != '-');
  if (!known || (bare_number && spec.precision) || number_only ||
      !(value.is_string() || value.is_number()) || (value.is(Kind::kBool) && spec.type == 0))
    fail("format: '{}' is not supported for type {}", spec_text, type_name(value));
  if (value.is_string()) return put_text(value.as_text(), spec, sink);
  if (bare_number) {
    const std::string digits = repr_real(std::fabs(value.as_real()));
    return place(with_sign(std::signbit(value.as_real()), spec.sign,
                           spec.group ? group_thousands(digits) : digits),
                 spec, '>', sink);
  }
  const bool whole =
      value.is_integral() &&
      (spec.type == 0 || std::string_view("dxXob").find(spec.type) != std::string_view::npos);
  if (spec.zero && spec.group) fail("format: '{}' is not supported", spec_text);
  if (whole && spec.precision) fail("format: an int takes no precision, found '{}'", spec_text);
  place(whole ? format_integer(value.as_integer(), spec) : format_real(value.as_real(), spec), spec,
        '>', sink);
}

const Value& brace_value(std::string_view name, const Arguments& arguments, size_t* automatic) {
  size_t at = 0;
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) {
    const size_t index =
        name.empty() ? (*automatic)++ : static_cast<size_t>(read_number(name, &at, 1 << 20));
    if (at != name.size()) fail("format: '{{{}}}' is not supported", name);
    if (index >= arguments.positional.size()) fail("format: no value for position {}", index);
    return arguments.positional[index];
  }
  if (name.find_first_of(".[") != std::string_view::npos)
    fail("format: reaching into '{}' is not supported", name);
  for (const auto& [key, value] : arguments.named)
    if (key == name) return value;
  fail("format: no value named '{}'", name);
}

}  // namespace

Value format_percent(Runtime& runtime, std::string_view format, const Value& source) {
  PercentValues values(runtime, source);
  TextSink sink(runtime);
  for (size_t at = 0; at < format.size();) {
    runtime.spend();
    const size_t percent = std::min(format.find('%', at), format.size());
    sink.add(format.substr(at, percent - at));
    at = percent;
    if (at == format.size()) break;
    ++at;
    percent_item(values, format, &at, &sink);
  }
  values.finish();
  return sink.finish();
}

Value format_braces(Runtime& runtime, std::string_view format, const Arguments& arguments) {
  TextSink sink(runtime);
  size_t automatic = 0;
  for (size_t at = 0; at < format.size();) {
    runtime.spend();
    const size_t brace = std::min(format.find_first_of("{}", at), format.size());
    sink.add(format.substr(at, brace - at));
    at = brace;
    if (at == format.size()) break;
    if (at + 1 < format.size() && format[at + 1] == format[at]) {
      sink.add(format.substr(at, 1));
      at += 2;
      continue;
    }
    const size_t close = format.find('}', at);
    if (format[at] == '}' || close == std::string_view::npos)
      fail("format: a single '{}'", format[at]);
    std::string_view field = format.substr(at + 1, close - at - 1);
    if (field.find('{') != std::string_view::npos) fail("format: nested fields are not supported");
    at = close + 1;
    const size_t colon = std::min(field.find(':'), field.size());
    const std::string_view spec =
        colon < field.size() ? field.substr(colon + 1) : std::string_view();
    std::string_view name = field.substr(0, colon);
    const size_t bang = std::min(name.find('!'), name.size());
    const std::string_view conversion = name.substr(bang);
    name = name.substr(0, bang);
    const Value& value = brace_value(name, arguments, &automatic);
    if (conversion.empty())
      put_formatted(runtime, value, spec, &sink);
    else if (conversion == "!s")
      put_formatted(runtime, Value::text(to_text(runtime, value)), spec, &sink);
    else if (conversion == "!r")
      put_formatted(runtime, Value::text(repr_of(runtime, value)), spec, &sink);
    else
      fail("format: the conversion '{}' is not supported", conversion);
  }
  return sink.finish();
}

}  // namespace plumb::jinja
