// A sweep's SPEC.json; what was read and resolved must be read again to the same.
#include <nlohmann/json.hpp>

#include "core/base/check.h"
#include "core/base/json.h"
#include "experiments/spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = plumb::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!json.ok()) return 0;
  auto spec = plumb::spec_from_json(json.value(), "fuzz");
  if (!spec.ok() || !spec.value().resolve().ok()) return 0;
  const plumb::Json written = plumb::spec_to_json(spec.value());
  const auto again = plumb::spec_from_json(written, "fuzz");
  PLUMB_CHECK(again.ok());
  PLUMB_CHECK(plumb::spec_to_json(again.value()) == written);
  return 0;
}
