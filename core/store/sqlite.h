// Opening a results file, and turning the library's exceptions into Results.
// Inside core/store only: the public ways in are run_writer.h and run_reader.h.
#pragma once

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace plumb {

enum class Access { kRead, kWrite, kCreate };  // kCreate: write, and make the file if it is missing

struct OpenOptions {
  Access access = Access::kRead;
  int busy_timeout_ms = 30'000;
  int64_t max_file_bytes = 0;  // 0: no limit
};

// WAL, foreign keys on, synchronous=NORMAL (a killed process loses nothing that was committed; a
// power cut may lose the last commits, never the file). Every reason not to open is one sentence
// that names the file, what was found and what was expected.
Result<std::unique_ptr<SQLite::Database>> open_results_file(const std::filesystem::path& path,
                                                            const OpenOptions& options);

// The sentence for a failure of the library while `doing` something to the file. Full disk, I/O
// and locks are kWork, a damaged file is kInput.
Error store_error(const std::filesystem::path& path, std::string_view doing,
                  const std::exception& failure);

// Runs `body` (which returns a Result) and turns an exception into store_error.
template <class Body>
auto guarded(const std::filesystem::path& path, std::string_view doing, Body&& body)
    -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& failure) {
    return store_error(path, doing, failure);
  }
}

// Binding by position, for statements with many columns: NaN, nullopt and -1 ids become NULL.
class Binder {
 public:
  explicit Binder(SQLite::Statement& statement) : statement_(statement) {}
  Binder& integer(int64_t value) { return statement_.bind(next_++, value), *this; }
  Binder& id(int32_t value) {
    if (value < 0)
      statement_.bind(next_++);
    else
      statement_.bind(next_++, value);
    return *this;
  }
  Binder& real(double value) { return statement_.bind(next_++, value), *this; }  // NaN is NULL
  Binder& text(std::string_view value) {
    return statement_.bind(next_++, std::string(value)), *this;
  }
  // `data` must outlive the step.
  Binder& blob(const void* data, size_t bytes) {
    return statement_.bindNoCopy(next_++, data, static_cast<int>(bytes)), *this;
  }
  Binder& maybe(const std::optional<int64_t>& value) {
    if (value) return integer(*value);
    return null();
  }
  Binder& maybe(const std::optional<double>& value) {
    if (value) return real(*value);
    return null();
  }
  Binder& null() { return statement_.bind(next_++), *this; }

 private:
  SQLite::Statement& statement_;
  int next_ = 1;
};

}  // namespace plumb
