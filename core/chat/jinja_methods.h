// Tables of methods: those of str have a file of their own.
#pragma once

#include <span>
#include <string_view>

#include "core/chat/jinja_runtime.h"

namespace plumb::jinja {

struct MethodEntry {
  std::string_view name;
  // nullptr: Python has it, we do not.
  Value (*call)(Runtime& runtime, const Value& self, const Arguments& arguments);
};

std::span<const MethodEntry> text_methods();

}  // namespace plumb::jinja
