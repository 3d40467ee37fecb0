#include "core/tokenizer/component.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace plumb {
namespace {

constexpr size_t kMaxVocab = size_t{1} << 22;
constexpr size_t kMaxQuoted = 200;

}  // namespace

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (size_t pos = 0; pos < text.size(); ++pos) {
    const char c = text[pos];
    // Cut at the start of a character.
    if (pos >= kMaxQuoted && (c & 0xC0) != 0x80) {
      out += "...";
      break;
    }
    if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02X}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

Status check_keys(const Json& json, const std::string& where,
                  std::initializer_list<std::string_view> known) {
  if (!json.is_object())
    return input_error("{}: is {}, expected an object", where, json.type_name());
  for (const auto& [key, value] : json.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return input_error("{}: unknown field {}", where, in_quotes(key));
  return ok_status();
}

Result<std::string> component_type(const Json& json, const std::string& where) {
  if (!json.is_object())
    return input_error("{}: is {}, expected an object", where, json.type_name());
  return required_text(json, where, "type");
}

Result<std::string> required_text(const Json& json, const std::string& where, const char* field) {
  PLUMB_ASSIGN(auto text, JsonFields(json, where).text(field));
  if (!text) return input_error("{}: field \"{}\" is missing", where, field);
  return std::move(*text);
}

Result<bool> flag_or(const Json& json, const std::string& where, const char* field,
                     bool otherwise) {
  PLUMB_ASSIGN(const auto flag, JsonFields(json, where).boolean(field));
  return flag.value_or(otherwise);
}

Result<std::vector<const Json*>> sequence_elements(const Json& json, const std::string& where,
                                                   const char* key) {
  PLUMB_RETURN_IF_ERROR(check_keys(json, where, {"type", key}));
  const auto found = json.find(key);
  if (found == json.end() || !found->is_array())
    return input_error("{}: a Sequence without a list \"{}\"", where, key);
  std::vector<const Json*> elements;
  for (const Json& element : *found) elements.push_back(&element);
  return elements;
}

Result<TokenIds> parse_vocab(const Json& json, const std::string& where) {
  const auto found = json.find("vocab");
  if (found == json.end() || !found->is_object())
    return input_error("{}: field \"vocab\" is missing or not an object", where);
  if (found->size() > kMaxVocab)
    return input_error("{}: vocab has {} tokens, expected at most {}", where, found->size(),
                       kMaxVocab);
  TokenIds vocab;
  vocab.reserve(found->size());
  std::vector<bool> taken;
  for (const auto& [token, value] : found->items()) {
    if (!value.is_number_integer() || value < 0 || value >= kMaxVocab)
      return input_error("{}: vocab gives {} the id {}, expected a whole number below {}", where,
                         in_quotes(token), value.is_number() ? value.dump() : value.type_name(),
                         kMaxVocab);
    const auto id = value.get<size_t>();
    if (id >= taken.size()) taken.resize(id + 1);
    if (taken[id]) return input_error("{}: vocab gives the id {} twice", where, id);
    taken[id] = true;
    vocab.emplace(token, static_cast<TokenId>(id));
  }
  return vocab;
}

}  // namespace plumb
