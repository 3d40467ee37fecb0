// RecurrentModel: the one interface of all families.
//
//     prelude:  ids           -> injected   [n, model_dim]   once a token
//     step:     injected, state -> state    [n, state_dim]   once a token and depth
//     readout:  state         -> logits     [n, vocab_size]  wherever a depth is read
//
// "Depth" is the family's own axis (ModelInfo::axis). Rows of a call belong to groups: one group
// is one sequence's rows, contiguous in position. All groups of a call are computed together, each
// row as if alone: the bits of a row do not depend on its company.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/mat.h"
#include "core/base/place.h"
#include "core/base/result.h"
#include "core/cache/kv_policies.h"
#include "core/cache/sequence_cache.h"
#include "core/kernels/matmul.h"
#include "core/parallel/team.h"
#include "core/taps/tap_bus.h"

namespace plumb {

// When the matrices of a part are multiplied with a token: what it costs (core/model/token_cost.h).
enum class PartWork : uint8_t {
  kNone,     // looked up, or vectors only
  kPrelude,  // once a token
  kStep,     // at every step
  kBlocks,   // once in all steps together: distinct blocks, one a step
  kReadout,  // wherever a depth is read
};

struct PartCount {
  std::string name;      // "embedding", "prelude", "core", "coda", "head", ...
  int64_t parameters = 0;
  bool per_step = false;  // counted once per step when materialised at depth r
  PartWork work = PartWork::kNone;
};

// A config field that neither the config nor any tensor decides: what loading assumes, and what
// else the field may hold. `plumb probe` tries them on a text.
struct OpenSwitch {
  std::string field;                // of config.json; "a.b": b inside a
  std::vector<std::string> values;  // as JSON; the first is the one assumed
};

struct ModelInfo {
  std::string family;      // "raven-huginn", "raven-llama", "llama", "act", "spikewhale", "crowfeather"
  std::string axis;        // what a depth counts: "recurrences", "HRM refinement passes", "blocks"
  int model_dim = 0;
  int state_dim = 0;       // columns of a state row; the first model_dim are the latent
  int gate_column = -1;    // column of a state row that holds the cumulative halting; -1: none
  int vocab_size = 0;
  LayerCounts layers;
  int n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int default_steps = 0;   // the config's own mean or full depth
  int min_steps = 0;
  int max_steps = 0;       // 0: no limit
  int max_positions = 0;   // 0: no limit; a position past it is an error
  // What the config says it was made for, where positions past it can be run; 0: unknown.
  int trained_positions = 0;
  bool random_state = false;   // s_0 is drawn (and --state applies); otherwise the model defines it
  double state_std = 0, state_scale = 1;  // for like-init (raven.md 3.3)
  bool distinct_blocks = false;  // a step is another block each time (depth = blocks run)
  // By block, with distinct_blocks: keys a query sees, its own included; 0: all of them.
  std::vector<int> block_windows;
  bool crop_overflow = false;    // generation past max_positions keeps the last ones and starts over at 0
  bool halts_itself = false;     // per-token halting decides the depth (ACT), see Group::own_halting
  int halting_column = -1;       // first of the HaltingColumn cells of a state row; -1: none
  bool segments = false;         // processed in segments with memory carried along
  int segment_len = 0;           // tokens, what the config says; 0: unknown
  int memory_len = 0;            // tokens of memory, families with segments
  // The memory holds what the last step left, so another depth is another memory: several depths
  // over several segments take a pass each.
  bool memory_of_last_step = false;
  bool latent_is_normed = false;  // latent_states are after ln_f (Huginn)
  std::vector<PartCount> parts;   // unique parameters
  std::vector<Tap> taps;          // what this model can fire
  std::vector<int32_t> stop_ids;  // ends a generation (raven.md 6.1), besides the tokenizer's eos
  std::vector<OpenSwitch> open_switches;
  std::vector<std::string> notes; // for the user: defaults assumed, inherited depths, ...
};

// What a halting model keeps of every row, behind the latent. p, kCumulative and kWeight are of the
// step just run (after halting: -1, -1, 0); kCumulative is the probability spent before the halting
// step, as ACT counts it.
enum class HaltingColumn : uint8_t {
  kProbability,  // p of the halting head
  kCumulative,   // sum of p over the steps that did not stop
  kWeight,       // of this step in the output
  kSteps,        // N, steps run so far
  kRemainder,    // R
  kRunning,      // 1 until halted
  kGate,         // probability of having halted by now: min(1, sum of all p), stays once halted
};
inline constexpr size_t kHaltingColumns = 7;

struct Group {
  size_t first_row = 0, n_rows = 0;
  int first_pos = 0;                // absolute position of the first row
  int step = 0;                     // recurrence from 0 that step() is to run
  uint32_t sequence = 0;            // which draws of the randomness are this sequence's
  bool own_halting = false;         // the model decides where each row stops; else all run to the depth asked
  SequenceCache* cache = nullptr;   // null: the rows are a whole sequence of their own
};

struct Batch {
  std::span<const int32_t> ids;     // [n_rows]
  std::vector<Group> groups;        // cover the rows in order
  size_t n_rows() const { return ids.size(); }
};

enum class Readout {
  kKeep,  // leaves the coda's cache rows and fires taps
  kPeek,  // does neither
};

// Scratch memory of one user of a model; each family derives its own, fields with shapes.
class Workspace {
 public:
  explicit Workspace(Team& threads) : team(&threads) {}
  virtual ~Workspace() = default;

