#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/io/atomic_file.h"
#include "experiments/cli/model_options.h"
#include "experiments/cli/verbs.h"
#include "experiments/corpus.h"
#include "experiments/probe.h"

namespace plumb::cli {
namespace {

struct ProbeOptions {
  ModelOptions model;
  std::string text, ids, out;
  std::vector<std::string> switches;
  int64_t max_tokens = 4096;
  ProbeRequest request;
  int top = 20;
  bool json = false;
};

Status read_ids(const ProbeOptions& options, ProbeRequest& request) {
  if (options.text.empty() == options.ids.empty())
    return input_error("give the text to judge by with --text FILE or --ids L");
  if (!options.ids.empty()) {
    PLUMB_ASSIGN(auto rows, parse_id_rows(options.ids));
    if (rows.size() != 1)
      return input_error("--ids has {} rows, a probe takes one text", rows.size());
    request.ids = std::move(rows.front());
    return ok_status();
  }
  if (options.max_tokens < 2)
    return input_error("--max-tokens is {}, expected at least 2", options.max_tokens);
  PLUMB_ASSIGN(const auto tokenizer, open_tokenizer(options.model));
  PLUMB_ASSIGN(TokenizedText text, tokenize_file(options.text, *tokenizer, options.max_tokens));
  request.ids = std::move(text.ids);
  return ok_status();
}

Json value_of(const OpenSwitch& open, size_t index) { return Json::parse(open.values[index]); }

Json describe(const ProbeResult& result) {
  Json switches = Json::array(), rows = Json::array(), unsearched = Json::object();
  for (size_t i = 0; i < result.switches.size(); ++i) {
    Json values = Json::array();
    for (size_t v = 0; v < result.switches[i].values.size(); ++v)
      values.push_back(value_of(result.switches[i], v));
    const ProbeVerdict& verdict = result.verdicts[i];
    switches.push_back(
        {{"field", result.switches[i].field},
         {"values", values},
         {"chosen", value_of(result.switches[i], result.rows[result.winner].values[i])},
         {"decided", verdict.decided},
         {"no_effect", verdict.no_effect},
         {"margin_nats", std::isfinite(verdict.margin) ? Json(verdict.margin) : Json()}});
  }
  for (const ProbeRow& row : result.rows) {
    Json values = Json::object();
    for (size_t i = 0; i < result.switches.size(); ++i)
      values[result.switches[i].field] = value_of(result.switches[i], row.values[i]);
    rows.push_back({{"switches", values},
                    {"nats_per_token", row.nats},
                    {"delta", row.delta},
                    {"delta_error", row.delta_error}});
  }
  for (const OpenSwitch& one : result.unsearched) unsearched[one.field] = value_of(one, 0);
  return {{"switches", switches},
          {"rows", rows},
          {"winner", result.winner},
          {"not_searched", unsearched},
          {"refused", result.refused},
          {"combinations", result.n_combinations},
          {"method", result.method},
          {"window", result.window},
          {"segment_len", result.segment_len},
          {"tokens", result.n_tokens},
          {"config", result.config}};
}

// The switches of a row that are not as assumed.
std::string changes(const ProbeResult& result, const ProbeRow& row) {
  std::string text;
  for (size_t i = 0; i < result.switches.size(); ++i)
    if (row.values[i] != 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", result.switches[i].field,
                          result.switches[i].values[row.values[i]]);
  return text.empty() ? "as assumed" : text;
}

void print_table(const ProbeResult& result, int top) {
  std::printf("%5s  %15s  %10s  %8s\n", "rank", "nats per token", "delta", "+-");
  for (size_t i = 0; i < result.rows.size() && i < static_cast<size_t>(top); ++i) {
    const ProbeRow& row = result.rows[i];
    std::printf("%5zu  %15.5f  %10.5f  %8.5f  %s%s\n", i + 1, row.nats, row.delta, row.delta_error,
                changes(result, row).c_str(), i == result.winner ? "  <-" : "");
  }
  if (result.rows.size() > static_cast<size_t>(top))
    std::printf("  ... and %zu more (--top)\n", result.rows.size() - static_cast<size_t>(top));
  std::printf("\n%-22s  %-14s  %10s\n", "switch", "chosen", "margin");
  for (size_t i = 0; i < result.switches.size(); ++i) {
    const ProbeVerdict& verdict = result.verdicts[i];
    const std::string& chosen = result.switches[i].values[result.rows[result.winner].values[i]];
    std::printf("%-22s  %-14s  %10.5f  %s\n", result.switches[i].field.c_str(),
                chosen.size() > 14 ? (chosen.substr(0, 11) + "...").c_str() : chosen.c_str(),
                verdict.margin,
                verdict.no_effect ? "open: no value changes this text's numbers"
                : verdict.decided ? ""
                                  : "open: the next best is a tie or within two standard errors");
  }
}

void print_notes(const ProbeResult& result) {
  std::printf("\n%s\n", result.method.c_str());
  std::printf(
      "%zu tokens in windows of %d%s\n", result.n_tokens, result.window,
      result.segment_len > 0 ? fmt::format(", segments of {}", result.segment_len).c_str() : "");
  std::string fields;
  for (const OpenSwitch& one : result.unsearched)
    fields += fmt::format("{}{} {}", fields.empty() ? "" : ", ", one.field, one.values[0]);
  if (!fields.empty())
    std::printf("open as well, but not searched (--switch FIELD=A,B adds values): %s\n",
                fields.c_str());
  for (const std::string& sentence : result.refused)
    std::printf("cannot be: %s\n", sentence.c_str());
}

Status write_config(const std::string& path, const Json& config) {
  PLUMB_ASSIGN(AtomicFile file, AtomicFile::create(path));
  PLUMB_RETURN_IF_ERROR(file.write(std::string_view(config.dump(2) + "\n")));
  return file.commit();
}

Status run(const ProbeOptions& options) {
  ProbeRequest request = options.request;
  const auto precision = parse_precision(options.model.dtype);
  if (!precision)
    return input_error("--dtype \"{}\" is unknown; expected f32, bf16 or int8",
                       options.model.dtype);
  request.precision = *precision;
  for (const std::string& text : options.switches) {
    PLUMB_ASSIGN(OpenSwitch one, parse_switch(text));
    request.switches.push_back(std::move(one));
  }
  if (options.top < 1) return input_error("--top is {}, expected at least 1", options.top);
  PLUMB_ASSIGN(const Checkpoint checkpoint, open_checkpoint(options.model));
  PLUMB_RETURN_IF_ERROR(read_ids(options, request));
  Team team(options.model.threads > 0 ? options.model.threads : available_cores());
  std::function<void(size_t, double)> progress;
  if (isatty(STDERR_FILENO))
    progress = [](size_t tried, double best) {
      std::fprintf(stderr, "\r%zu combinations, best %.5f nats per token ", tried, best);
    };
  PLUMB_ASSIGN(const ProbeResult result, run_probe(checkpoint, team, request, progress));
  if (progress) std::fprintf(stderr, "\n");
  if (!options.out.empty()) PLUMB_RETURN_IF_ERROR(write_config(options.out, result.config));
  if (options.json) {
    std::printf("%s\n", describe(result).dump().c_str());
    return ok_status();
  }
  print_table(result, options.top);
  print_notes(result);
  if (!options.out.empty()) std::printf("the winner's config is in %s\n", options.out.c_str());
  return ok_status();
}

}  // namespace

void add_probe(CLI::App& program, Action& action) {
  auto options = std::make_shared<ProbeOptions>();
  CLI::App* verb = program.add_subcommand(
      "probe", "which of the switches that a checkpoint leaves open predict a text best");
  options->model.add_to(*verb);
  verb->add_option("--text", options->text, "UTF-8 text of the kind the model was trained on");
  verb->add_option("--ids", options->ids, "its token ids instead, \"5,6,7\"");
  verb->add_option("--max-tokens", options->max_tokens, "tokens of the text to use (default 4096)");
  verb->add_option("--out", options->out, "write the winner here, for --config");
  verb->add_option("--switch", options->switches,
                   "values to try for a config field, FIELD=A,B,...; the first is the assumed one; "
                   "again for more")
      ->allow_extra_args(false);
  verb->add_option("--window", options->request.window,
                   "tokens run at once (default: 1024, three sliding windows or four segments, as "
                   "the model's positions allow)");
  verb->add_option(
      "--segment-len", options->request.segment_len,
      "tokens a segment, families with segment memory (default: the config's, else 256)");
  verb->add_option("--budget", options->request.budget,
                   "combinations to try at most; where all are fewer, all are tried (default 256)");
  verb->add_option("--top", options->top, "rows of the table (default 20)");
  verb->add_flag("--json", options->json, "machine-readable, all rows");
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace plumb::cli
