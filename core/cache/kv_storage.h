// KvCache: keys and values of one sequence in slots chosen by a KvPolicy.
//
// A slot is contiguous by position, so that the usual read is a view of it and costs nothing. Where
// positions are missing, rows are gathered as the policy says (KvGather); what was gathered is
// kept, and the next read of it looks only at positions from the first one touched since:
// in decoding, the last token or two. GatherMode::kFromScratch gathers everything every time: the
// definition, for tests.
#pragma once

#include <memory>
#include <vector>

#include "core/base/mat.h"
#include "core/base/place.h"
#include "core/base/result.h"
#include "core/cache/change_log.h"
#include "core/cache/kv_policy.h"
#include "core/cache/kv_slot.h"
#include "core/cache/sequence_cache.h"
#include "core/kernels/attend.h"

namespace plumb {

struct KvRead {
  KvView view;
  size_t n_before = 0;  // keys in the view that precede the call's own rows
};

enum class GatherMode : uint8_t { kIncremental, kFromScratch };

class KvCache : public SequenceCache, private KvPresence {
 public:
  KvCache(LayerCounts layers, const KvFormat& format, std::shared_ptr<const KvPolicy> policy,
          GatherMode mode = GatherMode::kIncremental);

  // Stores rows for positions pos0 .. pos0 + rows - 1 and returns what those rows may attend to:
  // the earlier positions as the policy finds them, then the rows themselves. The view is valid
  // until the next call. Writing a position of a prelude or core slot twice is a mistake of ours
  // unless the policy compresses: truncate() first.
  Result<KvRead> append(const Place& place, int pos0, MatView<const float> keys,
                        MatView<const float> values);

  // A peeked coda evaluation: its rows stay in memory but count as absent until kept. Of a token
  // that runs ahead, the rows of the readout at depth `step` are kept, whichever came last.
  void drop_coda(int pos0, int n);
  void keep_coda(int pos0, int n, int step);

  bool can_run_ahead() const override { return true; }
  void begin_run_ahead() override;
  void take_back_steps(int depth) override;
  void extend(std::span<const int32_t> ids) override;
  void expect(size_t length) override { expected_ = length; }

  Status truncate(int length) override;
  // KvFormat::bytes() for every (slot, position) present.
  size_t bytes() const override;
  size_t entries() const;
  const KvPolicy& policy() const { return *policy_; }
  // Whether append() wants keys and values rounded to bf16.
  bool rounded() const { return format_.rounded; }
  // Rows copied for reads with missing positions, since the beginning: what gathering costs.
  int64_t rows_gathered() const { return rows_gathered_; }

 private:
  // Rows put together for a reader.
  struct Gathered {
    KvRows rows;
    std::vector<int> positions;  // of each row, ascending
    int valid_end = 0;           // positions below were resolved ...
    uint64_t synced = 0;         // ... at this moment of changes_
  };

  // What a step of a token that runs ahead replaced, and what the coda of a depth wrote.
  struct Written {
    int slot, pos, step;
    bool had;    // `row` of ahead_rows_ holds the entry before, for core slots ...
    size_t row;  // ... and for coda slots the new one
  };

  bool has(int slot, int pos) const override;
  int slot_end() const override { return static_cast<int>(slots_.size()) - layers_.n_coda; }
  KvSlot& slot_at(int slot);
  Gathered& gathered_at(int number);
  int first_stale(const Gathered& kept) const;

  void store(const KvCall& call, const KvPlan& plan, MatView<const float> keys,
             MatView<const float> values);
  void note_replaced(int slot, int pos, int step);
  void stop_running_ahead();
  void note_coda(int slot, int pos, int step);
  Result<KvRead> fill_in_place(const KvCall& call, const KvPlan& plan);
  Result<KvRead> gather(const KvCall& call, const KvPlan& plan, Gathered& kept,
                        MatView<const float> keys, MatView<const float> values);

  LayerCounts layers_;
  KvFormat format_;
  std::shared_ptr<const KvPolicy> policy_;
  GatherMode mode_;
  size_t expected_ = 0;             // tokens in all; 0: nobody said
  std::vector<KvSlot> slots_;       // slot s at index s + n_coda
  std::vector<Gathered> gathered_;  // buffer b at index b + n_coda; of a slot filled in place only
                                    // valid_end and synced are used
  Gathered fresh_;
  bool ahead_ = false;  // since begin_run_ahead()
  std::vector<Written> written_;
  KvRows ahead_rows_;
  size_t n_ahead_rows_ = 0;
  ChangeLog changes_;
  int64_t rows_gathered_ = 0;
};

}  // namespace plumb
