#include "core/io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = plumb::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
  if (!file.ok()) return 0;
  for (const plumb::TensorInfo& tensor : file.value().tensors) (void)plumb::read_f32(tensor).ok();
  return 0;
}
