// The two ways a sequence is generated, as drivers of core/decode/context.h. Internal to
// generate().
#pragma once

#include <chrono>

#include "core/decode/generate.h"
#include "core/decode/sequence_driver.h"

namespace plumb {

// What all sequences of one generate() share; outlives them.
struct GenerateContext {
  const RecurrentModel* model = nullptr;
  const GenerateRequest* request = nullptr;
  std::shared_ptr<const KvPolicy> policy;
  int num_steps = 0;
  bool own_halting = false;
  SegmentBorders borders{0, SegmentMode::kAligned};
};

// Tokens, cache and bookkeeping of one sequence.
class GeneratingSequence : public SequenceDriver {
 public:
  GeneratingSequence(const GenerateContext& context, size_t index, const StateSource& states);

  Result<std::optional<TokenCall>> next(TokenAnswer* answer) override;
  Generated take();

 protected:
  virtual Result<TokenCall> first_call() = 0;
  virtual Result<std::optional<TokenCall>> after(TokenAnswer& answer) = 0;

  const GenerateRequest& request() const { return *context_->request; }
  const ModelInfo& info() const { return context_->model->info(); }
  // A call with this sequence's cache, draws and depth.
  TokenCall call(std::vector<int32_t> ids);
  // A forward of its own, or more of the last one (a further segment of the prompt).
  void record(const TokenAnswer& answer, bool more_of_last = false);
  // The sampler's token after everything so far.
  int32_t pick(std::span<const float> logits, std::span<const int32_t> history,
               RngStream stream = RngStream::kSampling);
  // Appends a token; true when the sequence ends with it.
  bool append(int32_t token, std::span<const float> logits);
  bool at_last_position();
  Status new_cache();
  // A cache that holds as much of the prompt as was kept, its last token at most excepted; returns
  // the tokens it holds. Empty where nothing was kept or the family cannot go back that far.
  Result<size_t> take_over_cache();

  const GenerateContext* context_;
  size_t index_;
  uint32_t sequence_;
  const StateSource* states_;
  Sampler sampler_;
  std::vector<float> shifted_;  // [vocab_size] scratch
  std::unique_ptr<SequenceCache> cache_;
  Generated out_;

 private:
  std::chrono::steady_clock::time_point start_;
  bool started_ = false;
  size_t rows_in_call_ = 0;
};

std::unique_ptr<GeneratingSequence> make_plain_sequence(const GenerateContext& context,
                                                        size_t index, const StateSource& states);
std::unique_ptr<GeneratingSequence> make_speculative_sequence(const GenerateContext& context,
                                                              size_t index,
                                                              const StateSource& states);

}  // namespace plumb
