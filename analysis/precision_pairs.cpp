#include "analysis/precision_pairs.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "analysis/replay.h"

namespace plumb {
namespace {

using Json = nlohmann::json;

Json extras_of(const Setting& setting) {
  Json json = Json::parse(setting.extra_json, nullptr, false);
  return json.is_object() ? json : Json::object();
}

std::string readout_of(const Setting& setting) {
  const Json extras = extras_of(setting);
  return extras.contains("readout") && extras["readout"].is_string()
             ? extras["readout"].get<std::string>()
             : "f32";
}

Setting without_precision(Setting setting) {
  Json extras = extras_of(setting);
  extras.erase("readout");
  setting.extra_json = extras.dump();
  setting.dtype.clear();
  return setting;
}

// Lower is more precise.
int rank_of(const Setting& setting) {
  const int dtype = setting.dtype == "f32" ? 0 : setting.dtype == "bf16" ? 1 : 2;
  return 2 * dtype + (readout_of(setting) == "f32" ? 0 : 1);
}

// The exit of every token by rule, its limit where it never fired.
Result<std::vector<std::vector<int32_t>>> depths_of(const Recording& recording,
                                                    const std::vector<Rule>& rules) {
  PLUMB_ASSIGN(auto exits, exits_of_rules(recording, rules));
  for (size_t i = 0; i < rules.size(); ++i)
    for (int32_t& exit : exits[i])
      if (exit == 0) exit = rules[i].depth_limit(recording.n_steps);
  return exits;
}

}  // namespace

std::string precision_of(const Setting& setting) {
  const std::string readout = readout_of(setting);
  return readout == "f32" ? setting.dtype : setting.dtype + ", logits " + readout;
}

Result<std::vector<PrecisionPair>> precision_pairs(const std::vector<Recording>& recordings) {
  std::vector<Setting> settings;
  for (const Recording& recording : recordings)
    settings.push_back(without_precision(recording.info.record.setting));
  std::vector<PrecisionPair> pairs;
  const SeriesSplit split = split_by_setting(settings);
  for (const Series& series : split.series) {
    const auto setting_of = [&](size_t i) -> const Setting& {
      return recordings[i].info.record.setting;
    };
    const size_t base = *std::min_element(
        series.rows.begin(), series.rows.end(),
        [&](size_t a, size_t b) { return rank_of(setting_of(a)) < rank_of(setting_of(b)); });
    for (const size_t i : series.rows) {
      if (i == base) continue;
      const Recording &first = recordings[base], &second = recordings[i];
      if (first.pos != second.pos || first.n_steps != second.n_steps)
        return input_error(
            "the recordings of {} in {} and {} hold {} and {} tokens of {} and {} steps, expected "
            "the same: finish both sweeps",
            setting_of(i).text_name, precision_of(setting_of(base)), precision_of(setting_of(i)),
            first.n_tokens(), second.n_tokens(), first.n_steps, second.n_steps);
      pairs.push_back({&first, &second, setting_of(i).text_name, precision_of(setting_of(i))});
    }
  }
  if (pairs.empty())
    return input_error(
        "found no text that was recorded at two precisions, expected a sweep with --record steps "
        "and --readout f32,bf16 (or --dtype f32,bf16)");
  return pairs;
}

Result<std::vector<ExitMoves>> exit_moves(const std::vector<PrecisionPair>& pairs,
                                          const std::vector<GridRule>& rules) {
  std::vector<Rule> plain;
  for (const GridRule& rule : rules) plain.push_back(rule.rule);
  std::vector<ExitMoves> all(rules.size());
  for (const PrecisionPair& pair : pairs) {
    PLUMB_ASSIGN(const auto before, depths_of(*pair.base, plain));
    PLUMB_ASSIGN(const auto after, depths_of(*pair.other, plain));
    for (size_t r = 0; r < rules.size(); ++r) {
      ExitMoves& moves = all[r];
      for (size_t i = 0; i < before[r].size(); ++i) {
        const int move = after[r][i] - before[r][i];
        ++moves.tokens;
        moves.moved += move != 0;
        moves.base_steps += before[r][i];
        moves.step_sum += std::abs(move);
        ++moves.by_move[move];
      }
    }
  }
  for (ExitMoves& moves : all)
    if (moves.tokens > 0) moves.base_steps /= static_cast<double>(moves.tokens);
  return all;
}

}  // namespace plumb
