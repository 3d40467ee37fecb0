// How a verb joins the program: one file a verb, one line in main.cpp's table.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "core/base/result.h"

namespace plumb::cli {

// Set by the verb that was called; runs after parsing.
using Action = std::function<Status()>;

using AddVerb = void (*)(CLI::App& program, Action& action);

}  // namespace plumb::cli
