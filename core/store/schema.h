// The schema of a results file: every table, column and view with its meaning, said once. Both the
// CREATE statements and notebooks-free-docs/schema.md are printed from here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumb {

inline constexpr int kSchemaVersion = 2;               // PRAGMA user_version
inline constexpr int64_t kApplicationId = 0x706c6d62;  // PRAGMA application_id, "plmb"

struct ColumnSpec {
  std::string name;
  std::string type;     // SQL type and constraints
  std::string meaning;  // with its unit
};

struct TableSpec {
  std::string name;
  std::string meaning;
  std::vector<ColumnSpec> columns;
  std::string constraints;     // the rest of CREATE TABLE, after the columns; "" if none
  bool without_rowid = false;  // stored in the order of the primary key, which costs no index
  double bytes_per_row = 0;    // measured on disk at typical values; 0: not a bulk table
  std::string bytes_note;      // what the measured row held
};

struct ViewSpec {
  std::string name;
  std::string meaning;
  std::vector<ColumnSpec> columns;  // type is for the reader only
  std::string select;
};

const std::vector<TableSpec>& schema_tables();
const std::vector<ViewSpec>& schema_views();

// All CREATE statements, user_version, application_id and the rows of `meta`.
std::string schema_sql();
// The whole of notebooks-free-docs/schema.md.
std::string schema_markdown();

}  // namespace plumb
