// Self-speculative decoding (raven.md 6.4). `n` tokens are there, the last not in the cache yet:
//
//   cache  0 .. n-2          | draft, L calls of one token at draft_steps:  n-1 .. n+L-2
//                            | forgotten, then one call of L tokens at num_steps checks them
//   check  logits at n-1+j decide draft j; the first that fails is replaced by a token picked there
#include <algorithm>
#include <cmath>

#include "core/decode/generate_drivers.h"

namespace plumb {
namespace {

class SpeculativeSequence final : public GeneratingSequence {
 public:
  using GeneratingSequence::GeneratingSequence;

 protected:
  Result<TokenCall> first_call() override {
    TokenCall made = call(out_.tokens);
    made.prefill = true;
    return made;
  }

  Result<std::optional<TokenCall>> after(TokenAnswer& answer) override {
    switch (phase_) {
      case Phase::kPrompt: {
        record(answer);
        const std::span<const float> logits(answer.logits.row(0), answer.logits.cols());
        if (append(pick(logits, out_.tokens), logits)) return std::optional<TokenCall>();
        return begin_round();
      }
      case Phase::kDraft:
        text_.push_back(pick({answer.logits.row(0), answer.logits.cols()}, text_));
        if (static_cast<int>(text_.size() - out_.tokens.size()) < planned_)
          return std::optional(draft_call());
        return begin_check();
      case Phase::kCheck:
        return accept(answer);
    }
    return std::optional<TokenCall>();
  }

 private:
  enum class Phase { kPrompt, kDraft, kCheck };

  // No more drafts than tokens are wanted or positions are left: what is kept of a round does not
  // depend on how many more there would have been.
  Result<std::optional<TokenCall>> begin_round() {
    if (at_last_position()) return std::optional<TokenCall>();
    planned_ = std::min(request().speculative->lookahead,
                        request().max_new_tokens - static_cast<int>(out_.new_tokens().size()));
    if (info().max_positions > 0)
      planned_ = std::min(planned_, info().max_positions - cache_->length());
    text_ = out_.tokens;
    phase_ = Phase::kDraft;
    return std::optional(draft_call());
  }

  TokenCall draft_call() {
    TokenCall made = call({text_.back()});
    made.num_steps = request().speculative->draft_steps;
    return made;
  }

  Result<std::optional<TokenCall>> begin_check() {
    PLUMB_RETURN_IF_ERROR(cache_->truncate(cache_->length() - planned_));
    phase_ = Phase::kCheck;
    const auto first = text_.begin() + static_cast<std::ptrdiff_t>(out_.tokens.size()) - 1;
    TokenCall made = call({first, first + planned_});
    made.every_row = true;
    return std::optional(std::move(made));
  }

  // Penalties hold for the check as they do for a pick, so greedy output is that of plain decoding.
  bool passes(std::span<const float> row, std::span<const int32_t> history, int32_t draft) {
    const std::span<const float> logits = sampler_.penalised(row, history);
    const int32_t best = argmax(logits);
    const double threshold = request().speculative->verify_threshold;
    if (threshold >= 1) return draft == best;
    // p(draft) >= threshold * max p
    const double below = static_cast<double>(logits[static_cast<size_t>(best)]) -
                         static_cast<double>(logits[static_cast<size_t>(draft)]);
    return std::exp(-below) >= threshold;
  }

  Result<std::optional<TokenCall>> accept(const TokenAnswer& answer) {
    const size_t before = out_.tokens.size();
    const auto row = [&](int j) {
      return std::span<const float>(answer.logits.row(static_cast<size_t>(j)),
                                    answer.logits.cols());
    };
    int accepted = 0;
    while (accepted < planned_) {
      const size_t at = before + static_cast<size_t>(accepted);
      if (!passes(row(accepted), std::span(text_).first(at), text_[at])) break;
      ++accepted;
    }
    ++out_.stats.rounds;
    out_.stats.drafted += planned_;
    out_.stats.accepted += accepted;
    out_.stats.accepted_per_round.push_back(accepted);
    for (int j = 0; j <= accepted && j < planned_; ++j) {
      // The draw at this position was the draft's; the replacement has one of its own.
      const int32_t token = j < accepted ? text_[before + static_cast<size_t>(j)]
                                         : pick(row(j), out_.tokens, RngStream::kSpeculative);
      record(answer);
      if (append(token, row(j))) return std::optional<TokenCall>();
    }
    // The cache keeps the tokens whose followers are decided: all but the newest.
    PLUMB_RETURN_IF_ERROR(cache_->truncate(static_cast<int>(out_.tokens.size()) - 1));
    return begin_round();
  }

  Phase phase_ = Phase::kPrompt;
  int planned_ = 0;            // drafts of this round
  std::vector<int32_t> text_;  // all tokens and the drafts
};

}  // namespace

std::unique_ptr<GeneratingSequence> make_speculative_sequence(const GenerateContext& context,
                                                              size_t index,
                                                              const StateSource& states) {
  return std::make_unique<SpeculativeSequence>(context, index, states);
}

}  // namespace plumb
