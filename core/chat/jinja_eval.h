// Runs a syntax tree.
#pragma once

#include <ctime>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/chat/jinja_ast.h"

namespace plumb::jinja {

using Variables = std::vector<std::pair<std::string_view, const nlohmann::ordered_json*>>;

// The text the template produces, as Python's jinja2 does, with one known difference: where a macro
// or an inner block reads a variable of the conversation before the enclosing block sets one of the
// same name, jinja2 finds it undefined and we still find the conversation's.
//
// `now` is what strftime_now sees; absent: the local time.
// Throws Failure with the line of the template.
std::string render(const Body& body, const Variables& variables, std::optional<std::tm> now);

}  // namespace plumb::jinja
