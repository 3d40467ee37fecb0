#include <chrono>
#include <nlohmann/json.hpp>

#include "core/decode/forward.h"
#include "core/io/safetensors.h"
#include "experiments/cli/model_options.h"
#include "experiments/cli/verbs.h"
#include "experiments/spec.h"

namespace plumb::cli {
namespace {

struct ForwardOptions {
  ModelOptions model;
  std::string ids, num_steps, emit = "logits", taps, out;
  StateOptions state;
  int segment_len = 0, memory_len = -1;
  bool json = false;
};

Result<std::vector<Tap>> parse_taps(const std::string& text) {
  std::vector<Tap> taps;
  if (text.empty()) return taps;
  for (const std::string& name : split_list(text)) {
    const auto tap = parse_tap(name);
    if (!tap) {
      std::string known;
      for (const TapRow& row : kTaps) known += (known.empty() ? "" : ", ") + std::string(row.name);
      return input_error("--taps \"{}\" is unknown; known: {}", name, known);
    }
    taps.push_back(*tap);
  }
  return taps;
}

Status run(const ForwardOptions& options) {
  ForwardRequest request;
  PLUMB_ASSIGN(request.rows, parse_id_rows(options.ids));
  if (!options.num_steps.empty()) {
    PLUMB_ASSIGN(request.depths, parse_int_list(options.num_steps, "--num-steps", 0, kMaxDepth));
  }
  for (const std::string& name : split_list(options.emit)) request.emit.insert(name);
  PLUMB_ASSIGN(request.taps, parse_taps(options.taps));
  request.state = options.state;
  request.segment_len = options.segment_len;
  PLUMB_ASSIGN(const OpenModel open, open_model(options.model));
  if (options.memory_len >= 0) PLUMB_RETURN_IF_ERROR(open.model->set_memory_len(options.memory_len));
  warn_of_length(open.model->info(), request.rows.front().size());
  const auto began = std::chrono::steady_clock::now();
  PLUMB_ASSIGN(const ForwardResult result, run_forward(*open.model, *open.team, request));
  const double elapsed_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();

  std::vector<NamedTensor> tensors;
  std::vector<std::vector<int32_t>> integers;
  integers.reserve(result.size());
  Json summary = Json::object();
  for (const auto& [name, tensor] : result) {
    if (tensor.integer) {
      integers.emplace_back(tensor.values.data(), tensor.values.data() + tensor.values.size());
      tensors.push_back(named_tensor<int32_t>(name, DType::kI32, tensor.shape, integers.back()));
    } else {
      tensors.push_back(f32_tensor(name, tensor.shape, {tensor.values.data(), tensor.values.size()}));
    }
    summary[name] = tensor.shape;
  }
  PLUMB_RETURN_IF_ERROR(write_safetensors(options.out, tensors));
  if (options.json) {
    std::printf("%s\n", Json{{"out", options.out}, {"tensors", summary}, {"elapsed_ms", elapsed_ms}}.dump().c_str());
  } else {
    for (const auto& [name, shape] : summary.items()) std::printf("%-28s %s\n", name.c_str(), shape.dump().c_str());
    std::printf("written to %s\n", options.out.c_str());
  }
  return ok_status();
}

}  // namespace

void add_forward(CLI::App& program, Action& action) {
  auto options = std::make_shared<ForwardOptions>();
  CLI::App* verb = program.add_subcommand("forward", "one teacher-forced pass; writes tensors at every asked depth");
  options->model.add_to(*verb);
  verb->add_option("--ids", options->ids, "token ids \"5,6,7\"; \";\" separates batch rows of equal length")->required();
  verb->add_option("--num-steps", options->num_steps,
                   "depths on the family's own axis, e.g. 1,2,4..8,64 (default: the model's own halting, or the config's depth)");
  verb->add_option("--segment-len", options->segment_len,
                   "tokens run at a time, memory carried along the row; families with segment memory (default: the config's, else the whole row)")
      ->check(CLI::Range(1, 1 << 24));
  verb->add_option("--mem-len", options->memory_len, "tokens of segment memory (default: the config's)")->check(CLI::Range(0, 1 << 24));
  verb->add_option("--state", options->state.kind,
                   "initial state: like-init (default), zero, normal, embed, unit, prelude, torch, torch-2.12, FILE.safetensors:NAME");
  verb->add_option("--seed", options->state.seed, "seed of the initial state (default 0)");
  verb->add_option("--init-scale", options->state.init_scale, "multiplies the initial state's scale (default 1)");
  verb->add_option("--emit", options->emit, "logits, latent, states, exits, hidden, halting (comma-separated)");
  verb->add_option("--taps", options->taps, "also write these taps, e.g. block,attention");
  verb->add_option("--out", options->out, "safetensors file to write")->required();
  verb->add_flag("--json", options->json, "machine-readable summary on stdout");
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace plumb::cli
