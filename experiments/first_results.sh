#!/usr/bin/env bash
# The first results on the bundled models: results/first/ from the specs in experiments/specs/first/, by plumb and sqlite3 alone.
# Tables hold no times or names of the machine, so that a second run on the same machine gives the same files.
set -euo pipefail
cd "$(dirname "$0")/.."
plumb=${PLUMB:-build/release/plumb}
out=results/first
db=$out/first.db
mkdir -p "$out"
rm -f "$db" "$db"-wal "$db"-shm

for spec in experiments/specs/first/*.json; do
  "$plumb" sweep "$spec" --db "$db" >/dev/null
  echo "$(basename "$spec" .json) done"
done

# Perplexity against depth. Depth counts the family's own axis; "own" is ACT's own halting.
ask() { sqlite3 -batch "$@" "$db"; }
{
  echo "| model | text | depth | tokens | perplexity | 95 % from | to | nats/token | bits/byte |"
  echo "|---|---|---|---|---|---|---|---|---|"
  ask -separator '' <<'SQL'
SELECT '| ' || p.model_name, ' | ' || replace(p.text_name, '.txt', ''), ' | ' || coalesce(p.num_steps, 'own'), ' | ' || s.tokens,
       printf(' | %.2f | %.2f | %.2f | %.4f | %.4f |', s.perplexity, s.ci_low, s.ci_high, s.nats_per_token, s.bits_per_byte)
FROM points p JOIN point_summaries s ON s.point_id = p.id ORDER BY p.model_name, p.text_name, p.num_steps;
SQL
} >"$out/perplexity.md"

# Mean halting depth by text: pocket-act's own N, and three exit rules on pocket-raven's recorded steps.
{
  echo "| model | rule | text | mean N | standard deviation | least | most | tokens |"
  echo "|---|---|---|---|---|---|---|---|"
  ask -separator '' <<'SQL'
SELECT '| ' || p.model_name, ' | own halting | ' || replace(p.text_name, '.txt', ''),
       printf(' | %.3f | %.3f | %d | %d | %d |', avg(t.exit_step), sqrt(avg(t.exit_step * t.exit_step) - avg(t.exit_step) * avg(t.exit_step)),
              min(t.exit_step), max(t.exit_step), count(*))
FROM points p JOIN tokens t ON t.point_id = p.id WHERE p.family = 'act' AND p.num_steps IS NULL AND t.target_id IS NOT NULL
GROUP BY p.id ORDER BY p.text_name;
SQL
} >"$out/halting_act.md"
for text in prose code arithmetic theorems tasks; do
  "$plumb" replay "$db" --model pocket-raven --text $text --rule "kl<1e-3;latent-diff<0.03;argmax-stability>=2" \
    -o "$out/exit_rules_raven_$text.csv" >/dev/null
done

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

for text in prose code arithmetic theorems tasks; do
  for kind in png svg; do
    "$plumb" plot "$db" depth-perplexity --text $text -o "$out/depth_perplexity_$text.$kind" >/dev/null
  done
done
"$plumb" plot "$db" exit-histogram --model pocket-raven -o "$out/exit_histogram_raven.png" >/dev/null
echo "tables and figures: $out"
