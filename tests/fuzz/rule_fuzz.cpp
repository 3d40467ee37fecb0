// An exit rule; what it parses to must parse again to the same.
#include "core/base/check.h"
#include "core/exit/rule.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto rule = plumb::Rule::parse({reinterpret_cast<const char*>(data), size});
  if (!rule.ok()) return 0;
  const std::string canonical = rule.value().canonical();
  const auto again = plumb::Rule::parse(canonical);
  PLUMB_CHECK(again.ok());
  PLUMB_CHECK(again.value().canonical() == canonical);
  return 0;
}
