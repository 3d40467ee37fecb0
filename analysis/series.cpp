// What tells one setting from another, in as few words as it takes.
#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "analysis/queries.h"

namespace plumb {
namespace {

std::string optional_text(const std::optional<int64_t>& value) {
  return value ? fmt::format("{}", *value) : "none";
}

// How many tokens of the text were used at most; "" for all.
std::string max_tokens(const Setting& setting) {
  const auto extra = nlohmann::json::parse(setting.extra_json, nullptr, false);
  return extra.is_object() && extra.contains("max_tokens") ? extra["max_tokens"].dump() : "";
}

// "kl<0.001 @max=32" as it is; "" where there is nothing to say.
std::string or_word(const std::string& text, const char* word) {
  return text.empty() ? word : text;
}

// One field of a Setting. `value` decides; `label` is how a legend says it.
struct Field {
  const char* name;
  std::string (*value)(const Setting&);
  std::string (*label)(const Setting&);
  bool in_common;  // worth a word in the subtitle when all share it and it is not empty
};

std::string hash_start(const std::string& hash) { return hash.substr(0, 8); }

// Ordered: what comes first is said first, and later fields only where it leaves a doubt.
const std::array kFields = {
    Field{"model", [](const Setting& s) { return s.model_name; },
          [](const Setting& s) { return or_word(s.model_name, "unnamed model"); }, true},
    Field{"weights", [](const Setting& s) { return s.model_sha256; },
          [](const Setting& s) { return "weights " + hash_start(s.model_sha256); }, false},
    Field{"text", [](const Setting& s) { return s.text_name; },
          [](const Setting& s) { return or_word(s.text_name, "unnamed text"); }, true},
    Field{"text content", [](const Setting& s) { return s.text_sha256; },
          [](const Setting& s) { return "content " + hash_start(s.text_sha256); }, false},
    Field{"rule", [](const Setting& s) { return s.rule; },
          [](const Setting& s) { return or_word(s.rule, "fixed depth"); }, true},
    Field{"cache", [](const Setting& s) { return s.cache; },
          [](const Setting& s) { return s.cache.empty() ? "no cache" : "cache " + s.cache; }, true},
    Field{"cache index", [](const Setting& s) { return s.cache_index; },
          [](const Setting& s) { return "index " + or_word(s.cache_index, "none"); }, false},
    Field{"precision", [](const Setting& s) { return s.dtype; },
          [](const Setting& s) { return s.dtype; }, true},
    Field{"initial state", [](const Setting& s) { return s.state; },
          [](const Setting& s) { return s.state.empty() ? "no state" : "state " + s.state; }, true},
    Field{"state scale", [](const Setting& s) { return fmt::format("{}", s.init_scale); },
          [](const Setting& s) { return fmt::format("scale {:g}", s.init_scale); }, false},
    Field{"seed", [](const Setting& s) { return fmt::format("{}", s.seed); },
          [](const Setting& s) { return fmt::format("seed {}", s.seed); }, true},
    Field{"scoring", [](const Setting& s) { return s.scoring; },
          [](const Setting& s) { return s.scoring; }, false},
    Field{"window", [](const Setting& s) { return fmt::format("{}", s.window); },
          [](const Setting& s) { return fmt::format("window {}", s.window); }, true},
    Field{"stride", [](const Setting& s) { return fmt::format("{}", s.stride); },
          [](const Setting& s) { return fmt::format("stride {}", s.stride); }, true},
    Field{"segment", [](const Setting& s) { return optional_text(s.segment_len); },
          [](const Setting& s) { return "segment " + optional_text(s.segment_len); }, false},
    Field{"memory", [](const Setting& s) { return optional_text(s.mem_len); },
          [](const Setting& s) { return "memory " + optional_text(s.mem_len); }, false},
    Field{"max_tokens", max_tokens,
          [](const Setting& s) { return or_word(max_tokens(s), "all") + " tokens"; }, false},
    Field{"further settings", [](const Setting& s) { return s.extra_json; },
          [](const Setting& s) { return s.extra_json; }, false},
};

// Splits each group by the field; true when any fell apart.
bool refine(const Field& field, const std::vector<Setting>& settings,
            std::vector<std::vector<size_t>>& groups) {
  std::vector<std::vector<size_t>> finer;
  for (const std::vector<size_t>& group : groups) {
    std::map<std::string, std::vector<size_t>> parts;
    for (const size_t row : group) parts[field.value(settings[row])].push_back(row);
    for (auto& [value, rows] : parts) finer.push_back(std::move(rows));
  }
  const bool fell_apart = finer.size() > groups.size();
  groups = std::move(finer);
  return fell_apart;
}

bool shared_by_all(const Field& field, const std::vector<Setting>& settings) {
  const std::string first = field.value(settings.front());
  return std::all_of(settings.begin(), settings.end(),
                     [&](const Setting& setting) { return field.value(setting) == first; });
}

std::string common_text(const std::vector<Setting>& settings) {
  std::string text;
  for (const Field& field : kFields)
    if (field.in_common && !field.value(settings.front()).empty() && shared_by_all(field, settings))
      text += (text.empty() ? "" : " · ") + field.label(settings.front());
  return text;
}

}  // namespace

SeriesSplit split_by_setting(const std::vector<Setting>& settings) {
  SeriesSplit split;
  if (settings.empty()) return split;
  std::vector<std::vector<size_t>> groups(1);
  for (size_t row = 0; row < settings.size(); ++row) groups[0].push_back(row);
  std::vector<const Field*> telling;
  for (const Field& field : kFields)
    if (refine(field, settings, groups)) telling.push_back(&field);
  std::sort(groups.begin(), groups.end());  // by first row
  for (std::vector<size_t>& group : groups) {
    Series series;
    for (const Field* field : telling)
      series.label += (series.label.empty() ? "" : ", ") + field->label(settings[group.front()]);
    series.rows = std::move(group);
    split.series.push_back(std::move(series));
  }
  for (const Field* field : telling)
    split.varies += (split.varies.empty() ? "" : ", ") + std::string(field->name);
  split.common = common_text(settings);
  return split;
}

}  // namespace plumb
