#include "experiments/plan.h"

#include <algorithm>
#include <filesystem>

namespace plumb {
namespace {

// An axis that the user left out is one empty value.
template <class T>
std::vector<T> or_one(const std::vector<T>& values, const T& none) {
  return values.empty() ? std::vector<T>{none} : values;
}

std::vector<std::optional<int>> optional_axis(const std::vector<int>& values) {
  std::vector<std::optional<int>> axis(values.begin(), values.end());
  if (axis.empty()) axis.push_back(std::nullopt);
  return axis;
}

Result<std::vector<int>> parse_items(std::string text, const std::string& where) {
  if (text == "all") return std::vector<int>{};
  std::replace(text.begin(), text.end(), '+', ',');
  return parse_int_list(text, where, 0, 1 << 30);
}

}  // namespace

std::vector<PassPlan> plan_passes(const SweepSpec& spec) {
  std::vector<PassPlan> passes;
  const std::string none;
  for (const auto& model : spec.models)
    for (const auto& dtype : spec.dtypes)
      for (const auto& text : spec.texts)
        for (const auto& state : spec.states)
          for (const uint64_t seed : spec.seeds)
            for (const auto& cache : or_one(spec.caches, none))
              for (const auto& rule : or_one(spec.rules, none))
                for (const auto& segment_len : optional_axis(spec.segment_lens))
                  for (const auto& mem_len : optional_axis(spec.mem_lens))
                    for (const auto& warm : spec.continuous_compute)
                      for (const auto& readout : spec.readouts)
                        passes.push_back({model, dtype, text, state, seed, cache, rule, segment_len, mem_len,
                                          warm == "on", readout == "bf16"});
  return passes;
}

std::string pass_text(const PassPlan& pass) {
  const auto name = [](const std::string& path) {
    const std::filesystem::path p(path);
    return (p.has_filename() ? p : p.parent_path()).filename().string();
  };
  std::string line = fmt::format("{} on {}, {}, state {}, seed {}", name(pass.model), name(pass.text), pass.dtype, pass.state, pass.seed);
  if (!pass.cache.empty()) line += ", cache " + pass.cache;
  if (!pass.rule.empty()) line += ", rule " + pass.rule;
  if (pass.segment_len) line += fmt::format(", segments of {}", *pass.segment_len);
  if (pass.mem_len) line += fmt::format(", memory {}", *pass.mem_len);
  if (pass.warm_start) line += ", warm start";
  if (pass.bf16_logits) line += ", logits in bf16";
  return line;
}

Result<RecordPlan> parse_record(const std::string& text) {
  RecordPlan plan;
  plan.steps = text != "tokens";
  if (text.rfind("latents", 0) != 0) return plan;
  plan.latents.wanted = true;
  if (text == "latents") return plan;
  if (text[7] != ':') return input_error("--record \"{}\": expected latents:POSITIONS,STEPS,f16", text);
  const auto parts = split_list(text.substr(8));
  if (parts.size() > 3) return input_error("--record \"{}\": more than positions, steps and type; join items with \"+\"", text);
  PLUMB_ASSIGN(plan.latents.positions, parse_items(parts[0], "--record positions"));
  if (parts.size() > 1) {
    PLUMB_ASSIGN(plan.latents.steps, parse_items(parts[1], "--record steps"));
  }
  if (parts.size() > 2) {
    if (parts[2] != "f16" && parts[2] != "f32") return input_error("--record \"{}\": \"{}\" is not f16 or f32", text, parts[2]);
    plan.latents.half = parts[2] == "f16";
  }
  return plan;
}

}  // namespace plumb
