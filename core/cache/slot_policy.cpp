#include "core/cache/slot_policy.h"

#include <algorithm>

#include "core/base/rng.h"

namespace plumb {
namespace {

constexpr int kAnchored = 8;                            // recurrences that compress-anchor keeps
constexpr int kUpstreamBase = 2, kUpstreamModulus = 4;  // the public code's prelude and core counts

// Slots >= base are recurrent, and those congruent modulo `modulus` are one layer's.
class SlotPolicy final : public KvPolicy {
 public:
  SlotPolicy(const KvStrategy& strategy, CacheIndex index, const LayerCounts& layers, uint64_t seed,
             int num_steps)
      : strategy_(strategy),
        upstream_(index == CacheIndex::kUpstream),
        layers_(layers),
        seed_(seed),
        num_steps_(num_steps),
        base_(upstream_ ? kUpstreamBase : layers.n_prelude),
        modulus_(upstream_ ? kUpstreamModulus : std::max(layers.n_core, 1)) {
    // The public code knows "full" only as a whole name: with a compression it is no lookup at all.
    if (upstream_ && compresses() && strategy_.lookup == KvLookup::kFull)
      strategy_.lookup = KvLookup::kNone;
  }

  std::string name() const override { return strategy_.name; }
  KvPlan plan(const KvCall& call) const override;
  Result<int> find(const KvCall& call, int slot, int pos, const KvPresence& stored) const override;
  int64_t entries_per_token(int num_steps, KvPhase phase) const override;

 private:
  bool compresses() const { return strategy_.compression != KvCompression::kNone; }
  int slot_of(const Place& place) const;
  int compress_recurrence(int step) const;
  int compress_index(int index) const;
  int class_of(int slot) const { return base_ + (slot - base_) % modulus_; }
  int deepest(int slot, int pos, const KvPresence& stored) const;
  Result<int> draw(const KvCall& call, int slot, int pos, const KvPresence& stored) const;
  int64_t kept_recurrences(int64_t num_steps) const;
  Error cannot_find(const KvCall& call, int slot, int pos, const std::string& why) const;

