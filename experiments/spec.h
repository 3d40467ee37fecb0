// A sweep as its user states it: every list is an axis. From flags or from SPEC.json (same keys).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"

namespace plumb {

struct SweepSpec {
  std::vector<std::string> models;       // MODEL paths
  std::vector<std::string> texts;        // UTF-8 files
  std::vector<int> num_steps;            // empty: the model's own default (or its own halting)
  int window = 512;                      // tokens run at once
  int stride = 0;                        // tokens between windows; 0: window
  int64_t max_tokens = 0;                // of each text; 0: all
  std::vector<uint64_t> seeds = {0};
  std::vector<std::string> dtypes = {"f32"};
  std::vector<std::string> states = {"like-init"};
  double init_scale = 1;
  std::vector<std::string> caches;       // empty: none acts (parallel) or full (sequential)
  std::string cache_index = "recurrence";
  std::vector<std::string> rules;        // empty: fixed depth
  std::vector<std::string> continuous_compute = {"off"};  // "off", "on": s_0 is the last token's state
  std::vector<std::string> readouts = {"f32"};  // "f32", "bf16": what logits are rounded to
  std::vector<int> segment_lens, mem_lens;
  std::string scoring;                   // "parallel", "sequential"; empty: as the axes require
  std::string record = "tokens";         // tokens | steps | latents[:positions,steps,f16]
  std::vector<int> lags;
  std::string db;
  int threads = 0;                       // 0: all cores
  std::string namemap, config, tokenizer;  // overrides for every model

  // Resolves what depends on other fields (stride, scoring) and refuses what cannot be.
  Status resolve();
};

// Canonical JSON with every field, and back. An unknown key is an error naming it.
Json spec_to_json(const SweepSpec& spec);
Result<SweepSpec> spec_from_json(const Json& json, const std::string& where);

// "1,2,4..8,64" -> 1 2 4 5 6 7 8 64 in the order given; repeats refused. `what` names the flag.
Result<std::vector<int>> parse_int_list(const std::string& text, const std::string& what, int min, int max);
std::optional<int64_t> parse_whole_number(std::string_view text);
// "a,b,c"
std::vector<std::string> split_list(const std::string& text, char separator = ',');

inline constexpr int kMaxDepth = 100000;

}  // namespace plumb
