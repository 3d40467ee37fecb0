#include <array>

#include "core/decode/think.h"
#include "core/decode/wavefront.h"

namespace plumb {
namespace {

constexpr std::array<std::pair<FreezeRule, std::string_view>, 5> kFreezeRules = {{
    {FreezeRule::kLatentDiff, "latent-diff"},
    {FreezeRule::kAcceleration1, "latent-acceleration-1"},
    {FreezeRule::kAcceleration2, "latent-acceleration-2"},
    {FreezeRule::kTokenStability, "token-stability"},
    {FreezeRule::kFixed, "fixed"},
}};

}  // namespace

std::string_view freeze_rule_name(FreezeRule rule) {
  for (const auto& [value, name] : kFreezeRules)
    if (value == rule) return name;
  return "";
}

std::optional<FreezeRule> parse_freeze_rule(std::string_view name) {
  for (const auto& [value, text] : kFreezeRules)
    if (text == name) return value;
  return std::nullopt;
}

std::string freeze_rule_names() {
  std::string names;
  for (const auto& [value, text] : kFreezeRules)
    names += (names.empty() ? "" : ", ") + std::string(text);
  return names;
}

Status check_wavefront(const ModelInfo& info, const WavefrontRequest& r, int num_steps) {
  if (!info.random_state)
    return input_error("--wavefront refines drawn latent states; the family \"{}\" has none",
                       info.family);
  if (r.prompt.empty()) return input_error("there is no prompt to continue");
  PLUMB_RETURN_IF_ERROR(check_tokens(info, r.prompt, 0));
  PLUMB_RETURN_IF_ERROR(check_depth(info, num_steps));
  PLUMB_RETURN_IF_ERROR(check_sampler(r.sampler));
  if (r.max_new_tokens < 0)
    return input_error("--max-new-tokens is {}, expected 0 or more", r.max_new_tokens);
  if (r.inner_steps < 1 || r.inner_steps > 100000)
    return input_error("--inner-steps is {}, expected 1 to 100000", r.inner_steps);
  if (r.headway < 1 || r.headway > 4096)
    return input_error("--headway is {}, expected 1 to 4096", r.headway);
  if (r.max_wave < 0)
    return input_error("--max-wave is {}, expected 0 (no limit) or more", r.max_wave);
  if (r.max_wave > 0 && r.max_wave < r.headway)
    return input_error("--max-wave is {}, expected --headway ({}) or more", r.max_wave, r.headway);
  if (!(r.ema_embeds >= 0 && r.ema_embeds < 1))
    return input_error("--ema-embeds is {}, expected a number from 0, below 1", r.ema_embeds);
  if (!(r.state_noise >= 0 && r.state_noise <= 1))
    return input_error("--state-noise is {}, expected a number from 0 to 1", r.state_noise);
  if (!(r.threshold >= 0))
    return input_error("--freeze-threshold is {}, expected 0 or more", r.threshold);
  if (r.guess && (*r.guess < 0 || *r.guess >= info.vocab_size))
    return input_error("the guessed token {} is outside the vocabulary [0, {})", *r.guess,
                       info.vocab_size);
  if (!r.full_prefill && r.max_wave > 0 && r.prompt.size() > static_cast<size_t>(r.max_wave))
    return input_error(
        "a prompt of {} tokens does not fit into a wave of {}: raise --max-wave or take the prompt "
        "in one call first",
        r.prompt.size(), r.max_wave);
  return ok_status();
}

}  // namespace plumb
