// Golden models, their recorded runs, and generation with the arguments of a test.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "core/base/json.h"
#include "core/decode/generate.h"
#include "core/model/families.h"
#include "tests/support/golden.h"

namespace plumb::test {

struct GoldenModel {
  std::unique_ptr<Team> team;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<RecurrentModel> model;

  const RecurrentModel& operator*() const { return *model; }
};

inline GoldenModel open_golden_model(const std::string& name, int threads = 2) {
  auto checkpoint = Checkpoint::open(golden_path(name));
  EXPECT_TRUE(checkpoint.ok()) << (checkpoint.ok() ? "" : checkpoint.error().message);
  GoldenModel opened{std::make_unique<Team>(threads),
                     std::make_unique<Checkpoint>(std::move(checkpoint).value()), nullptr};
  auto model = load_model(*opened.checkpoint, Precision::kF32, *opened.team);
  EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.error().message);
  opened.model = std::move(model).value();
  return opened;
}

inline const Json& records() {
  static const Json json = read_json_file(golden_path("raven/generation.json")).value();
  return json;
}

inline std::string tape(const std::string& name) {
  return golden_path("raven/generation.safetensors") + ":" + name;
}

inline Rule must_parse(const std::string& text) {
  auto rule = Rule::parse(text);
  EXPECT_TRUE(rule.ok()) << (rule.ok() ? "" : rule.error().message);
  return rule.ok() ? std::move(rule).value() : Rule();
}

// The arguments of one record.
inline GenerateRequest request_of(const std::string& model, const Json& record) {
  GenerateRequest request;
  request.prompts = {records()["cases"][model]["prompt"].get<std::vector<int32_t>>()};
  request.max_new_tokens = record["max_new_tokens"];
  request.num_steps = record["num_steps"];
  request.cache = record["strategy"];
  request.cache_index = record.contains("derived_generalised_cache") ? CacheIndex::kRecurrence
                                                                     : CacheIndex::kUpstream;
  request.state.kind = tape(model + ".tape");
  request.state.init_scale = record.value("init_scale", 1.0);
  request.continuous_compute = record.value("continuous_compute", false);
  if (record.contains("eos_token_id")) request.stop_ids = {record["eos_token_id"].get<int32_t>()};
  if (record.contains("criterion")) {
    CriterionFlags flags{.criterion = record["criterion"]};
    if (record["threshold"].is_number()) flags.threshold = record["threshold"].get<double>();
    flags.min_steps = record.value("min_steps", 0);
    flags.check_every = record.value("check_criterion_every_n_steps", 1);
    flags.no_exit_in_prefill = record.value("do_not_exit_in_prefill", false);
    request.rule = rule_from_criterion(flags).value();
  }
  if (record.contains("depth_pattern"))
    request.rule = rule_from_depth_pattern(record["depth_pattern"]).value();
  if (record.contains("draft_steps"))
    request.speculative = {record["draft_steps"], record["lookahead_for_draft"],
                           record["verification_threshold"]};
  return request;
}

inline std::vector<Generated> must_generate(const GoldenModel& opened,
                                            const GenerateRequest& request) {
  auto result = generate(*opened, *opened.team, request);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? std::move(result).value() : std::vector<Generated>(request.prompts.size());
}

// The strategy under CacheIndex::kRecurrence, which counts recurrences where the records count
// slots. False when it has no such name.
inline bool rename_strategy(GenerateRequest& request, int n_core) {
  if (request.cache_index == CacheIndex::kUpstream) return true;
  std::smatch match;
  static const std::regex kSlots("(.*compress-s)(\\d+)");
  if (request.cache.find("compress-r") != std::string::npos) return false;
  if (!std::regex_match(request.cache, match, kSlots)) return true;
  const int slots = std::stoi(match[2]);
  if (slots % n_core != 0) return false;
  request.cache = match[1].str() + std::to_string(slots / n_core);
  return true;
}

}  // namespace plumb::test
