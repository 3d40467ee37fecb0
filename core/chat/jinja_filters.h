// The filters, in two files by what they work on; jinja_filters.cpp has the table's lookup.
#pragma once

#include <span>

#include "core/chat/jinja_runtime.h"

namespace plumb::jinja {

struct Filter {
  std::string_view name;
  Value (*apply)(Runtime& runtime, const Value& value, const Arguments& arguments);
};

std::span<const Filter> text_filters();
std::span<const Filter> sequence_filters();

}  // namespace plumb::jinja
