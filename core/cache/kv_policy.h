// KvPolicy: which slot a token's keys and values go to, and what a reader finds there.
//
// A slot is one row of the table (layer, recurrence); inside a slot, entries lie by position:
//     prelude block j          -> j
//     core block l, step i     -> P + c * K + l, c the recurrence i as the policy compresses it
//     coda block j             -> -(j + 1)
// with P prelude and K core blocks. A token that stopped early lacks the deeper slots; what a
// deeper token sees there is the policy's business (raven.md section 4). Policies hold no state:
// the cache stores, the policy answers questions.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/place.h"
#include "core/base/result.h"

namespace plumb {

struct LayerCounts {
  int n_prelude = 0, n_core = 0, n_coda = 0;
};

// What is stored, for policies to ask. Any slot number may be asked for.
class KvPresence {
 public:
  virtual ~KvPresence() = default;
  virtual bool has(int slot, int pos) const = 0;
  virtual int slot_end() const = 0;  // slots lie in [-n_coda, slot_end)
};

// Rows of one sequence that arrive together at one place: positions [first_pos, first_pos +
// n_rows). More than one row is a prefill, one row is a decode step; only the decode-* policies
// care.
struct KvCall {
  Place place;
  int first_pos = 0;
  int n_rows = 0;
};

// Where the rows of a read with missing positions are put together.
enum class KvGather : uint8_t {
  kInPlace,  // a present position is always read where it is and none is left out: the holes of
             // the slot are filled with copies
  kBuffer,   // in panels of their own, kept for the next read with the same buffer number
  kFresh,    // copied anew for every call: the answers of find() depend on who asks
};

constexpr int kLeaveOut = -1000000;  // an answer of find(): the position is not attended to
constexpr int kNowhere = -1000001;   // a slot that never holds anything

struct KvPlan {
  int store = 0;            // the slot that gets the rows; kNowhere: only this call sees them
  int share = kNowhere;     // a second slot that gets them, whatever it held
  bool average = false;     // `share` gets the mean over recurrences 0..step instead
  bool overwrites = false;  // `store` may hold these positions already
  KvGather gather = KvGather::kInPlace;
  int buffer = 0;  // kBuffer: reads of one number agree on all finished positions
};

enum class KvPhase : uint8_t { kPrefill, kDecode };

class KvPolicy {
 public:
  virtual ~KvPolicy() = default;
  // The spelling the user gave, canonical.
  virtual std::string name() const = 0;
  virtual KvPlan plan(const KvCall& call) const = 0;
  // Called after the rows of `call` are stored, and only when some position is missing in the
  // plan's slot (or that is kNowhere): the slot that position `pos` is read from (present there),
  // or kLeaveOut. `slot` is the plan's store. The error says why the combination cannot work.
  virtual Result<int> find(const KvCall& call, int slot, int pos,
                           const KvPresence& stored) const = 0;
  // (slot, position) pairs that one token occupies after `num_steps` recurrences.
  virtual int64_t entries_per_token(int num_steps, KvPhase phase) const = 0;
};

}  // namespace plumb
