// The state of a RunReader, shared by its two sources: run_reader.cpp (life of a file) and
// bulk_read.cpp (tokens, steps, latents).
#pragma once

#include "core/store/run_reader.h"
#include "core/store/sqlite.h"

namespace plumb {

struct RunReader::Impl {
  std::filesystem::path path;
  std::unique_ptr<SQLite::Database> db;

  // Calls `each(statement)` for every row of `sql` with `ids` bound to its ?1, ?2, ...
  template <class Each>
  void for_each(const std::string& sql, std::initializer_list<std::optional<int64_t>> ids,
                Each&& each) {
    SQLite::Statement query(*db, sql);
    Binder binder(query);
    for (const auto& id : ids) binder.maybe(id);
    while (query.executeStep()) each(query);
  }
};

inline std::optional<int64_t> optional_integer(SQLite::Statement& query, int column) {
  if (query.getColumn(column).isNull()) return std::nullopt;
  return query.getColumn(column).getInt64();
}
inline std::optional<double> optional_real(SQLite::Statement& query, int column) {
  if (query.getColumn(column).isNull()) return std::nullopt;
  return query.getColumn(column).getDouble();
}

}  // namespace plumb
