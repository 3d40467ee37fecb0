#include "analysis/queries.h"

#include <algorithm>
#include <map>
#include <set>

namespace plumb {
namespace {

std::string where(const RunReader& reader) { return reader.path().string(); }

// Does `name` pass the filter, given all names of the file?
class NameFilter {
 public:
  NameFilter(const std::string& wanted, const std::set<std::string>& names)
      : wanted_(wanted), whole_(names.contains(wanted)) {}
  bool operator()(const std::string& name) const {
    return whole_ ? name == wanted_ : name.find(wanted_) != std::string::npos;
  }

 private:
  const std::string& wanted_;
  bool whole_;
};

std::string listed(const std::set<std::string>& names) {
  constexpr size_t kMost = 8;
  std::string text;
  size_t n = 0;
  for (const std::string& name : names) {
    if (n == kMost) return text + fmt::format(" and {} more", names.size() - kMost);
    text += (n++ > 0 ? ", " : "") + name;
  }
  return text;
}

// Keeps the rows whose model and text pass; `setting_of(row)`.
template <class Row, class SettingOf>
Status keep_named(const RunReader& reader, const Selection& selection, std::vector<Row>& rows,
                  SettingOf&& setting_of) {
  struct Filter {
    const char* flag;
    const std::string& wanted;
    std::string Setting::*field;
  };
  for (const Filter& filter : {Filter{"--model", selection.model, &Setting::model_name},
                               Filter{"--text", selection.text, &Setting::text_name}}) {
    if (filter.wanted.empty()) continue;
    std::set<std::string> names;
    for (const Row& row : rows) names.insert(setting_of(row).*filter.field);
    const NameFilter passes(filter.wanted, names);
    std::erase_if(rows, [&](const Row& row) { return !passes(setting_of(row).*filter.field); });
    if (rows.empty())
      return input_error("{}: {} {} names none of the rows for this figure, expected one of {}",
                         where(reader), filter.flag, filter.wanted, listed(names));
  }
  return ok_status();
}

Status check_run(RunReader& reader, const Selection& selection) {
  if (!selection.run) return ok_status();
  PLUMB_ASSIGN(const std::vector<RunInfo> runs, reader.runs());
  std::set<std::string> ids;
  for (const RunInfo& run : runs) {
    if (run.id == *selection.run) return ok_status();
    ids.insert(std::to_string(run.id));
  }
  return input_error("{}: there is no run {}, expected one of {}", where(reader), *selection.run,
                     ids.empty() ? "(it has none)" : listed(ids));
}

std::string status_counts(const std::vector<PointInfo>& points) {
  std::map<std::string_view, int> counts;
  for (const PointInfo& point : points) ++counts[point_status_name(point.status)];
  std::string text;
  for (const auto& [name, n] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", n, name);
  return text.empty() ? "none at all" : text;
}

std::string of_run(const Selection& selection) {
  return selection.run ? fmt::format(" of run {}", *selection.run) : "";
}

// The points of the selected run name the trajectories that served them.
Status keep_trajectories_of_run(RunReader& reader, int64_t run, std::vector<TrajectoryInfo>& rows) {
  PLUMB_ASSIGN(const std::vector<PointInfo> points, reader.points({.run_id = run}));
  std::set<int64_t> ids;
  for (const PointInfo& point : points)
    if (point.record.trajectory_id) ids.insert(*point.record.trajectory_id);
  std::erase_if(rows, [&](const TrajectoryInfo& row) {
    return row.record.run_id != run && !ids.contains(row.id);
  });
  return ok_status();
}

}  // namespace

Result<std::vector<DepthPoint>> finished_points(RunReader& reader, const Selection& selection) {
  PLUMB_RETURN_IF_ERROR(check_run(reader, selection));
  PLUMB_ASSIGN(std::vector<PointInfo> points, reader.points({.run_id = selection.run}));
  PLUMB_ASSIGN(std::vector<DepthPerplexityRow> results, reader.depth_perplexity());
  std::map<int64_t, const Setting*> settings;
  for (const PointInfo& point : points) settings[point.id] = &point.record.setting;
  std::vector<DepthPoint> found;
  for (DepthPerplexityRow& row : results)
    if (const auto setting = settings.find(row.point); setting != settings.end())
      found.push_back({std::move(row), *setting->second});
  if (found.empty())
    return input_error("{}: found no finished point{} (points: {}), expected at least one",
                       where(reader), of_run(selection), status_counts(points));
  PLUMB_RETURN_IF_ERROR(
      keep_named(reader, selection, found,
                 [](const DepthPoint& row) -> const Setting& { return row.setting; }));
  return found;
}

Result<std::vector<TrajectoryInfo>> recorded_trajectories(RunReader& reader,
                                                          const Selection& selection) {
  PLUMB_RETURN_IF_ERROR(check_run(reader, selection));
  PLUMB_ASSIGN(std::vector<TrajectoryInfo> rows, reader.trajectories());
  if (selection.run) PLUMB_RETURN_IF_ERROR(keep_trajectories_of_run(reader, *selection.run, rows));
  std::erase_if(rows, [](const TrajectoryInfo& row) { return row.step_rows == 0; });
  if (rows.empty())
    return input_error(
        "{}: found no recorded steps{}: this figure needs a sweep with --record "
        "steps (or latents)",
        where(reader), of_run(selection));
  const auto setting_of = [](const TrajectoryInfo& row) -> const Setting& {
    return row.record.setting;
  };
  PLUMB_RETURN_IF_ERROR(keep_named(reader, selection, rows, setting_of));
  std::vector<Setting> settings;
  for (const TrajectoryInfo& row : rows) settings.push_back(setting_of(row));
  std::vector<TrajectoryInfo> kept;
  for (const Series& series : split_by_setting(settings).series)
    kept.push_back(
        rows[*std::max_element(series.rows.begin(), series.rows.end(), [&](size_t a, size_t b) {
          return std::pair(rows[a].record.max_steps, rows[a].step_rows) <
                 std::pair(rows[b].record.max_steps, rows[b].step_rows);
        })]);
  return kept;
}

}  // namespace plumb
