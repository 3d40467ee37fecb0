#include "experiments/cli/generate_report.h"

#include <nlohmann/json.hpp>

#include "core/io/safetensors.h"

namespace plumb::cli {
namespace {

Json describe_sampler(const SamplerOptions& s) {
  if (s.greedy()) return {{"mode", "greedy"}, {"repetition_penalty", s.repetition_penalty}};
  return {{"mode", "sample"},
          {"filters", sampler_rules_name(s.rules)},
          {"temperature", s.temperature},
          {"top_k", s.top_k},
          {"top_p", s.top_p},
          {"min_p", s.min_p},
          {"repetition_penalty", s.repetition_penalty},
          {"dry_multiplier", s.dry_multiplier},
          {"seed", s.seed}};
}

Json describe_stats(const Generated& one) {
  const GenerateStats& s = one.stats;
  Json stats = {{"new_tokens", one.new_tokens().size()},
                {"core_passes", s.core_passes},
                {"token_steps", s.token_steps},
                {"forwards", s.forwards},
                {"kv_bytes", s.kv_bytes},
                {"prefill_ms", s.prefill_ms},
                {"elapsed_ms", s.elapsed_ms},
                {"accepted_drafts", s.accepted},
                {"mean_nll", one.mean_nll()}};
  if (s.rounds > 0) {
    stats["drafted"] = s.drafted;
    stats["rounds"] = s.rounds;
    stats["accepted_per_round"] = s.accepted_per_round;
  }
  return stats;
}

}  // namespace

Json describe(const GenerateOptions& options, const GenerateRequest& request, const ModelInfo& info,
              const TextOutput& text) {
  Json settings = {
      {"family", info.family},
      {"num_steps", request.num_steps >= 0 ? Json(request.num_steps) : Json("own halting")},
      {"rule", nullptr},
      {"cache", options.wavefront && options.cache.empty() ? options.wave.cache : request.cache},
      {"cache_index", options.cache_index},
      {"continuous_compute", request.continuous_compute},
      {"prefill", options.prefill},
      {"state", info.random_state ? Json(request.state.kind) : Json()},
      {"seed", request.state.seed},
      {"init_scale", request.state.init_scale},
      {"noise", options.noise.empty() ? Json() : Json(options.noise)},
      {"dtype", options.model.dtype},
      {"stop_ids", request.stop_ids},
      {"sampling", describe_sampler(request.sampler)}};
  if (!text.has_text()) settings["no_text"] = text.why_none();
  if (info.segments) {
    settings["segment_len"] = request.segment_len > 0 ? request.segment_len : info.segment_len;
    settings["segment_mode"] = segment_mode_name(request.segment_mode);
  }
  if (request.rule) {
    Rule rule = *request.rule;
    rule.resolve_max(request.num_steps);
    settings["rule"] = rule.canonical();
  }
  if (request.speculative)
    settings["speculative"] = {{"draft_steps", request.speculative->draft_steps},
                               {"lookahead", request.speculative->lookahead},
                               {"verify_threshold", request.speculative->verify_threshold}};
  return settings;
}

Json describe_all(const std::vector<Generated>& all, bool batch, const TextOutput& text) {
  Json json = Json::object();
  const auto put = [&](const char* name, const Json& value) {
    if (batch)
      json[name].push_back(value);
    else
      json[name] = value;
  };
  for (const Generated& one : all) {
    put("tokens", one.tokens);
    put("text", text.whole(one.tokens));
    put("new_text", text.continuation(one.tokens, one.n_prompt));
    put("steps", one.steps);
    put("exit_values", one.exit_values);
    Json reasons = Json::array();
    for (const DepthReason reason : one.reasons) reasons.push_back(depth_reason_name(reason));
    put("exit_reasons", reasons);
    put("nll", one.nll);
    put("stopped_by", stop_reason_name(one.stop));
    put("stats", describe_stats(one));
  }
  return json;
}

Status write_logits(const std::string& path, const std::vector<Generated>& all) {
  std::vector<Mat<float>> stacked;
  std::vector<NamedTensor> tensors;
  stacked.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const auto& rows = all[i].logits;
    Mat<float>& mat = stacked.emplace_back(rows.size(), rows.empty() ? 0 : rows[0].cols());
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy(rows[r].row(0), rows[r].row(0) + mat.cols(), mat.row(r));
    tensors.push_back(
        f32_tensor(all.size() == 1 ? "logits" : fmt::format("logits.{}", i),
                   {static_cast<int64_t>(mat.rows()), static_cast<int64_t>(mat.cols())},
                   {mat.data(), mat.size()}));
  }
  return write_safetensors(path, tensors);
}

void print_generated(const Json& json) {
  // Tokens may be parts of a UTF-8 character: shown with the replacement character.
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

}  // namespace plumb::cli
