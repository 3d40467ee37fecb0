#include "core/store/bulk_insert.h"

#include <algorithm>

namespace plumb {
namespace {

sqlite3_stmt* prepared(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(db, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) throw SQLite::Exception(db, code);
  return statement;
}

}  // namespace

BulkInsert::BulkInsert(SQLite::Database& db, const std::string& table, const std::string& columns)
    : db_(db.getHandle()) {
  const auto n_columns = 1 + std::count(columns.begin(), columns.end(), ',');
  std::string marks = "(?";
  for (auto i = n_columns - 1; i > 0; --i) marks += ",?";
  marks += ")";
  std::string sql = "INSERT INTO " + table + " (" + columns + ") VALUES " + marks;
  one_ = prepared(db_, sql);
  for (size_t i = 1; i < kRowsPerStatement; ++i) sql += "," + marks;
  try {
    many_ = prepared(db_, sql);
  } catch (...) {
    sqlite3_finalize(one_);
    throw;
  }
}

BulkInsert::~BulkInsert() {
  sqlite3_finalize(one_);
  sqlite3_finalize(many_);
}

void BulkInsert::run(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement);
    return;
  }
  const SQLite::Exception failure(db_, code);  // before the reset, which forgets the message
  sqlite3_reset(statement);
  throw failure;
}

}  // namespace plumb
