#include "core/store/records.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/base/check.h"

namespace plumb {
namespace {

constexpr std::array<std::string_view, 4> kRunStatusNames = {"running", "done", "failed",
                                                             "stopped"};
constexpr std::array<std::string_view, 4> kPointStatusNames = {"pending", "running", "done",
                                                               "failed"};

template <class Status>
std::optional<Status> parse_name(const std::array<std::string_view, 4>& names,
                                 std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<Status>(i);
  return std::nullopt;
}

nlohmann::json parsed(const std::string& text) {
  auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  PLUMB_CHECK(!json.is_discarded());
  return json;
}

nlohmann::json number_or_null(const std::optional<int64_t>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

nlohmann::json setting_json(const Setting& setting) {
  return {{"model_sha256", setting.model_sha256},
          {"family", setting.family},
          {"axis", setting.axis},
          {"text_sha256", setting.text_sha256},
          {"window", setting.window},
          {"stride", setting.stride},
          {"scoring", setting.scoring},
          {"seed", setting.seed},
          {"state", setting.state},
          {"init_scale", setting.init_scale},
          {"dtype", setting.dtype},
          {"cache", setting.cache},
          {"cache_index", setting.cache_index},
          {"rule", setting.rule},
          {"segment_len", number_or_null(setting.segment_len)},
          {"mem_len", number_or_null(setting.mem_len)},
          {"extra", parsed(setting.extra_json)}};
}

// Bytes that are not UTF-8 (a file name) must not throw.
std::string dumped(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string_view run_status_name(RunStatus status) {
  return kRunStatusNames[static_cast<size_t>(status)];
}
std::string_view point_status_name(PointStatus status) {
  return kPointStatusNames[static_cast<size_t>(status)];
}
std::optional<RunStatus> parse_run_status(std::string_view name) {
  return parse_name<RunStatus>(kRunStatusNames, name);
}
std::optional<PointStatus> parse_point_status(std::string_view name) {
  return parse_name<PointStatus>(kPointStatusNames, name);
}

std::string point_key_json(const PointRecord& point) {
  nlohmann::json key = setting_json(point.setting);
  key["num_steps"] = number_or_null(point.num_steps);
  key["record"] = point.record;
  return dumped(key);
}

std::string trajectory_key_json(const TrajectoryRecord& trajectory) {
  nlohmann::json key = setting_json(trajectory.setting);
  key["max_steps"] = trajectory.max_steps;
  key["record"] = trajectory.record;
  key["lags"] = parsed(trajectory.lags_json);
  return dumped(key);
}

}  // namespace plumb
