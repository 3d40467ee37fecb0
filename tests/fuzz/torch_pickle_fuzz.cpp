#include "core/io/torch_pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto storage_bytes = [](const std::string&) { return std::optional<size_t>(96); };
  (void)plumb::parse_torch_pickle(std::as_bytes(std::span(data, size)), "fuzz", storage_bytes).ok();
  return 0;
}
