// Where segments end. Families with segment memory (ModelInfo::segments) see, besides the open
// segment, a memory that moves only at a border; so logits depend on where the borders lie, and
// they are part of a run's settings (act.md section 7).
//
// Whoever feeds a sequence asks before every call of the model how much the call may hold:
//
//   SegmentBorders borders(segment_len, SegmentMode::kAligned);
//   while (!ids.empty()) {
//     const size_t n = borders.next_call(*cache, ids.size(), SegmentBorders::Phase::kPrompt);
//     run(cache, ids.first(n));           // extend, prelude, every step, readout
//     ids = ids.subspan(n);
//   }
//   for (;;) {                            // one new token at a time
//     borders.next_call(*cache, 1, SegmentBorders::Phase::kGenerated);
//     run(cache, token);
//   }
//
// next_call() itself ends the open segment where a border is due, so nothing else has to be done;
// on caches without segments it does nothing and everything fits one call. A call may be cut
// further (token by token inside a segment): the numbers are the same to the bit.
#pragma once

#include <optional>
#include <string_view>

#include "core/base/result.h"
#include "core/cache/sequence_cache.h"
#include "core/decode/score.h"
#include "core/decode/think.h"

namespace plumb {

enum class SegmentMode : uint8_t {
  kAligned,  // borders at multiples of segment_len in the whole stream, prompt and generated alike
  kRolling,  // prompt in pieces of segment_len, then every generated token is a segment
};
const char* segment_mode_name(SegmentMode mode);
std::optional<SegmentMode> parse_segment_mode(std::string_view name);

class SegmentBorders {
 public:
  enum class Phase : uint8_t { kPrompt, kGenerated };

  // segment_len 0: no borders (aligned), or the prompt as one segment (rolling).
  SegmentBorders(int segment_len, SegmentMode mode) : segment_len_(segment_len), mode_(mode) {}

  // How many of the next `n` tokens the next call may hold; ends the open segment first if a border
  // lies before them. REQUIRES n > 0 and that the call before has run to its end.
  size_t next_call(SequenceCache& cache, size_t n, Phase phase) const;

 private:
  int segment_len_;
  SegmentMode mode_;
};

// The segment length a run has: what was asked (0: nothing was), else the config's, else 0. An
// error where one is asked of a family without segments.
Result<int> resolve_segment_len(const ModelInfo& info, int asked);

// score_window() over one window cut at multiples of segment_len from its beginning, memory carried
// from segment to segment; the window begins with none. segment_len 0, or a family without
// segments: the window at once. Where the memory holds what the last step left, every depth of the
// request takes its own pass; step records are then of the deepest.
Result<WindowScore> score_segments(DepthPass& pass, const StateSource& states, Team& team,
                                   std::span<const int32_t> tokens, const ScoreWindow& window,
                                   const ScoreRequest& request, int segment_len);

}  // namespace plumb
