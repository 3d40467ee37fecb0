// A chat template from a checkpoint, parsed and run over a short conversation with a tool.
#include "core/chat/chat_template.h"

#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto messages = plumb::OrderedJson::parse(
      R"([{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
          {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}])");
  static const auto tools = plumb::OrderedJson::parse(
      R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])");
  const auto parsed = plumb::ChatTemplate::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!parsed.ok()) return 0;
  plumb::ChatInput input;
  input.messages = &messages;
  input.tools = &tools;
  input.now = std::tm{};
  (void)parsed.value().render(input).ok();
  return 0;
}
