#include "experiments/cli/replay_options.h"

#include <nlohmann/json.hpp>

namespace plumb::cli {

void add_recording_options(CLI::App& verb, RecordingOptions& options) {
  verb.add_option("DB", options.db, "Results file of a sweep with --record steps")->required();
  verb.add_option("--run", options.selection.run, "Only what this run asked for")->type_name("N");
  verb.add_option("--model", options.selection.model,
                  "Only this model: its name in the file, or else a part of it");
  verb.add_option("--text", options.selection.text,
                  "Only this text, likewise; by default all texts of one setting together");
}

Json describe_recordings(const std::vector<Recording>& recordings) {
  Json list = Json::array();
  for (const Recording& recording : recordings) {
    const Setting& setting = recording.info.record.setting;
    list.push_back({{"trajectory", recording.info.id},
                    {"model", setting.model_name},
                    {"text", setting.text_name},
                    {"axis", setting.axis},
                    {"max_steps", recording.n_steps},
                    {"tokens", recording.n_tokens()},
                    {"tokens_without_target", recording.n_without_target},
                    {"lags", recording.lags},
                    {"window", setting.window},
                    {"stride", setting.stride},
                    {"dtype", setting.dtype},
                    {"seed", setting.seed},
                    {"complete", recording.info.complete()}});
  }
  return list;
}

std::string recordings_line(const std::vector<Recording>& recordings) {
  size_t tokens = 0;
  std::string texts, incomplete;
  for (const Recording& recording : recordings) {
    const Setting& setting = recording.info.record.setting;
    tokens += recording.n_tokens();
    texts += (texts.empty() ? "" : ", ") + setting.text_name;
    if (!recording.info.complete())
      incomplete += fmt::format("; {} is incomplete: {} of {} windows", setting.text_name,
                                recording.info.chunks_done, recording.info.record.planned_chunks);
  }
  const Setting& setting = recordings.front().info.record.setting;
  return fmt::format("{} on {}: {} tokens x {} {}{}", setting.model_name, texts, tokens,
                     recordings.front().n_steps, setting.axis, incomplete);
}

}  // namespace plumb::cli
