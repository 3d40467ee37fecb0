// Tokens to syntax tree, by Jinja's grammar with the loop controls and `generation` extensions.
#pragma once

#include <string_view>

#include "core/chat/jinja_ast.h"

namespace plumb::jinja {

// REQUIRES valid UTF-8. Throws Failure with its line; what Jinja knows and this does not
// (include, import, extends, block, autoescape, print, recursive loops) fails by name.
Body parse_template(std::string_view source);

}  // namespace plumb::jinja
