#include "core/store/schema.h"

#include <fmt/format.h>

namespace plumb {
namespace {

std::vector<ColumnSpec> joined(std::vector<ColumnSpec> first, const std::vector<ColumnSpec>& middle,
                               const std::vector<ColumnSpec>& last) {
  first.insert(first.end(), middle.begin(), middle.end());
  first.insert(first.end(), last.begin(), last.end());
  return first;
}

// What points and trajectories share: see Setting in records.h.
std::vector<ColumnSpec> setting_columns() {
  return {
      {"model_path", "TEXT NOT NULL", "the model as it was given"},
      {"model_name", "TEXT NOT NULL", "its name in tables and figures"},
      {"model_sha256", "TEXT NOT NULL", "hash over its weights and configuration"},
      {"family", "TEXT NOT NULL", "model family: raven, act, ..."},
      {"axis", "TEXT NOT NULL", "what num_steps counts in this family"},
      {"text_name", "TEXT NOT NULL", "the text's name in tables and figures"},
      {"text_sha256", "TEXT NOT NULL", "hash of the text's bytes"},
      {"window", "INTEGER NOT NULL", "tokens of context fed at once"},
      {"stride", "INTEGER NOT NULL", "tokens between the starts of two windows"},
      {"scoring", "TEXT NOT NULL",
       "parallel (whole windows) or sequential (token by token, over the cache)"},
      {"seed", "INTEGER NOT NULL", "seed of the initial state"},
      {"state", "TEXT NOT NULL", "kind of initial state; empty where the family has none"},
      {"init_scale", "REAL NOT NULL", "factor on the initial state"},
      {"dtype", "TEXT NOT NULL", "precision of the arithmetic: f32, bf16, int8"},
      {"cache", "TEXT NOT NULL", "cache strategy; empty where scoring never meets a cache"},
      {"cache_index", "TEXT NOT NULL", "what the strategy's numbers count: recurrence or upstream"},
      {"rule", "TEXT NOT NULL", "exit rule with every number resolved; empty at a fixed depth"},
      {"segment_len", "INTEGER", "tokens a segment; NULL without segment memory"},
      {"mem_len", "INTEGER", "tokens of segment memory; NULL without"},
      {"extra_json", "TEXT NOT NULL", "further settings that decide the numbers, a JSON object"},
  };
}

const char* kStatusCheck =
    "TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'done', 'failed'))";

TableSpec meta_table() {
  return {
      "meta",
      "Facts about the file itself.",
      {{"key", "TEXT PRIMARY KEY", "name of the fact"}, {"value", "TEXT NOT NULL", "its value"}}};
}

TableSpec runs_table() {
  return {"runs",
          "One call of the program that wrote into this file.",
          {{"id", "INTEGER PRIMARY KEY", "number of the run in this file"},
           {"uid", "TEXT NOT NULL UNIQUE",
            "random name of the run, the same in every file it is merged into"},
           {"verb", "TEXT NOT NULL", "what was called: sweep, ..."},
           {"created_utc", "TEXT NOT NULL", "when it began, ISO 8601 UTC"},
           {"finished_utc", "TEXT", "when it ended; NULL while it runs or when it was killed"},
           {"status", "TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'stopped'))",
            "running, done, failed or stopped (by the user)"},
           {"binary_version", "TEXT NOT NULL", "version of the program"},
           {"argv_json", "TEXT NOT NULL", "the command line, a JSON array"},
           {"host_name", "TEXT NOT NULL", "name of the machine"},
           {"cpu_model", "TEXT NOT NULL", "its processor"},
           {"n_threads", "INTEGER NOT NULL", "threads used"},
           {"spec_json", "TEXT NOT NULL", "the specification with every default resolved, JSON"},
           {"schema_version", "INTEGER NOT NULL", "version of the schema it wrote"}}};
}

TableSpec models_table() {
  return {
      "models",
      "What a token costs a model, in floating-point operations (an addition and a product of a "
      "matrix product are two). A token costs prelude + steps * step + readouts * readout, and of "
      "each the per-key part times the positions attended to.",
      {{"model_sha256", "TEXT PRIMARY KEY", "as in points and trajectories"},
       {"parameters", "INTEGER NOT NULL", "unique parameters"},
       {"prelude_flops", "REAL NOT NULL", "once a token"},
       {"step_flops", "REAL NOT NULL", "a step"},
       {"readout_flops", "REAL NOT NULL", "a readout: coda and output head"},
       {"prelude_key_flops", "REAL NOT NULL", "attention of the prelude, a key"},
       {"step_key_flops", "REAL NOT NULL", "attention of a step, a key"},
       {"readout_key_flops", "REAL NOT NULL", "attention of a readout, a key"}}};
}

TableSpec trajectories_table() {
  return {
      "trajectories",
      "One forward pass over a text, recorded step by step. One pass at the largest depth serves "
      "many points, so what was recorded of it is stored once, here.",
      joined({{"id", "INTEGER PRIMARY KEY", "number of the trajectory in this file"},
              {"key_hash", "TEXT NOT NULL UNIQUE", "sha256 of key_json"},
              {"key_json", "TEXT NOT NULL", "canonical JSON of all that decides its numbers"},
              {"run_id", "INTEGER NOT NULL REFERENCES runs(id)", "the run that asked first"}},
             setting_columns(),
             {{"max_steps", "INTEGER NOT NULL", "R, the largest step; kl_final compares with it"},
              {"record", "TEXT NOT NULL", "what was recorded: steps, latents:..."},
              {"lags_json", "TEXT NOT NULL", "lags recorded in step_lags, a JSON array"},
              {"planned_chunks", "INTEGER NOT NULL", "chunks of a complete trajectory"}})};
}

TableSpec points_table() {
  return {"points",
          "One cell of a sweep: one model at one depth or rule on one text. A cell asked for again "
          "has the same key_hash and is not run again.",
          joined({{"id", "INTEGER PRIMARY KEY", "number of the point in this file"},
                  {"key_hash", "TEXT NOT NULL UNIQUE", "sha256 of key_json"},
                  {"key_json", "TEXT NOT NULL", "canonical JSON of all that decides its numbers"},
                  {"run_id", "INTEGER NOT NULL REFERENCES runs(id)", "the run that asked first"},
                  {"trajectory_id", "INTEGER REFERENCES trajectories(id)",
                   "where the steps of its pass are recorded; NULL if they are not"}},
                 setting_columns(),
                 {{"num_steps", "INTEGER",
                   "depth on the family's axis; NULL when the model or the rule stops by itself"},
                  {"record", "TEXT NOT NULL", "what was recorded: tokens, steps, latents:..."},
                  {"planned_tokens", "INTEGER NOT NULL", "tokens to score"},
                  {"planned_chunks", "INTEGER NOT NULL", "chunks of a finished point"},
                  {"status", kStatusCheck, "pending, running, done or failed"},
                  {"attempt", "INTEGER NOT NULL DEFAULT 0", "times it was claimed by a worker"},
                  {"heartbeat_utc", "TEXT", "last sign of life of its worker, ISO 8601 UTC"},
                  {"worker", "TEXT", "random name of the writer that holds it; NULL when free"},
                  {"worker_host", "TEXT", "the machine of that writer"},
                  {"worker_pid", "INTEGER", "its process"},
                  {"worker_start_ticks", "INTEGER",
                   "when that process started, in kernel ticks: process numbers are used again"},
                  {"error", "TEXT", "why it failed; NULL otherwise"}})};
}

TableSpec run_points_table() {
  return {"run_points",
          "Which points a run asked for, whoever computed them.",
          {{"run_id", "INTEGER NOT NULL REFERENCES runs(id)", "the run"},
           {"point_id", "INTEGER NOT NULL REFERENCES points(id)", "the point"}},
          "PRIMARY KEY (run_id, point_id)",
          true};
}

TableSpec chunks_table() {
  return {
      "chunks",
      "A stretch of the text at one point, written whole in one transaction with its tokens, or "
      "not at all.",
      {{"point_id", "INTEGER NOT NULL REFERENCES points(id)", "the point"},
       {"chunk_index", "INTEGER NOT NULL", "number of the stretch, from 0"},
       {"first_token", "INTEGER NOT NULL", "pos of its first scored position"},
       {"n_tokens", "INTEGER NOT NULL", "tokens scored: positions with a target"},
       {"nll_sum_nats", "REAL NOT NULL", "sum of their negative log likelihoods, nats"},
       {"n_bytes", "INTEGER NOT NULL", "UTF-8 bytes of the targets; 0: unknown"},
       {"elapsed_ms", "REAL NOT NULL", "time of the chunk that is this point's, ms"},
       {"n_inputs", "INTEGER", "tokens fed, those that are not scored too; NULL if not counted"},
       {"kv_bytes", "INTEGER",
        "keys and values held after its last token, bytes; NULL where scoring meets no cache"},
       {"state", "TEXT NOT NULL DEFAULT 'done' CHECK (state = 'done')",
        "always done: there are no half chunks"}},
      "PRIMARY KEY (point_id, chunk_index)",
      true};
}

TableSpec tokens_table() {
  return {
      "tokens",
      "A position of the text at one point: the token fed there, and how well the next one was "
      "predicted.",
      {{"point_id", "INTEGER NOT NULL REFERENCES points(id)", "the point"},
       {"pos", "INTEGER NOT NULL", "absolute index in the text's tokens of the token that was fed"},
       {"chunk_index", "INTEGER NOT NULL", "the chunk it was written with"},
       {"token_id", "INTEGER NOT NULL", "the token fed at pos"},
       {"target_id", "INTEGER",
        "the token at pos + 1, which is predicted; NULL at the end of the text"},
       {"nll_nats", "REAL", "negative log likelihood of the target at the point's depth, nats"},
       {"exit_step", "INTEGER NOT NULL", "step whose readout was taken"},
       {"exit_reason", "TEXT NOT NULL",
        "why it stopped there: fixed, rule, max-steps, halted, ..."}},
      "PRIMARY KEY (point_id, pos)",
      true,
      38,
      "the reason 'rule', a 32000-word vocabulary"};
}

TableSpec summaries_table() {
  return {
      "point_summaries",
      "A finished point in one row. Written when its last chunk is in.",
      {{"point_id", "INTEGER PRIMARY KEY REFERENCES points(id)", "the point"},
       {"tokens", "INTEGER NOT NULL", "tokens scored"},
       {"nats_per_token", "REAL NOT NULL", "mean negative log likelihood, nats"},
       {"perplexity", "REAL NOT NULL", "exp(nats_per_token)"},
       {"bits_per_byte", "REAL",
        "total bits over UTF-8 bytes of the targets; NULL when these are unknown"},
       {"ci_low", "REAL", "lower end of the perplexity's confidence interval; NULL without one"},
       {"ci_high", "REAL", "upper end"},
       {"ci_level", "REAL", "its confidence, 0 to 1; NULL without one"},
       {"ci_method", "TEXT", "how it was made; NULL without one"},
       {"n_resamples", "INTEGER", "resamples it took; NULL without one"},
       {"mean_steps", "REAL", "steps per token, mean"},
       {"elapsed_ms", "REAL NOT NULL", "sum over its chunks, ms"},
       {"logits_fingerprint", "TEXT",
        "hash of some logits, to notice numeric drift; NULL without one"},
       {"extra_json", "TEXT NOT NULL", "further results, a JSON object"}}};
}

TableSpec trajectory_chunks_table() {
  return {"trajectory_chunks",
          "The stretches of a trajectory that are in the file, each whole.",
          {{"trajectory_id", "INTEGER NOT NULL REFERENCES trajectories(id)", "the trajectory"},
           {"chunk_index", "INTEGER NOT NULL", "number of the stretch, from 0"},
           {"first_token", "INTEGER NOT NULL", "pos of its first position"},
           {"n_step_rows", "INTEGER NOT NULL", "rows of steps written with it"}},
          "PRIMARY KEY (trajectory_id, chunk_index)",
          true};
}

TableSpec steps_table() {
  return {
      "steps",
      "One position after one step: the scalars that exit rules and figures are made of. s_k is "
      "the state after step k, D_k = s_k - s_(k-1), p_k the readout's distribution. Step 1 is "
      "compared with s_0 and the uniform distribution.",
      {{"trajectory_id", "INTEGER NOT NULL REFERENCES trajectories(id)", "the trajectory"},
       {"pos", "INTEGER NOT NULL", "absolute index in the text's tokens of the token that was fed"},
       {"step", "INTEGER NOT NULL", "k, from 1"},
       {"nll", "REAL", "negative log likelihood of the target, nats; NULL without a target"},
       {"entropy", "REAL", "H(p_k), nats"},
       {"top1_id", "INTEGER", "the most likely token"},
       {"p1", "REAL", "its probability"},
       {"p2", "REAL", "probability of the second"},
       {"target_rank", "INTEGER", "tokens more likely than the target; NULL without a target"},
       {"state_norm", "REAL", "|s_k|"},
       {"delta_norm", "REAL", "|D_k|"},
       {"accel_norm", "REAL", "|D_k - D_(k-1)|; NULL where there is no D_(k-1)"},
       {"cos", "REAL", "cosine of s_k and s_(k-1)"},
       {"kl_prev", "REAL", "KL(p_(k-1) || p_k), nats"},
       {"minp_kl", "REAL", "the same after small probabilities are levelled, nats"},
       {"kl_final", "REAL", "KL(p_R || p_k), nats, R the trajectory's max_steps"},
       {"gate", "REAL", "the model's own cumulative halting; NULL where it has none"},
       {"stability", "INTEGER", "steps that top1_id has not changed"}},
      "PRIMARY KEY (trajectory_id, pos, step)",
      true,
      133,
      "every column but gate, a 32000-word vocabulary"};
}

TableSpec step_lags_table() {
  return {"step_lags",
          "Step k against step k - lag, for the lags that were asked for.",
          {{"trajectory_id", "INTEGER NOT NULL REFERENCES trajectories(id)", "the trajectory"},
           {"pos", "INTEGER NOT NULL", "as in steps"},
           {"step", "INTEGER NOT NULL", "k"},
           {"lag", "INTEGER NOT NULL", "steps back, from 2"},
           {"latent_diff", "REAL", "|s_k - s_(k-lag)| / |s_k|"},
           {"cos", "REAL", "cosine of s_k and s_(k-lag)"},
           {"kl", "REAL", "KL(p_(k-lag) || p_k), nats"},
           {"minp_kl", "REAL", "the same after small probabilities are levelled, nats"},
           {"entropy_diff", "REAL", "|H(p_k) - H(p_(k-lag))|, nats"}},
          "PRIMARY KEY (trajectory_id, pos, step, lag)",
          true,
          65,
          "every column"};
}

TableSpec latents_table() {
  return {
      "latents",
      "States as they were, for the positions and steps that were asked for.",
      {{"id", "INTEGER PRIMARY KEY", "number of the row"},
       {"trajectory_id", "INTEGER NOT NULL REFERENCES trajectories(id)", "the trajectory"},
       {"pos", "INTEGER NOT NULL", "as in steps"},
       {"step", "INTEGER NOT NULL", "k; 0 is the initial state"},
       {"kind", "TEXT NOT NULL", "state: s_k as the core left it; latent: as the model returns it"},
       {"dtype", "TEXT NOT NULL", "element type: F32, F16, BF16"},
       {"shape", "TEXT NOT NULL", "a JSON array, row-major"},
       {"n", "INTEGER NOT NULL", "elements"},
       {"data", "BLOB NOT NULL", "the elements, little-endian"}},
      "UNIQUE (trajectory_id, pos, step, kind)"};
}

TableSpec halting_table() {
  return {"halting",
          "A model that learned to halt, per position and step.",
          {{"trajectory_id", "INTEGER NOT NULL REFERENCES trajectories(id)", "the trajectory"},
           {"pos", "INTEGER NOT NULL", "as in steps"},
           {"step", "INTEGER NOT NULL", "k, from 1"},
           {"p", "REAL", "halting probability of this step; NULL after halting"},
           {"cum", "REAL", "their sum so far; NULL after halting"},
           {"w", "REAL", "weight of this step in the output"}},
          "PRIMARY KEY (trajectory_id, pos, step)",
          true,
          42,
          "every column"};
}

TableSpec ponder_table() {
  return {"ponder",
          "A model that learned to halt, per position.",
          {{"trajectory_id", "INTEGER NOT NULL REFERENCES trajectories(id)", "the trajectory"},
           {"pos", "INTEGER NOT NULL", "as in steps"},
           {"n_steps", "INTEGER NOT NULL", "steps it took"},
           {"remainder", "REAL", "probability left for the last step"},
           {"ponder", "REAL", "ponder cost: n_steps + remainder"}},
          "PRIMARY KEY (trajectory_id, pos)",
          true};
}

TableSpec timings_table() {
  return {"timings",
          "Where the time went.",
          {{"id", "INTEGER PRIMARY KEY", "number of the row"},
           {"run_id", "INTEGER NOT NULL REFERENCES runs(id)", "the run"},
           {"point_id", "INTEGER REFERENCES points(id)",
            "the point; NULL: shared by all points of a pass"},
           {"chunk_index", "INTEGER", "the chunk; NULL outside chunks"},
           {"stage", "TEXT NOT NULL", "prelude, core, coda, scalars, store, load, ..."},
           {"ms", "REAL NOT NULL", "time spent, ms"},
           {"calls", "INTEGER NOT NULL", "in so many calls"}}};
}

ViewSpec depth_perplexity_view() {
  return {"depth_perplexity",
          "One row a finished point.",
          {{"run", "", "runs.id"},
           {"model", "", "points.model_name"},
           {"text", "", "points.text_name"},
           {"num_steps", "", "depth; NULL when the model or the rule stops by itself"},
           {"cache", "", "cache strategy"},
           {"rule", "", "exit rule"},
           {"dtype", "", "precision"},
           {"seed", "", "seed of the initial state"},
           {"tokens", "", "tokens scored"},
           {"nats_per_token", "", "mean negative log likelihood, nats"},
           {"perplexity", "", "its exponential"},
           {"bits_per_byte", "", "total bits over UTF-8 bytes"},
           {"ci_low", "", "lower end of the perplexity's interval"},
           {"ci_high", "", "upper end"}},
          "SELECT p.run_id AS run, p.model_name AS model, p.text_name AS text,\n"
          "  p.num_steps AS num_steps, p.cache AS cache, p.rule AS rule, p.dtype AS dtype,\n"
          "  p.seed AS seed, s.tokens AS tokens, s.nats_per_token AS nats_per_token,\n"
          "  s.perplexity AS perplexity, s.bits_per_byte AS bits_per_byte,\n"
          "  s.ci_low AS ci_low, s.ci_high AS ci_high\n"
          "FROM points p JOIN point_summaries s ON s.point_id = p.id WHERE p.status = 'done'\n"
          "ORDER BY p.id"};
}

ViewSpec strategies_view() {
  return {"strategies",
          "What a cache strategy and a rule cost and give: one row a finished point of sequential "
          "scoring. Times are those of the machine and the load of the run.",
          {{"point", "", "points.id"},
           {"model", "", "points.model_name"},
           {"text", "", "points.text_name"},
           {"num_steps", "", "depth; NULL when the model or the rule stops by itself"},
           {"cache", "", "cache strategy"},
           {"cache_index", "", "what its numbers count"},
           {"rule", "", "exit rule"},
           {"dtype", "", "precision"},
           {"tokens", "", "tokens scored"},
           {"perplexity", "", "exp of the mean negative log likelihood"},
           {"mean_steps", "", "steps per token, mean"},
           {"kv_bytes_per_token", "", "keys and values held a token, bytes, mean over windows"},
           {"tokens_per_second", "", "tokens fed a second, several windows side by side"}},
          "SELECT p.id AS point, p.model_name AS model, p.text_name AS text,\n"
          "  p.num_steps AS num_steps, p.cache AS cache, p.cache_index AS cache_index,\n"
          "  p.rule AS rule, p.dtype AS dtype, s.tokens AS tokens, s.perplexity AS perplexity,\n"
          "  s.mean_steps AS mean_steps,\n"
          "  1.0 * sum(c.kv_bytes) / sum(c.n_inputs) AS kv_bytes_per_token,\n"
          "  1000.0 * sum(c.n_inputs) / sum(c.elapsed_ms) AS tokens_per_second\n"
          "FROM points p JOIN point_summaries s ON s.point_id = p.id\n"
          "JOIN chunks c ON c.point_id = p.id\n"
          "WHERE p.status = 'done' AND p.scoring = 'sequential' GROUP BY p.id"};
}

ViewSpec exit_histogram_view() {
  return {"exit_histogram",
          "How many tokens of a finished point stopped at which step.",
          {{"point", "", "points.id"},
           {"rule", "", "exit rule"},
           {"text", "", "points.text_name"},
           {"step", "", "tokens.exit_step"},
           {"tokens", "", "positions that stopped there"}},
          "SELECT p.id AS point, p.rule AS rule, p.text_name AS text, t.exit_step AS step,\n"
          "  count(*) AS tokens\n"
          "FROM points p JOIN tokens t ON t.point_id = p.id WHERE p.status = 'done'\n"
          "GROUP BY p.id, t.exit_step"};
}

}  // namespace

const std::vector<TableSpec>& schema_tables() {
  static const std::vector<TableSpec> tables = {meta_table(),      runs_table(),
                                                models_table(),    trajectories_table(),
                                                points_table(),    run_points_table(),
                                                chunks_table(),    tokens_table(),
                                                summaries_table(), trajectory_chunks_table(),
                                                steps_table(),     step_lags_table(),
                                                latents_table(),   halting_table(),
                                                ponder_table(),    timings_table()};
  return tables;
}

const std::vector<ViewSpec>& schema_views() {
  static const std::vector<ViewSpec> views = {depth_perplexity_view(), strategies_view(),
                                              exit_histogram_view()};
  return views;
}

std::string schema_sql() {
  std::string sql;
  for (const TableSpec& table : schema_tables()) {
    sql += fmt::format("CREATE TABLE {} (\n", table.name);
    for (size_t i = 0; i < table.columns.size(); ++i)
      sql += fmt::format("  {} {}{}\n", table.columns[i].name, table.columns[i].type,
                         i + 1 < table.columns.size() || !table.constraints.empty() ? "," : "");
    if (!table.constraints.empty()) sql += fmt::format("  {}\n", table.constraints);
    sql += table.without_rowid ? ") WITHOUT ROWID;\n" : ");\n";
  }
  for (const ViewSpec& view : schema_views())
    sql += fmt::format("CREATE VIEW {} AS\n{};\n", view.name, view.select);
  sql +=
      "INSERT INTO meta VALUES ('format', 'plumb results file'), ('created_utc', "
      "strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));\n";
  sql += fmt::format("PRAGMA application_id = {};\nPRAGMA user_version = {};\n", kApplicationId,
                     kSchemaVersion);
  return sql;
}

}  // namespace plumb
