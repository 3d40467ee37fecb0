// schema_markdown(): the document of the schema, from the same table as the schema.
#include <fmt/format.h>

#include "core/store/schema.h"

namespace plumb {
namespace {

constexpr const char* kIntroduction = R"(# The results file

This page is printed from the table in `core/store/schema.cpp`; a test keeps the two the same.

A results file is one SQLite database (schema version {}, also `PRAGMA user_version`; write-ahead
log; foreign keys). Any tool that reads SQLite reads it: everything but latent states is plain rows.
While a run writes, or after it was killed, the newest rows lie in `FILE-wal` beside the file: keep
the two together, opening the file merges them. A run that ended leaves the file alone.

```
runs ──< points ──< chunks, tokens, point_summaries     the numbers at one depth or rule
            │
     trajectories ──< steps, step_lags, latents,        one pass that served many points
                      halting, ponder, trajectory_chunks
```

* `pos` is the absolute index, in the tokens of the text, of the token that was **fed**. The readout
  there predicts the token at `pos + 1`, the *target*: nll and rank are the target's.
* `step` counts from 1. Step 1 is compared with the initial state s_0 and the uniform distribution.
* NULL means that the quantity does not exist there or was not measured. Logarithms are natural.
* One transaction writes a chunk with all its rows, for all points of a pass: what is there is whole.
* A point is known by `key_hash`, the SHA-256 of `key_json`: asking for it again runs nothing.

## Reading it

```sh
sqlite3 -header -column out.db 'SELECT model, num_steps, tokens, perplexity, ci_low, ci_high
                                FROM depth_perplexity ORDER BY model, num_steps'
sqlite3 -csv -header out.db 'SELECT * FROM exit_histogram' > exits.csv
sqlite3 out.db "SELECT status, count(*) FROM points GROUP BY status"
```

```python
import sqlite3, numpy, pandas
db = sqlite3.connect("file:out.db?mode=ro", uri=True)
curve = pandas.read_sql("SELECT * FROM depth_perplexity", db)
steps = pandas.read_sql("SELECT * FROM steps WHERE trajectory_id = 1", db)
median_kl = steps.groupby("step")["kl_prev"].median()
per_token = pandas.read_sql("""SELECT t.pos, t.exit_step, s.entropy FROM tokens t
    JOIN points p ON p.id = t.point_id JOIN steps s ON s.trajectory_id = p.trajectory_id
    AND s.pos = t.pos AND s.step = t.exit_step WHERE p.id = 1""", db)
row = db.execute("SELECT dtype, data FROM latents LIMIT 1").fetchone()
state = numpy.frombuffer(row[1], {{"F32": "<f4", "F16": "<f2"}}[row[0]])  # BF16: widen "<u2" by 16 bits
```

)";

constexpr const char* kSizes = R"(
A REAL takes 8 bytes whatever its precision (0 when it is NULL or a small integer), an integer 1 to
4. So a column that is not measured costs one byte: KL, entropy and ranks need the readout at every
step, and are most of a row of `steps`. A text of n positions at R steps takes n * R rows there. What
follows from other columns is not stored: margin is p1 - p2, the relative step delta_norm /
state_norm. A latent takes its elements plus about 40 bytes and a row in an index of about 25.
)";

std::string sizes() {
  std::string text =
      "## What a row costs\n\nMeasured on disk, bytes per row with all that pages cost:\n\n"
      "| table | bytes | of a row with |\n|---|---|---|\n";
  for (const TableSpec& table : schema_tables())
    if (table.bytes_per_row > 0)
      text += fmt::format("| `{}` | {:.0f} | {} |\n", table.name, table.bytes_per_row,
                          table.bytes_note);
  return text + kSizes;
}

std::string columns_of(const std::vector<ColumnSpec>& columns) {
  std::string text;
  for (const ColumnSpec& column : columns) {
    text += fmt::format("| `{}` | {} | {} |\n", column.name,
                        column.type.substr(0, column.type.find(' ')), column.meaning);
  }
  return text;
}

// In a table's cell a bar would end the cell.
std::string escaped(std::string text) {
  for (size_t i = 0; (i = text.find('|', i)) != std::string::npos; i += 2) text.insert(i, "\\");
  return text;
}

std::vector<ColumnSpec> escaped(std::vector<ColumnSpec> columns) {
  for (ColumnSpec& column : columns) column.meaning = escaped(column.meaning);
  return columns;
}

}  // namespace

std::string schema_markdown() {
  std::string text = fmt::format(kIntroduction, kSchemaVersion) + sizes() + "\n## Tables\n";
  for (const TableSpec& table : schema_tables()) {
    text += fmt::format("\n### {}\n\n{}\n\n| column | type | meaning |\n|---|---|---|\n{}",
                        table.name, table.meaning, columns_of(escaped(table.columns)));
    if (!table.constraints.empty()) text += fmt::format("\n{}\n", table.constraints);
  }
  text += "\n## Views\n";
  for (const ViewSpec& view : schema_views()) {
    text +=
        fmt::format("\n### {}\n\n{}\n\n| column | meaning |\n|---|---|\n", view.name, view.meaning);
    for (const ColumnSpec& column : escaped(view.columns))
      text += fmt::format("| `{}` | {} |\n", column.name, column.meaning);
    text += fmt::format("\n```sql\n{}\n```\n", view.select);
  }
  return text;
}

}  // namespace plumb
