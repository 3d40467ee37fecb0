// The gnuplot process.
#pragma once

#include <filesystem>

#include "core/base/result.h"

namespace plumb {

// Runs `gnuplot SCRIPT` in the script's folder, without a shell and without the user's gnuplot
// settings, and waits for it. kWork when it is not installed or fails; the sentence has its
// message.
Status run_gnuplot(const std::filesystem::path& script);

}  // namespace plumb
