// Which of the switches that a checkpoint leaves open it was trained with: every combination that
// is tried scores the same text, and the one that predicts it best wins.
//
// A switch is a config field that neither the config nor any tensor decides
// (ModelInfo::open_switches); its first value is what loading assumes. Where the combinations are
// few, all are tried. Else coordinate search: one switch at a time to its best value until nothing
// improves, then two at a time. Differences of up to kProbeTie are ties, which stay with what is
// assumed; the verdicts say which others a longer text might turn.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/model/recurrent_model.h"
#include "core/model/weights.h"
#include "core/parallel/team.h"

namespace plumb {

inline constexpr double kProbeTie = 1e-4;  // nats a token

struct ProbeRequest {
  std::vector<int32_t> ids;  // the text
  int window = 0;       // tokens run at once; 0: enough to leave a sliding window, or 4 segments
  int segment_len = 0;  // families with segments; 0: the config's, else 256
  int budget = 256;     // combinations to try at most
  // Values to try for a field besides, or for one that the config decides; the first is assumed.
  std::vector<OpenSwitch> switches;
  Precision precision = Precision::kF32;
};

struct ProbeRow {
  std::vector<size_t> values;  // by switch, index into its values
  double nats = 0;             // a token
  double delta = 0;            // more than the first row's
  double delta_error = 0;      // standard error of that, over tokens
  int changed = 0;             // switches that are not as assumed
};

// What the search says of one switch, all others as in the winner.
struct ProbeVerdict {
  // Every other value is worse by more than a tie and twice the standard error of the tokens'
  // paired differences.
  bool decided = false;
  bool no_effect = false;  // no value that was tried changes any token: this text cannot tell
  double margin = 0;       // nats a token to the next best value
};

struct ProbeResult {
  std::vector<OpenSwitch> switches;    // searched
  std::vector<OpenSwitch> unsearched;  // open, but with one value only to try
  std::vector<ProbeRow> rows;          // best first
  size_t winner = 0;                   // index into rows: the first, but for ties
  std::vector<ProbeVerdict> verdicts;  // by switch
  std::vector<std::string> refused;    // combinations that cannot be, with the reason
  double n_combinations = 0;           // of all values; rows and refused are those tried
  std::string method;                  // what was done and what was not, for people
  int window = 0, segment_len = 0;
  size_t n_tokens = 0;  // scored
  Json config;          // of the winner, complete
};

// `progress`: combinations tried so far, and the best nats a token.
Result<ProbeResult> run_probe(const Checkpoint& checkpoint, Team& team, const ProbeRequest& request,
                              const std::function<void(size_t, double)>& progress = {});

// "field=a,b,c": values are JSON, or else taken as strings.
Result<OpenSwitch> parse_switch(const std::string& text);

}  // namespace plumb
