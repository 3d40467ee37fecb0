// A tokenizer.json, and then a text through whatever it describes. The input is the file, a zero
// byte, and the text.
#include "core/tokenizer/hf_tokenizer.h"

#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const auto json = plumb::parse_json(std::string(input.substr(0, end)), "fuzz");
  if (!json.ok()) return 0;
  const auto tokenizer = plumb::HfTokenizer::parse(json.value(), "fuzz");
  if (!tokenizer.ok()) return 0;
  const std::string_view text = end == std::string_view::npos ? "a 12\nb" : input.substr(end + 1);
  const auto ids = tokenizer.value()->encode(text, {.add_specials = true});
  (void)tokenizer.value()->decode(ids, {}).ok();
  for (const plumb::TokenId id : ids) (void)tokenizer.value()->piece(id);
  return 0;
}
