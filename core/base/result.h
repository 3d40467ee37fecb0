// Result<T>: a value, or one sentence for the user.
//
//   Result<Checkpoint> open(path);
//   PLUMB_ASSIGN(Checkpoint checkpoint, open(path));   // returns the error to our caller
//   PLUMB_RETURN_IF_ERROR(validate(checkpoint));
//
// The sentence names the file, the field or tensor, what was found and what was expected.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>

#include "core/base/check.h"

namespace plumb {

enum class ErrorKind {
  kInput,  // the call or its input was wrong: exit status 2
  kWork,   // the work failed (disk full, ...): exit status 1
};

struct Error {
  ErrorKind kind = ErrorKind::kInput;
  std::string message;
};

template <class... Args>
Error input_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kInput, fmt::format(format, std::forward<Args>(args)...)};
}

template <class... Args>
Error work_error(fmt::format_string<Args...> format, Args&&... args) {
  return {ErrorKind::kWork, fmt::format(format, std::forward<Args>(args)...)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return content_.index() == 0; }
  // REQUIRES ok().
  T& value() & { PLUMB_CHECK(ok()); return std::get<0>(content_); }
  const T& value() const& { PLUMB_CHECK(ok()); return std::get<0>(content_); }
  T&& value() && { PLUMB_CHECK(ok()); return std::get<0>(std::move(content_)); }
  // REQUIRES !ok().
  const Error& error() const { PLUMB_CHECK(!ok()); return std::get<1>(content_); }

 private:
  std::variant<T, Error> content_;
};

struct Unit {};

// A Result without a value: `return ok_status();` or an Error.
using Status = Result<Unit>;
inline Status ok_status() { return Unit{}; }

}  // namespace plumb

#define PLUMB_CONCAT_INNER(a, b) a##b
#define PLUMB_CONCAT(a, b) PLUMB_CONCAT_INNER(a, b)

#define PLUMB_RETURN_IF_ERROR(expression)                          \
  do {                                                             \
    if (auto plumb_status = (expression); !plumb_status.ok())      \
      return plumb_status.error();                                 \
  } while (false)

#define PLUMB_ASSIGN_INNER(temporary, target, expression) \
  auto temporary = (expression);                          \
  if (!temporary.ok()) return temporary.error();          \
  target = std::move(temporary).value()

// The target may be a declaration.
#define PLUMB_ASSIGN(target, ...) \
  PLUMB_ASSIGN_INNER(PLUMB_CONCAT(plumb_result_, __LINE__), target, (__VA_ARGS__))