  KvStrategy strategy_;
  bool upstream_;
  LayerCounts layers_;
  uint64_t seed_;
  int num_steps_;
  int base_, modulus_;
};

// c(i) of the table in kv_policies.h.
int SlotPolicy::compress_recurrence(int step) const {
  const int n = strategy_.n;
  switch (strategy_.compression) {
    case KvCompression::kNone:
      return step;
    case KvCompression::kModulo:
      return step % n;
    case KvCompression::kMerge:
    case KvCompression::kStride:
      return step / n;
    case KvCompression::kAnchor:
      return std::min(step, kAnchored);
    case KvCompression::kFirst:
      return std::min(step, n);
    case KvCompression::kLast:
      return num_steps_ <= n ? step : std::max(0, step - (num_steps_ - n) + 1);
    case KvCompression::kBoundaries:
      return std::min(step, 1);
  }
  return step;
}

// raven.md 4.3 as published.
int SlotPolicy::compress_index(int index) const {
  if (index < kUpstreamBase) return index;
  const int from_base = index - kUpstreamBase, kept = kAnchored * kUpstreamModulus;
  switch (strategy_.compression) {
    case KvCompression::kModulo:
      return from_base % strategy_.n + kUpstreamBase;
    case KvCompression::kMerge:
      return from_base / strategy_.n + kUpstreamBase;
    case KvCompression::kAnchor:
      return from_base < kept ? index
                              : kUpstreamBase + kept + (from_base - kept) % kUpstreamModulus;
    default:
      return index;
  }
}

int SlotPolicy::slot_of(const Place& place) const {
  switch (place.stage) {
    case Stage::kPrelude:
      return upstream_ ? compress_index(place.block) : place.block;
    case Stage::kCoda:
      return -(place.block + 1);
    case Stage::kCore:
      break;
  }
  const int first = layers_.n_prelude + place.block;
  if (upstream_) return compress_index(first + place.step * layers_.n_core);
  return first + compress_recurrence(place.step) * layers_.n_core;
}

KvPlan SlotPolicy::plan(const KvCall& call) const {
  const int slot = slot_of(call.place);
  KvPlan plan{.store = slot, .buffer = slot};
  const bool core = call.place.stage == Stage::kCore;
  plan.overwrites = call.place.stage == Stage::kCoda || (compresses() && (core || upstream_));
  if (slot < base_) {
    // A coda row may come and go while it is peeked at: its slot is not to be filled with copies.
    if (slot < 0 || strategy_.lookup == KvLookup::kFull || strategy_.lookup == KvLookup::kSkip)
      plan.gather = KvGather::kBuffer;
    return plan;
  }
  switch (strategy_.lookup) {
    case KvLookup::kNone:
    case KvLookup::kLatest:
    case KvLookup::kAvailable:
      break;
    case KvLookup::kFull:
    case KvLookup::kSkip:
      plan.gather = KvGather::kBuffer;
      break;
    case KvLookup::kAlwaysLast:  // what is deepest does not depend on the recurrence that asks
      plan.gather = KvGather::kBuffer;
      plan.buffer = class_of(slot);
      break;
    case KvLookup::kRandomized:
      plan.gather = KvGather::kFresh;
      break;
  }
  return plan;
}

// The largest slot <= `slot` of its class that holds `pos`, or kNowhere.
int SlotPolicy::deepest(int slot, int pos, const KvPresence& stored) const {
  for (; slot >= base_; slot -= modulus_)
    if (stored.has(slot, pos)) return slot;
  return kNowhere;
}

Result<int> SlotPolicy::draw(const KvCall& call, int slot, int pos,
                             const KvPresence& stored) const {
  uint64_t candidates = 0;
  for (int x = slot; x >= base_; x -= modulus_) candidates += stored.has(x, pos) ? 1 : 0;
  if (candidates == 0) return kNowhere;
  const DrawKey key{.seed = seed_,
                    .stream = RngStream::kCache,
                    .row = static_cast<uint32_t>(call.first_pos),
                    .position = static_cast<uint32_t>(pos),
                    .step = static_cast<uint32_t>(call.place.step)};
  uint64_t left = uniform_below(key, static_cast<uint64_t>(slot), candidates);
  for (int x = slot;; x -= modulus_)
    if (stored.has(x, pos) && left-- == 0) return x;
}

Result<int> SlotPolicy::find(const KvCall& call, int slot, int pos,
                             const KvPresence& stored) const {
  const bool here = stored.has(slot, pos);
  const KvLookup lookup = strategy_.lookup;
  if (lookup == KvLookup::kFull || lookup == KvLookup::kSkip) return here ? slot : kLeaveOut;
  if (lookup == KvLookup::kNone)
    return here ? Result<int>(slot)
                : cannot_find(
                      call, slot, pos,
                      fmt::format("that token did not write it, and {} alone does not say what "
                                  "to read instead; put a lookup before it, as in latest-{}",
                                  strategy_.name,
                                  strategy_.name.substr(strategy_.name.find("compress-"))));
  if (slot < base_) {
    if (here) return slot;
    if (lookup != KvLookup::kAvailable && stored.has(0, pos)) return 0;
    return cannot_find(call, slot, pos,
                       "that token did not write it, and a slot outside the recurrent core has no "
                       "earlier recurrence to fall back to");
  }
  Result<int> found = slot;
  if (lookup == KvLookup::kAlwaysLast) {
    const int above = (stored.slot_end() - 1 - slot) / modulus_ * modulus_;
    found = deepest(slot + std::max(above, 0), pos, stored);
  } else if (lookup == KvLookup::kRandomized) {
    found = draw(call, slot, pos, stored);
  } else {
    found = deepest(slot, pos, stored);
  }
  if (found.value() != kNowhere) return found;
  return cannot_find(
      call, slot, pos,
      fmt::format("none of the slots {}, {}, ... up to it, which stand for its layer, "
                  "holds that token{}",
                  class_of(slot), class_of(slot) + modulus_,
                  upstream_ && strategy_.compression == KvCompression::kMerge
                      ? fmt::format(": compress-r{} merges layers, so a token needs as many "
                                    "recurrences as make the "
                                    "slots cover all four residues modulo 4",
                                    strategy_.n)
                      : std::string(", which ran too few recurrences")));
}

Error SlotPolicy::cannot_find(const KvCall& call, int slot, int pos, const std::string& why) const {
  return input_error(
      "cache strategy \"{}\"{} cannot find position {} in slot {} ({} layer {}, recurrence {}): {}",
      strategy_.name, upstream_ ? " (--cache-index upstream)" : "", pos, slot,
      stage_name(call.place.stage), call.place.block, call.place.step, why);
}

int64_t SlotPolicy::kept_recurrences(int64_t num_steps) const {
  const int64_t n = strategy_.n;
  switch (strategy_.compression) {
    case KvCompression::kNone:
      return num_steps;
    case KvCompression::kModulo:
      return std::min(num_steps, n);
    case KvCompression::kMerge:
    case KvCompression::kStride:
      return (num_steps + n - 1) / n;
    case KvCompression::kAnchor:
      return std::min<int64_t>(num_steps, kAnchored + 1);
    case KvCompression::kFirst:
      return std::min(num_steps, n + 1);
    case KvCompression::kLast:
      return num_steps == 0 ? 0 : compress_recurrence(static_cast<int>(num_steps) - 1) + int64_t{1};
    case KvCompression::kBoundaries:
      return std::min<int64_t>(num_steps, 2);
  }
  return num_steps;
}

int64_t SlotPolicy::entries_per_token(int num_steps, KvPhase /*phase*/) const {
  if (!upstream_ || !compresses())
    return layers_.n_prelude + kept_recurrences(num_steps) * layers_.n_core + layers_.n_coda;
  const int64_t indices = layers_.n_prelude + int64_t{num_steps} * layers_.n_core;
  const int64_t plain = std::min<int64_t>(indices, kUpstreamBase), rest = indices - plain;
  const int64_t kept = kAnchored * kUpstreamModulus;
  int64_t slots = 0;
  switch (strategy_.compression) {
    case KvCompression::kModulo:
      slots = std::min<int64_t>(rest, strategy_.n);
      break;
    case KvCompression::kMerge:
      slots = (rest + strategy_.n - 1) / strategy_.n;
      break;
    default:
      slots = std::min<int64_t>(rest, kept + kUpstreamModulus);
      break;
  }
  return plain + slots + layers_.n_coda;
}

}  // namespace

std::shared_ptr<const KvPolicy> make_slot_policy(const KvStrategy& strategy, CacheIndex index,
                                                 const LayerCounts& layers, uint64_t seed,
                                                 int num_steps) {
  PLUMB_CHECK(strategy.compression != KvCompression::kLast || num_steps > 0);
  return std::make_shared<SlotPolicy>(strategy, index, layers, seed, num_steps);
}

}  // namespace plumb
