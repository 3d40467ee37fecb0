// Many rows into one table: 64 rows a statement, so that SQLite keeps its place at the end of the
// B-tree instead of searching it for every row: 660 thousand rows of `steps` a CPU second where one
// row a statement makes 430.
// Inside core/store only. Throws what SQLiteCpp throws.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <sqlite3.h>

#include <string>
#include <string_view>
#include <vector>

namespace plumb {

class BulkInsert {
 public:
  static constexpr size_t kRowsPerStatement = 64;

  // Binds the cells of a row one after the other. NaN becomes NULL.
  class Row {
   public:
    Row& integer(int64_t value) { return check(sqlite3_bind_int64(statement_, ++index_, value)); }
    Row& real(double value) { return check(sqlite3_bind_double(statement_, ++index_, value)); }
    // -1 is NULL.
    Row& id(int32_t value) {
      return value < 0 ? check(sqlite3_bind_null(statement_, ++index_)) : integer(value);
    }
    // The characters must stay until the insert returns.
    Row& text(std::string_view value) {
      return check(sqlite3_bind_text(statement_, ++index_, value.empty() ? "" : value.data(),
                                     static_cast<int>(value.size()), SQLITE_STATIC));
    }
    Row& blob(const std::vector<std::byte>& bytes) {
      return check(
          sqlite3_bind_blob64(statement_, ++index_, bytes.data(), bytes.size(), SQLITE_STATIC));
    }

   private:
    friend class BulkInsert;
    explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
    Row& check(int code) {
      if (code != SQLITE_OK) throw SQLite::Exception(sqlite3_db_handle(statement_), code);
      return *this;
    }

    sqlite3_stmt* statement_;
    int index_ = 0;
  };

  // `columns` are names separated by commas; `db` must outlive this.
  BulkInsert(SQLite::Database& db, const std::string& table, const std::string& columns);
  BulkInsert(const BulkInsert&) = delete;
  BulkInsert& operator=(const BulkInsert&) = delete;
  ~BulkInsert();

  // bind(Row&, item) binds every column in order.
  template <class Item, class Bind>
  void insert(const std::vector<Item>& items, Bind&& bind) {
    size_t i = 0;
    for (; items.size() - i >= kRowsPerStatement; i += kRowsPerStatement) {
      Row row(many_);
      for (size_t j = 0; j < kRowsPerStatement; ++j) bind(row, items[i + j]);
      run(many_);
    }
    for (; i < items.size(); ++i) {
      Row row(one_);
      bind(row, items[i]);
      run(one_);
    }
  }

 private:
  void run(sqlite3_stmt* statement);

  sqlite3* db_;
  sqlite3_stmt* one_ = nullptr;
  sqlite3_stmt* many_ = nullptr;
};

}  // namespace plumb
