// What the parts of a tokenizer.json have in common: {"type": "Name", ...options}.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/json.h"
#include "core/base/result.h"
#include "core/tokenizer/bpe.h"

namespace plumb {

// A text from outside for a message: in quotes, on one line, at most about 200 bytes of it.
std::string in_quotes(std::string_view text);

// An object without keys other than `known`: an option we do not know could change the ids.
Status check_keys(const Json& json, const std::string& where,
                  std::initializer_list<std::string_view> known);

// The "type" of a component. `json` that is no object, or has no type, is an error.
Result<std::string> component_type(const Json& json, const std::string& where);

Result<std::string> required_text(const Json& json, const std::string& where, const char* field);
Result<bool> flag_or(const Json& json, const std::string& where, const char* field, bool otherwise);

// The elements of a Sequence component, under the family's own key ("normalizers", "decoders").
Result<std::vector<const Json*>> sequence_elements(const Json& json, const std::string& where,
                                                   const char* key);

// The "vocab" object of `json`: token -> id, ids unique and below 2^22.
Result<TokenIds> parse_vocab(const Json& json, const std::string& where);

// One row of a family's table of components.
template <class Step>
struct ComponentRow {
  std::string_view type;
  Result<Step> (*parse)(const Json&, const std::string& where);
};

// Flattens nested Sequences into `steps`. An unknown type is an error that lists the known ones.
template <class Step>
Status parse_steps(const Json& json, const std::string& where, const char* sequence_key,
                   std::span<const ComponentRow<Step>> rows, std::vector<Step>& steps) {
  PLUMB_ASSIGN(const std::string type, component_type(json, where));
  if (type == std::string_view("Sequence")) {  // of the literal itself GCC 12 would warn
    PLUMB_ASSIGN(const auto elements, sequence_elements(json, where, sequence_key));
    for (const Json* element : elements)
      PLUMB_RETURN_IF_ERROR(parse_steps(*element, where, sequence_key, rows, steps));
    return ok_status();
  }
  std::string known;
  for (const auto& row : rows) {
    if (row.type == type) {
      PLUMB_ASSIGN(Step step, row.parse(json, where + " " + type));
      steps.push_back(std::move(step));
      return ok_status();
    }
    known += fmt::format(" {},", row.type);
  }
  return input_error("{}: type {} is not supported, expected one of{} Sequence", where,
                     in_quotes(type), known);
}

}  // namespace plumb
