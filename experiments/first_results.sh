#!/usr/bin/env bash
# The first results on the bundled models: results/first/ from the specs in experiments/specs/first/, by plumb and sqlite3 alone.
# What the results file holds already is not computed again; delete results/first/first.db to start afresh.
# Tables hold no times or names of the machine, so that a second run on the same machine gives the same files.
set -euo pipefail
cd "$(dirname "$0")/.."
plumb=${PLUMB:-build/release/plumb}
out=results/first
db=$out/first.db
mkdir -p "$out"

for spec in experiments/specs/first/*.json; do
  "$plumb" sweep "$spec" --db "$db" >/dev/null
  echo "$(basename "$spec" .json) done"
done

# Perplexity against depth. Depth counts the family's own axis; a plain Llama has one, its full depth.
ask() { sqlite3 -batch "$@" "$db"; }
{
  echo "| model | text | depth | tokens | perplexity | 95 % from | to | nats/token | bits/byte |"
  echo "|---|---|---|---|---|---|---|---|---|"
  ask -separator '' <<'SQL'
SELECT '| ' || p.model_name, ' | ' || replace(p.text_name, '.txt', ''), ' | ' || coalesce(p.num_steps, 'full'), ' | ' || s.tokens,
       printf(' | %.2f | %.2f | %.2f | %.4f | %.4f |', s.perplexity, s.ci_low, s.ci_high, s.nats_per_token, s.bits_per_byte)
FROM points p JOIN point_summaries s ON s.point_id = p.id ORDER BY p.model_name, p.text_name, p.num_steps;
SQL
} >"$out/perplexity.md"

# Mean exit depth of three rules on the recorded steps of the models with random states, by text.
{
  echo "| model | text | rule | mean steps | 10 % | median | 90 % | never exits | nats/token | excess nats |"
  echo "|---|---|---|---|---|---|---|---|---|---|"
  for model in pocket-raven pocket-april; do for text in prose code arithmetic theorems tasks; do
    "$plumb" replay "$db" --model $model --text $text --rule "kl<1e-3;latent-diff<0.03;argmax-stability>=2" -o "$out/rules.csv" >/dev/null
    {
      head -1 "$out/rules.csv"
      sed -n 's/^"\(kl\|latent-diff\|argmax-stability\)\([^ ]*\) @[^"]*",/\1\2,/p' "$out/rules.csv" | sort
    } | awk -F, -v model=$model -v text=$text '
      NR == 1 { for (i = 1; i <= NF; ++i) at[$i] = i; next }
      { printf "| %s | %s | `%s` | %.3f | %d | %d | %d | %.4f | %.4f | %+.4f |\n", model, text, $1, $at["mean_steps"], $at["p10_steps"],
               $at["p50_steps"], $at["p90_steps"], $at["no_exit_rate"], $at["nats_per_token"], $at["excess_nats"] }'
  done; done
} >"$out/exit_rules.md"
rm "$out/rules.csv"

# Where pocket-act halts by itself: N, its spread over tokens, and the remainder R.
{
  echo "| model | text | tokens | mean N | sd | 10 % | median | 90 % | mean R | nats/token |"
  echo "|---|---|---|---|---|---|---|---|---|---|"
  ask -separator '' <<'SQL'
WITH ranked AS (
  SELECT trajectory_id, n_steps, remainder, percent_rank() OVER (PARTITION BY trajectory_id ORDER BY n_steps) AS place FROM ponder
)
SELECT '| ' || p.model_name, ' | ' || replace(p.text_name, '.txt', ''), ' | ' || s.tokens,
       printf(' | %.3f | %.3f', avg(r.n_steps), sqrt(avg(r.n_steps * r.n_steps) - avg(r.n_steps) * avg(r.n_steps))),
       ' | ' || max(CASE WHEN place <= 0.1 THEN n_steps END) || ' | ' || max(CASE WHEN place <= 0.5 THEN n_steps END),
       ' | ' || max(CASE WHEN place <= 0.9 THEN n_steps END), printf(' | %.3f | %.4f |', avg(r.remainder), s.nats_per_token)
FROM ranked r JOIN points p ON p.trajectory_id = r.trajectory_id JOIN point_summaries s ON s.point_id = p.id
WHERE p.num_steps IS NULL GROUP BY p.id ORDER BY p.model_name, p.text_name;
SQL
} >"$out/halting.md"

# First two token ids of a text.
first_two() { "$plumb" tokenize experiments/models/pocket-raven --text "$1" --json | sed 's/.*"ids":\[\([0-9]*\),\([0-9]*\).*/\1,\2/'; }
{
  IFS=, read -r minus arrow <<<"$(first_two ' ->')"
  IFS=, read -r newline _ <<<"$(first_two $'\na')"
  IFS=, read -r equals _ <<<"$(first_two ' = 1')"
  printf '.parameter init\n.parameter set @minus %s\n.parameter set @arrow %s\n.parameter set @newline %s\n.parameter set @equals %s\n' \
    "$minus" "$arrow" "$newline" "$equals"
  echo "CREATE TEMP TABLE kinds(first, second, kind);"
  for kind in "sum mod 10:" "parity:" "max:" "count a:" "sort:" "reverse:"; do
    echo "INSERT INTO kinds VALUES ($(first_two "$kind"), '${kind%%[ :]*}');"
  done
  cat experiments/specs/first/answers.sql
} >"$out/answers.query"

# Answers of the algorithmic lines that are right in every token, by depth.
{
  echo "| model | kind of line | depth | lines | right |"
  echo "|---|---|---|---|---|"
  ask -separator '' <"$out/answers.query"
} >"$out/answers.md"
rm "$out/answers.query"

for model in raven april act byrne crow; do
  "$plumb" plot "$db" depth-perplexity --model pocket-$model -o "$out/depth_perplexity_$model.png" -o "$out/depth_perplexity_$model.svg" >/dev/null
done
# One text alone shows what a common axis of all texts flattens.
"$plumb" plot "$db" depth-perplexity --model pocket-raven --text prose -o "$out/depth_perplexity_raven_prose.png" -o "$out/depth_perplexity_raven_prose.svg" >/dev/null
for model in raven april act; do
  "$plumb" plot "$db" exit-histogram --model pocket-$model -o "$out/exit_histogram_$model.png" >/dev/null
done
"$plumb" plot "$db" exit-surprisal --model pocket-act --text prose -o "$out/exit_surprisal_act.png" >/dev/null
echo "tables and figures: $out"
