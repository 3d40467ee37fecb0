#include "core/cache/decode_policy.h"

namespace plumb {
namespace {

class DecodePolicy final : public KvPolicy {
 public:
  DecodePolicy(const KvStrategy& strategy, const LayerCounts& layers)
      : name_(strategy.name), reuse_(strategy.reuse), layers_(layers) {}

  std::string name() const override { return name_; }

  KvPlan plan(const KvCall& call) const override {
    const Place& place = call.place;
    if (place.stage == Stage::kPrelude) return {.store = place.block};
    if (place.stage == Stage::kCoda) {
      const int slot = -(place.block + 1);
      return {.store = slot, .overwrites = true, .gather = KvGather::kBuffer, .buffer = slot};
    }
    const int shared = shared_slot(place);
    const bool first = reuse_ == KvDecodeReuse::kFirst,
               averaged = reuse_ == KvDecodeReuse::kAveraged;
    if (call.n_rows > 1) {
      const int own = shared + (place.step + (first ? 0 : 1)) * layers_.n_core;
      return {.store = own, .share = first ? kNowhere : shared, .average = averaged};
    }
    if (reuse_ == KvDecodeReuse::kLast) return {.store = shared, .overwrites = true};
    if (first && place.step == 0) return {.store = shared};
    return {.store = kNowhere,
            .share = averaged ? shared : kNowhere,
            .average = averaged,
            .gather = KvGather::kBuffer,
            .buffer = shared};
  }

  Result<int> find(const KvCall& call, int slot, int pos, const KvPresence& stored) const override {
    if (stored.has(slot, pos)) return slot;
    const int shared = call.place.stage == Stage::kCore ? shared_slot(call.place) : kNowhere;
    if (stored.has(shared, pos)) return shared;
    return input_error(
        "cache strategy \"{}\" cannot find position {} for {} layer {}, recurrence {}: that token "
        "left no entry for this layer",
        name_, pos, stage_name(call.place.stage), call.place.block, call.place.step);
  }

  int64_t entries_per_token(int num_steps, KvPhase phase) const override {
    int64_t kept = num_steps > 0 ? 1 : 0;
    if (phase == KvPhase::kPrefill && num_steps > 0)
      kept = num_steps + (reuse_ == KvDecodeReuse::kFirst ? 0 : 1);
    return layers_.n_prelude + kept * layers_.n_core + layers_.n_coda;
  }

 private:
  int shared_slot(const Place& place) const { return layers_.n_prelude + place.block; }

  std::string name_;
  KvDecodeReuse reuse_;
  LayerCounts layers_;
};

}  // namespace

std::shared_ptr<const KvPolicy> make_decode_policy(const KvStrategy& strategy,
                                                   const LayerCounts& layers) {
  PLUMB_CHECK(strategy.reuse != KvDecodeReuse::kNone);
  return std::make_shared<DecodePolicy>(strategy, layers);
}

}  // namespace plumb
