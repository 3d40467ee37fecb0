// All verbs, in the order --help lists them.
#pragma once

#include "experiments/cli/verb.h"

namespace plumb::cli {

void add_inspect(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
void add_detokenize(CLI::App& program, Action& action);
void add_forward(CLI::App& program, Action& action);
void add_generate(CLI::App& program, Action& action);
void add_chat(CLI::App& program, Action& action);
void add_sweep(CLI::App& program, Action& action);
void add_runs(CLI::App& program, Action& action);
void add_status(CLI::App& program, Action& action);
void add_resume(CLI::App& program, Action& action);
void add_convert(CLI::App& program, Action& action);
void add_probe(CLI::App& program, Action& action);
void add_replay(CLI::App& program, Action& action);
void add_calibrate(CLI::App& program, Action& action);
void add_plot(CLI::App& program, Action& action);
void add_bench(CLI::App& program, Action& action);

}  // namespace plumb::cli
