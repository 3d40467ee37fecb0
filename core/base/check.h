// CHECK: our own mistakes stop the program at once, with the place and the values.
// Input errors never come here; they are a Result (core/base/result.h).
#pragma once

#include <cstdio>
#include <cstdlib>

namespace plumb::internal {

[[noreturn]] inline void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "plumb: internal error: CHECK(%s) failed at %s:%d\n", what, file, line);
  std::abort();
}

}  // namespace plumb::internal

#define PLUMB_CHECK(condition)                                            \
  do {                                                                    \
    if (!(condition)) [[unlikely]]                                        \
      ::plumb::internal::check_failed(__FILE__, __LINE__, #condition);    \
  } while (false)