  Team* team;
  const TapBus* taps = nullptr;
};

// Test-time noise on the state before the adapter of each step (raven.md 6.7).
struct StateNoise {
  enum class Kind { kNone, kGeom, kSqrt, kLine, kChi, kFixed };
  Kind kind = Kind::kNone;
  double amount = 0;
  uint64_t seed = 0;
};

class RecurrentModel {
 public:
  virtual ~RecurrentModel() = default;

  virtual const ModelInfo& info() const = 0;
  virtual std::unique_ptr<Workspace> make_workspace(Team& team) const = 0;
  virtual Result<std::unique_ptr<SequenceCache>> make_cache(std::shared_ptr<const KvPolicy> policy) const = 0;

  // injected [n, model_dim]. Groups with a cache must have been announced by extend().
  virtual Status prelude(const Batch& batch, Workspace& workspace, MatView<float> injected) const = 0;

  // The model's own s_0 from e; families with random_state leave it to the caller and CHECK.
  virtual void initial_state(MatView<const float> injected, MatView<float> state) const = 0;

  // state <- step(state), in place; every group at its own Group::step.
  virtual Status step(const Batch& batch, Workspace& workspace, MatView<const float> injected,
                      MatView<float> state) const = 0;

  // Whether further steps would change no output of these rows and nothing that later rows may see:
  // own halting is over for all of them.
  virtual bool settled(const Batch& /*batch*/, MatView<const float> /*state*/) const { return false; }

  // logits [n, vocab_size]; latent [n, model_dim] or empty: what the public forward returns as
  // latent_states. Either may be empty.
  virtual Status readout(const Batch& batch, Workspace& workspace, MatView<const float> state,
                         Readout mode, MatView<float> logits, MatView<float> latent) const = 0;
  // Turns the last kPeek of these rows into a kKeep without computing it again.
  virtual void keep_readout(const Batch& batch) const = 0;

  // Test-time noise; an error where the family has none.
  virtual Status set_noise(const StateNoise& noise) = 0;
  // Tokens of memory instead of the config's, for caches made from now on; an error where the
  // family has no segments.
  virtual Status set_memory_len(int /*tokens*/) {
    return input_error("--mem-len has no meaning for family {}: it has no segment memory", info().family);
  }
};

}  // namespace plumb
