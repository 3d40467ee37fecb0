#include "core/decode/segments.h"

#include <algorithm>
#include <array>

namespace plumb {
namespace {

constexpr std::array<std::pair<SegmentMode, const char*>, 2> kModes = {{
    {SegmentMode::kAligned, "aligned"}, {SegmentMode::kRolling, "rolling"}}};

template <class T>
void append(std::vector<T>& all, std::vector<T>&& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// Puts the score of the segment that begins `first` inputs into the window behind what came before.
void join(WindowScore& all, WindowScore&& part, size_t first) {
  if (all.timings.empty()) {
    all.timings = part.timings;
  } else {
    for (size_t i = 0; i < part.timings.size(); ++i) {
      all.timings[i].elapsed_ms += part.timings[i].elapsed_ms;
      all.timings[i].calls += part.timings[i].calls;
    }
  }
  all.nll.resize(part.nll.size());
  for (size_t d = 0; d < part.nll.size(); ++d) append(all.nll[d], std::move(part.nll[d]));
  append(all.steps, std::move(part.steps));
  append(all.halted_at, std::move(part.halted_at));
  append(all.halting, std::move(part.halting));
  append(all.lagged, std::move(part.lagged));
  for (LatentSample& sample : part.latents) sample.input += first;
  append(all.latents, std::move(part.latents));
}

struct SegmentScorer {
  DepthPass& pass;
  const StateSource& states;
  Team& team;
  std::span<const int32_t> tokens;
  ScoreWindow window;
  int segment_len;

  Result<WindowScore> run(const ScoreRequest& request) {
    PLUMB_ASSIGN(const auto cache, pass.model().make_cache(nullptr));
    const SegmentBorders borders(segment_len, SegmentMode::kAligned);
    WindowScore all;
    for (size_t first = 0; first < window.n_inputs;) {
      const size_t n = borders.next_call(*cache, window.n_inputs - first, SegmentBorders::Phase::kPrompt);
      const size_t unscored = window.first_scored > first ? std::min(n, window.first_scored - first) : 0;
      ScoreRequest part = request;
      // Read for the memory alone.
      if (unscored == n) part.record_steps = false;
      PLUMB_ASSIGN(WindowScore score, score_window(pass, states, team, tokens.subspan(first, n + 1),
                                                   {window.first_token + first, n, unscored}, part, cache.get()));
      join(all, std::move(score), first);
      first += n;
    }
    return all;
  }
};

}  // namespace

const char* segment_mode_name(SegmentMode mode) {
  for (const auto& [value, name] : kModes)
    if (value == mode) return name;
  return "?";
}

std::optional<SegmentMode> parse_segment_mode(std::string_view name) {
  for (const auto& [mode, text] : kModes)
    if (name == text) return mode;
  return std::nullopt;
}

size_t SegmentBorders::next_call(SequenceCache& cache, size_t n, Phase phase) const {
  PLUMB_CHECK(n > 0);
  if (mode_ == SegmentMode::kRolling && phase == Phase::kGenerated) {
    cache.end_segment();
    return 1;
  }
  if (segment_len_ == 0) return n;
  const int into = cache.length() % segment_len_;
  if (into == 0) cache.end_segment();
  return std::min(n, static_cast<size_t>(segment_len_ - into));
}

Result<int> resolve_segment_len(const ModelInfo& info, int asked) {
  if (asked < 0) return input_error("--segment-len is {}, expected at least 1", asked);
  if (asked > 0 && !info.segments)
    return input_error("--segment-len has no meaning for family {}: it has no segment memory", info.family);
  return asked > 0 ? asked : info.segment_len;
}

Result<WindowScore> score_segments(DepthPass& pass, const StateSource& states, Team& team,
                                   std::span<const int32_t> tokens, const ScoreWindow& window,
                                   const ScoreRequest& request, int segment_len) {
  const ModelInfo& info = pass.model().info();
  if (!info.segments || segment_len == 0 || window.n_inputs <= static_cast<size_t>(segment_len))
    return score_window(pass, states, team, tokens, window, request);
  SegmentScorer scorer{pass, states, team, tokens, window, segment_len};
  if (!info.memory_of_last_step || request.depths.size() == 1) return scorer.run(request);
  WindowScore all;
  std::vector<std::vector<double>> nll;
  for (const int depth : request.depths) {
    ScoreRequest one = request;
    one.depths = {depth};
    if (depth != request.depths.back()) {
      one.record_steps = false;
      one.latents = {};
    }
    PLUMB_ASSIGN(WindowScore score, scorer.run(one));
    nll.push_back(std::move(score.nll.front()));
    score.nll.clear();
    join(all, std::move(score), 0);
  }
  all.nll = std::move(nll);
  return all;
}

}  // namespace plumb
