#include "experiments/spec.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/parallel/team.h"

namespace plumb {

std::vector<std::string> split_list(const std::string& text, char separator) {
  std::vector<std::string> items;
  size_t begin = 0;
  for (;;) {
    const size_t end = text.find(separator, begin);
    items.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return items;
    begin = end + 1;
  }
}

std::optional<int64_t> parse_whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

Result<std::vector<int>> parse_int_list(const std::string& text, const std::string& what, int min, int max) {
  constexpr size_t kMaxItems = 100000;
  std::vector<int> values;
  for (const std::string& item : split_list(text)) {
    const size_t dots = item.find("..");
    const auto first = parse_whole_number(dots == std::string::npos ? std::string_view(item) : std::string_view(item).substr(0, dots));
    const auto last = dots == std::string::npos ? first : parse_whole_number(std::string_view(item).substr(dots + 2));
    if (!first || !last)
      return input_error("{} \"{}\": \"{}\" is not a whole number or range like 4..8", what, text, item);
    if (*first < min || *last > max || *first > *last)
      return input_error("{} \"{}\": \"{}\" is outside {} to {}", what, text, item, min, max);
    if (values.size() + static_cast<size_t>(*last - *first) >= kMaxItems)
      return input_error("{} \"{}\": more than {} values", what, text, kMaxItems);
    for (int64_t value = *first; value <= *last; ++value) {
      if (std::find(values.begin(), values.end(), static_cast<int>(value)) != values.end())
        return input_error("{} \"{}\": {} is listed twice", what, text, value);
      values.push_back(static_cast<int>(value));
    }
  }
  return values;
}

namespace {

// One row a field: how it is written and read. Lists of integers also accept "1,2,4..8".
struct Field {
  const char* key;
  Json (*write)(const SweepSpec&);
  Status (*read)(const Json&, const std::string& where, SweepSpec&);
};

Error wrong(const std::string& where, const Json& value, const char* expected) {
  return input_error("{} is {}, expected {}", where, value.dump(), expected);
}

Status read_texts(const Json& value, const std::string& where, std::vector<std::string>& target) {
  if (value.is_string()) {
    target = {value.get<std::string>()};
    return ok_status();
  }
  if (!value.is_array()) return wrong(where, value, "a string or a list of strings");
  target.clear();
  for (const Json& item : value) {
    if (!item.is_string()) return wrong(where, value, "a list of strings");
    target.push_back(item.get<std::string>());
  }
  return ok_status();
}

Status read_integers(const Json& value, const std::string& where, int min, int max, std::vector<int>& target) {
  std::string text;
  if (value.is_string()) text = value.get<std::string>();
  else if (value.is_number_integer()) text = value.dump();
  else if (value.is_array()) {
    for (const Json& item : value) {
      if (!item.is_number_integer() && !item.is_string()) return wrong(where, value, "a list of whole numbers");
      text += (text.empty() ? "" : ",") + (item.is_string() ? item.get<std::string>() : item.dump());
    }
  } else {
    return wrong(where, value, "a list of whole numbers");
  }
  if (text.empty()) {
    target.clear();
    return ok_status();
  }
  PLUMB_ASSIGN(target, parse_int_list(text, where, min, max));
  return ok_status();
}

Status read_seeds(const Json& value, const std::string& where, std::vector<uint64_t>& target) {
  target.clear();
  for (const Json& item : value.is_array() ? value : Json::array({value})) {
    if (!item.is_number_unsigned()) return wrong(where, value, "whole numbers from 0");
    target.push_back(item.get<uint64_t>());
  }
  return ok_status();
}

Status read_text(const Json& value, const std::string& where, std::string& target) {
  if (!value.is_string()) return wrong(where, value, "a string");
  target = value.get<std::string>();
  return ok_status();
}

template <class T>
Status read_number(const Json& value, const std::string& where, T& target) {
  if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() > 1e9) return wrong(where, value, "a whole number from 0");
  } else {
    if (!value.is_number()) return wrong(where, value, "a number");
  }
  target = value.get<T>();
  return ok_status();
}

#define PLUMB_FIELD(name, reader, ...)                                            \
  Field {                                                                         \
    #name, [](const SweepSpec& spec) { return Json(spec.name); },                 \
        [](const Json& value, const std::string& where, SweepSpec& spec) {        \
          return reader(value, where __VA_OPT__(, ) __VA_ARGS__, spec.name);      \
        }                                                                         \
  }

