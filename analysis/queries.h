// What figures ask of a results file: which rows are meant, and what tells them apart.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/store/run_reader.h"

namespace plumb {

// Which rows a figure is about. A name is meant whole if one of the file's names equals it, else
// as a part of a name ("april" is april alone where there is one, else april-70m and april-ft).
struct Selection {
  std::optional<int64_t> run;  // rows that this run asked for, whoever computed them
  std::string model, text;     // "": all
};

// A finished point with its setting.
struct DepthPoint {
  DepthPerplexityRow result;
  Setting setting;
};

// Finished points, ascending by number. An error that names the file when the selection leaves
// none: it says what the file has instead.
Result<std::vector<DepthPoint>> finished_points(RunReader& reader, const Selection& selection);

// Trajectories with recorded steps. Of those with the same setting, the deepest, then the one with
// the most rows. An error as above, which names the --record level that is needed.
Result<std::vector<TrajectoryInfo>> recorded_trajectories(RunReader& reader,
                                                          const Selection& selection);

// Rows of equal setting belong to one series.
struct Series {
  std::string label;         // what tells it from the others: "april-70m, seed 1"; "" when alone
  std::vector<size_t> rows;  // indices into the settings, ascending
};

struct SeriesSplit {
  std::vector<Series> series;  // in the order of their first row
  std::string varies;          // what the labels state: "model, seed"; "" with a single series
  std::string common;          // what all share, for a subtitle: "wiki · f32 · state like-init"
};

// Splits rows by setting. A field is in the labels only if the fields before it leave rows with
// different values of it together, so what follows from the model's name is not repeated.
SeriesSplit split_by_setting(const std::vector<Setting>& settings);

}  // namespace plumb
