// The part of JSON schema that tools use; which keywords: see validate_call in tool_call.h.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/base/result.h"

namespace plumb {

// Is `schema` well formed, and does it use known keywords only? `where` names it in the error.
Status check_schema(const nlohmann::ordered_json& schema, const std::string& where);

// REQUIRES check_schema(schema). `path` names the value in the error: "get_weather.city".
Status validate_value(const nlohmann::ordered_json& schema, const nlohmann::ordered_json& value,
                      const std::string& path);

}  // namespace plumb