const Field kFields[] = {
    PLUMB_FIELD(models, read_texts),
    PLUMB_FIELD(texts, read_texts),
    PLUMB_FIELD(num_steps, read_integers, 0, kMaxDepth),
    PLUMB_FIELD(window, read_number<int>),
    PLUMB_FIELD(stride, read_number<int>),
    PLUMB_FIELD(max_tokens, read_number<int64_t>),
    PLUMB_FIELD(seeds, read_seeds),
    PLUMB_FIELD(dtypes, read_texts),
    PLUMB_FIELD(states, read_texts),
    PLUMB_FIELD(init_scale, read_number<double>),
    PLUMB_FIELD(caches, read_texts),
    PLUMB_FIELD(cache_index, read_text),
    PLUMB_FIELD(rules, read_texts),
    PLUMB_FIELD(continuous_compute, read_texts),
    PLUMB_FIELD(readouts, read_texts),
    PLUMB_FIELD(segment_lens, read_integers, 1, 1 << 24),
    PLUMB_FIELD(mem_lens, read_integers, 0, 1 << 24),
    PLUMB_FIELD(scoring, read_text),
    PLUMB_FIELD(record, read_text),
    PLUMB_FIELD(lags, read_integers, 0, kMaxDepth),
    PLUMB_FIELD(db, read_text),
    PLUMB_FIELD(threads, read_number<int>),
    PLUMB_FIELD(namemap, read_text),
    PLUMB_FIELD(config, read_text),
    PLUMB_FIELD(tokenizer, read_text),
};
#undef PLUMB_FIELD

// The singular spellings of the flags are welcome in a file too.
constexpr std::pair<const char*, const char*> kAliases[] = {
    {"model", "models"}, {"text", "texts"}, {"seed", "seeds"}, {"dtype", "dtypes"}, {"state", "states"},
    {"cache", "caches"}, {"rule", "rules"}, {"readout", "readouts"}, {"segment_len", "segment_lens"}, {"mem_len", "mem_lens"}};

Status check_words(const std::vector<std::string>& words, const char* flag, const char* one, const char* other) {
  if (words.empty()) return input_error("{} is empty, expected {} or {}", flag, one, other);
  for (const std::string& word : words)
    if (word != one && word != other) return input_error("{} is \"{}\", expected {} or {}", flag, word, one, other);
  return ok_status();
}

}  // namespace

Json spec_to_json(const SweepSpec& spec) {
  Json json = Json::object();
  for (const Field& field : kFields) json[field.key] = field.write(spec);
  return json;
}

Result<SweepSpec> spec_from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) return input_error("{}: a sweep specification is a JSON object", where);
  SweepSpec spec;
  for (const auto& [raw_key, value] : json.items()) {
    std::string key = raw_key;
    std::replace(key.begin(), key.end(), '-', '_');
    for (const auto& [alias, name] : kAliases)
      if (key == alias) key = name;
    const auto field = std::find_if(std::begin(kFields), std::end(kFields), [&](const Field& f) { return key == f.key; });
    if (field == std::end(kFields)) return input_error("{}: unknown key \"{}\"", where, raw_key);
    PLUMB_RETURN_IF_ERROR(field->read(value, fmt::format("{}: field \"{}\"", where, raw_key), spec));
  }
  return spec;
}

Status SweepSpec::resolve() {
  if (models.empty()) return input_error("a sweep needs at least one --model");
  if (texts.empty()) return input_error("a sweep needs at least one --text");
  if (db.empty()) return input_error("a sweep needs --db OUT.db to write to");
  if (threads < 0 || threads > kMaxThreads)
    return input_error("--threads is {}, expected 1 to {}, or 0 for all cores", threads, kMaxThreads);
  if (window < 1) return input_error("--window is {}, expected at least 1 token", window);
  if (stride == 0) stride = window;
  if (stride < 1 || stride > window)
    return input_error("--stride is {}, expected 1 to the window of {} tokens", stride, window);
  PLUMB_RETURN_IF_ERROR(check_words(continuous_compute, "--continuous-compute", "off", "on"));
  PLUMB_RETURN_IF_ERROR(check_words(readouts, "--readout", "f32", "bf16"));
  const bool warm = std::find(continuous_compute.begin(), continuous_compute.end(), "on") != continuous_compute.end();
  const bool needs_cache = !caches.empty() || !rules.empty() || warm;
  if (scoring.empty()) scoring = needs_cache ? "sequential" : "parallel";
  if (scoring != "parallel" && scoring != "sequential")
    return input_error("--scoring is \"{}\", expected parallel or sequential", scoring);
  if (scoring == "parallel" && needs_cache)
    return input_error("--scoring parallel scores whole windows at once, where cache strategies, rules and warm starts never act; use sequential");
  if (record != "tokens" && record != "steps" && record.rfind("latents", 0) != 0)
    return input_error("--record is \"{}\", expected tokens, steps or latents[:positions,steps,f16|f32]", record);
  std::sort(lags.begin(), lags.end());
  if (std::find(lags.begin(), lags.end(), 1) != lags.end())
    return input_error("--lags: 1 is always recorded; list 0 (against the start) or 2 and more");
  return ok_status();
}

}  // namespace plumb
