// One teacher-forced pass over whole rows, and the tensors a user asks of it (`plumb forward`).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/decode/think.h"

namespace plumb {

struct ForwardRequest {
  std::vector<std::vector<int32_t>> rows;  // equally long
  // Read out at each; empty: the model's own halting where it has one, else the default depth;
  // unlabelled.
  std::vector<int> depths;
  int segment_len = 0;                     // tokens run at a time, with memory between; 0: the config's
  std::set<std::string> emit;              // logits, latent, states, exits, hidden, halting
  StateOptions state;
  std::vector<Tap> taps;                   // tensors "tap.{name}.{stage}{block}.s{step}"
};

// A named f32 (or I32) tensor of the answer.
struct ForwardTensor {
  std::vector<int64_t> shape;
  Mat<float> values;
  bool integer = false;  // stored as I32
};
using ForwardResult = std::map<std::string, ForwardTensor>;

// Names and shapes are the contract's table.
Result<ForwardResult> run_forward(const RecurrentModel& model, Team& team, const ForwardRequest& request);

}  // namespace plumb
