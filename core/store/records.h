// The rows of a results file as plain structs. A field has the name of its column; what a column
// means in full is said once, in core/store/schema.cpp, and printed in the schema's document.
//
//   run ──< point (one cell of a sweep) ──< chunk ──< token      the numbers at one depth or rule
//                     │
//   trajectory (one forward pass that served many points) ──< step, step_lag, latent, halting
//
// Conventions
//   pos    absolute index in the token list of the text of the token that was FED; its readout
//          predicts the token at pos + 1 (the target), and nll and rank are the target's.
//   step   1..R. Step k is the state after k recurrences; step 1 is compared with s_0 and with the
//          uniform distribution.
//   NaN    in a float field is NULL in the file, and back: "this was not measured".
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

inline constexpr float kNotMeasured = std::numeric_limits<float>::quiet_NaN();

enum class RunStatus { kRunning, kDone, kFailed, kStopped };
enum class PointStatus { kPending, kRunning, kDone, kFailed };

// "running", "done", "failed", "stopped"; "pending", "running", "done", "failed".
std::string_view run_status_name(RunStatus status);
std::string_view point_status_name(PointStatus status);
std::optional<RunStatus> parse_run_status(std::string_view name);
std::optional<PointStatus> parse_point_status(std::string_view name);

// One call of the program.
struct RunRecord {
  std::string verb;  // "sweep", "replay", ...
  std::string binary_version;
  std::vector<std::string> argv;  // stored as a JSON array
  std::string host_name;
  std::string cpu_model;
  int64_t n_threads = 1;
  std::string spec_json = "{}";  // the fully resolved specification
};

// Everything but the depth that decides the numbers of a forward pass. Points and trajectories
// both carry it. Defaults are resolved by the caller: never "auto".
struct Setting {
  std::string model_path, model_name;
  std::string model_sha256;  // over weights, config and whatever else was loaded
  std::string family;        // "raven", "act", ...
  std::string axis;          // what num_steps counts: "recurrences", "blocks", ...
  std::string text_name;
  std::string text_sha256;
  int64_t window = 0, stride = 0;    // tokens
  std::string scoring = "parallel";  // or "sequential"
  int64_t seed = 0;
  std::string state;  // kind of initial state; "" where the family has none
  double init_scale = 1;
  std::string dtype = "f32";
  std::string cache, cache_index;               // "" where scoring never meets a cache
  std::string rule;                             // resolved expression; "" at a fixed depth
  std::optional<int64_t> segment_len, mem_len;  // tokens; families with segment memory only
  std::string extra_json = "{}";  // further settings that decide numbers, a JSON object
};

// What a token costs a model; the columns of `models`.
struct ModelRecord {
  std::string model_sha256;
  int64_t parameters = 0;
  double prelude_flops = 0, step_flops = 0, readout_flops = 0;
  double prelude_key_flops = 0, step_key_flops = 0, readout_key_flops = 0;  // a key attended to
};

// One cell of a sweep.
struct PointRecord {
  std::string key_hash;                  // sha256 of point_key_json(*this), lower-case hex
  int64_t run_id = 0;                    // the run that asks for it
  std::optional<int64_t> trajectory_id;  // where the steps of its pass are recorded
  Setting setting;
  std::optional<int64_t> num_steps;  // nullopt: the model or the rule stops by itself
  std::string record = "tokens";     // "tokens", "steps", "latents:..." as resolved
  int64_t planned_tokens = 0, planned_chunks = 0;
};

// One forward pass over one text, recorded per step; many points may read from it.
struct TrajectoryRecord {
  std::string key_hash;  // sha256 of trajectory_key_json(*this), lower-case hex
  int64_t run_id = 0;
  Setting setting;
  int64_t max_steps = 0;  // R: kl_final compares with p_R
  std::string record = "steps";
  std::string lags_json = "[]";  // recorded lags beyond 1, a JSON array of integers
  int64_t planned_chunks = 0;
};

// The canonical JSON (sorted keys, shortest round-trip numbers, no spaces) of all that decides the
// numbers and of what is recorded. Names and paths are left out: content is known by its hash.
// core/record/provenance.h turns it into key_hash. REQUIRES extra_json, lags_json to be valid JSON.
std::string point_key_json(const PointRecord& point);
std::string trajectory_key_json(const TrajectoryRecord& trajectory);

struct TokenRow {
  int64_t pos = 0;
  int32_t token_id = 0;
  int32_t target_id = -1;                                      // -1: no target (NULL)
  double nll_nats = std::numeric_limits<double>::quiet_NaN();  // of the target
  int32_t exit_step = 0;                                       // steps whose readout was taken
  std::string_view exit_reason;  // "fixed", "rule", "max-steps", "halted", ...; not owned
};

struct StepRecord {
  int64_t pos = 0;
  int32_t step = 0;
  float nll = kNotMeasured, entropy = kNotMeasured;  // nats
  int32_t top1_id = -1;                              // -1: NULL
  float p1 = kNotMeasured, p2 = kNotMeasured;
  int32_t target_rank = -1;         // 0: the target is the argmax; -1: NULL
  float state_norm = kNotMeasured;  // |s_k|
  float delta_norm = kNotMeasured;  // |D_k|, D_k = s_k - s_(k-1)
  float accel_norm = kNotMeasured;  // |D_k - D_(k-1)|; NULL at step 1
  float cos = kNotMeasured;         // cos(s_k, s_(k-1))
  float kl_prev = kNotMeasured;     // KL(p_(k-1) || p_k), nats
  float minp_kl = kNotMeasured;
  float kl_final = kNotMeasured;  // KL(p_R || p_k), nats
  float gate = kNotMeasured;      // the model's own cumulative halting
  int32_t stability = -1;         // run length of the argmax; -1: NULL
};

// Step k against step k - lag.
struct StepLagRecord {
  int64_t pos = 0;
  int32_t step = 0, lag = 0;
  float latent_diff = kNotMeasured, cos = kNotMeasured, kl = kNotMeasured, minp_kl = kNotMeasured,
        entropy_diff = kNotMeasured;
};

struct LatentRow {
  int64_t pos = 0;
  int32_t step = 0;
  std::string_view kind = "state";  // "state": s_k raw; "latent": what forward returns
  std::string_view dtype = "F32";   // the safetensors spelling
  std::vector<int64_t> shape;       // row-major
  std::vector<std::byte> data;      // little-endian
};

// ACT, per token and step, and per token.
struct HaltingRow {
  int64_t pos = 0;
  int32_t step = 0;
  float p = kNotMeasured, cum = kNotMeasured, w = kNotMeasured;
};
struct PonderRow {
  int64_t pos = 0;
  int32_t n_steps = 0;
  float remainder = kNotMeasured, ponder = kNotMeasured;
};

struct TimingRow {
  std::optional<int64_t> point_id;  // nullopt: shared by the whole batch
  std::string stage;                // "prelude", "core", "coda", "scalars", "store", ...
  double elapsed_ms = 0;
  int64_t calls = 1;
};

}  // namespace plumb
