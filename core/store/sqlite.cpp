#include "core/store/sqlite.h"

#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Transaction.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "core/store/schema.h"

namespace plumb {
namespace fs = std::filesystem;
namespace {

constexpr int kPageBytes = 16384;  // bulk tables insert faster than with the default 4096

// The file itself is never opened here beside the library: closing it again would drop the locks
// that this process holds on it through other connections (POSIX locks belong to the process), and
// another process that ends would then take away the log they write to.
bool may(const fs::path& path, int mode) {
  return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
}
bool may_write(const fs::path& path) { return may(path, W_OK); }

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// What can be said before the library sees the file. Its own messages ("unable to open database
// file") do not tell a missing directory from a forbidden one.
Status check_place(const fs::path& path, Access access) {
  std::error_code ignored;
  const fs::path directory = directory_of(path);
  if (!fs::is_directory(directory, ignored))
    return input_error("{}: the directory {} of this results file does not exist", path.string(),
                       directory.string());
  if (!fs::exists(path, ignored)) {
    if (access != Access::kCreate)
      return input_error("{}: no such file, expected a results file", path.string());
    if (!may_write(directory))
      return input_error("{}: the directory {} is not writable, expected to make a results file",
                         path.string(), directory.string());
    return ok_status();
  }
  if (!fs::is_regular_file(path, ignored))
    return input_error("{}: found something other than a regular file, expected a results file",
                       path.string());
  if (!may(path, R_OK)) return input_error("{}: the results file is not readable", path.string());
  if (access != Access::kRead && !may_write(path))
    return input_error("{}: the results file is not writable", path.string());
  // The write-ahead log lies beside the file.
  if (access != Access::kRead && !may_write(directory))
    return input_error("{}: the directory {} of this results file is not writable", path.string(),
                       directory.string());
  return ok_status();
}

int64_t pragma_integer(SQLite::Database& db, const char* sql) {
  return db.execAndGet(sql).getInt64();
}

bool is_fresh(SQLite::Database& db) {
  return pragma_integer(db, "PRAGMA user_version") == 0 &&
         pragma_integer(db, "SELECT count(*) FROM sqlite_master") == 0;
}

// Changing the journal mode does not wait for other processes by itself.
void enter_wal(SQLite::Database& db, int busy_timeout_ms) {
  const auto give_up =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(busy_timeout_ms);
  while (true) {
    try {
      if (db.execAndGet("PRAGMA journal_mode = WAL").getString() == "wal") return;
      throw SQLite::Exception("the file system does not support a write-ahead log",
                              SQLITE_CANTOPEN);
    } catch (const SQLite::Exception& failure) {
      if (failure.getErrorCode() != SQLITE_BUSY || std::chrono::steady_clock::now() > give_up)
        throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

void create_schema(SQLite::Database& db, int busy_timeout_ms) {
  db.exec(fmt::format("PRAGMA page_size = {}", kPageBytes));
  enter_wal(db, busy_timeout_ms);
  SQLite::Transaction transaction(db, SQLite::TransactionBehavior::IMMEDIATE);
  if (is_fresh(db)) db.exec(schema_sql());  // else another process was quicker
  transaction.commit();
}

Status check_version(SQLite::Database& db, const fs::path& path) {
  const int64_t version = pragma_integer(db, "PRAGMA user_version");
  if (version != kSchemaVersion)
    return input_error("{}: found schema version {}, expected {}{}", path.string(), version,
                       kSchemaVersion, version == 0 ? ": not a plumb results file" : "");
  const int64_t application = pragma_integer(db, "PRAGMA application_id");
  if (application != kApplicationId)
    return input_error("{}: found application id {:#x}, expected {:#x}: not a plumb results file",
                       path.string(), application, kApplicationId);
  return ok_status();
}

std::string percent_encoded(const fs::path& path) {
  std::string encoded;
  for (const unsigned char c : fs::absolute(path).string()) {
    if (std::isalnum(c) || c == '/' || c == '-' || c == '_' || c == '.')
      encoded += char(c);
    else
      encoded += fmt::format("%{:02X}", c);
  }
  return encoded;
}

std::unique_ptr<SQLite::Database> connect(const fs::path& path, const OpenOptions& options) {
  int flags = SQLite::OPEN_NOMUTEX;
  std::string name = path.string();
  if (options.access == Access::kCreate) {
    flags |= SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE;
  } else if (options.access == Access::kWrite ||
             (may_write(path) && may_write(directory_of(path)))) {
    // Readers that may write do so, to tidy up the log when they are the last to close.
    flags |= SQLite::OPEN_READWRITE;
  } else {
    flags |= SQLite::OPEN_READONLY;
    std::error_code ignored;
    if (!may_write(directory_of(path)) && !fs::exists(path.string() + "-wal", ignored)) {
      // A finished file on read-only storage has no log, and none can be made.
      flags |= SQLite::OPEN_URI;
      name = "file:" + percent_encoded(path) + "?immutable=1";
    }
  }
  // A name such as ":memory:" or "file:x" would mean something else to the library.
  if (!(flags & SQLite::OPEN_URI)) name = fs::absolute(path).string();
  return std::make_unique<SQLite::Database>(name, flags, options.busy_timeout_ms);
}

void set_limits(SQLite::Database& db, const OpenOptions& options) {
  db.exec("PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536");
  if (options.access == Access::kRead)
    db.exec("PRAGMA query_only = ON; PRAGMA mmap_size = 268435456");
  if (options.max_file_bytes > 0)
    db.execAndGet(fmt::format("PRAGMA max_page_count = {}",
                              options.max_file_bytes / pragma_integer(db, "PRAGMA page_size")));
}

}  // namespace

Result<std::unique_ptr<SQLite::Database>> open_results_file(const fs::path& path,
                                                            const OpenOptions& options) {
  PLUMB_RETURN_IF_ERROR(check_place(path, options.access));
  return guarded(path, "opening", [&]() -> Result<std::unique_ptr<SQLite::Database>> {
    auto db = connect(path, options);
    if (options.access == Access::kCreate && is_fresh(*db))
      create_schema(*db, options.busy_timeout_ms);
    PLUMB_RETURN_IF_ERROR(check_version(*db, path));
    set_limits(*db, options);
    return db;
  });
}

Error store_error(const fs::path& path, std::string_view doing, const std::exception& failure) {
  const auto* sqlite = dynamic_cast<const SQLite::Exception*>(&failure);
  const std::string name = path.string();
  switch (sqlite == nullptr ? SQLITE_ERROR : sqlite->getErrorCode() & 0xff) {
    case SQLITE_FULL:
      return work_error("{}: no space left while {}; what was committed before is kept", name,
                        doing);
    case SQLITE_IOERR:
      return work_error("{}: {} while {}; what was committed before is kept", name, failure.what(),
                        doing);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return work_error("{}: locked by another process for too long while {}", name, doing);
    case SQLITE_NOTADB:
      return input_error("{}: not a database, expected an SQLite results file", name);
    case SQLITE_CORRUPT:
      return input_error("{}: damaged ({}) while {}, expected an intact results file", name,
                         failure.what(), doing);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      return input_error("{}: {} while {}", name, failure.what(), doing);
    default:
      return work_error("{}: {} while {}", name, failure.what(), doing);
  }
}

}  // namespace plumb
