// bos, eos, pad and unk, as the files beside a tokenizer name them (declared in tokenizer.h).
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/json.h"
#include "core/tokenizer/component.h"
#include "core/tokenizer/tokenizer.h"

namespace plumb {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSettingsBytes = size_t{16} << 20;

struct Role {
  const char* name;
  std::optional<TokenId> SpecialTokens::*id;
  bool must_exist;
};
constexpr Role kRoles[] = {
    {"bos", &SpecialTokens::bos, true},
    {"eos", &SpecialTokens::eos, true},
    {"pad", &SpecialTokens::pad, false},
    {"unk", &SpecialTokens::unk, false},
};

bool is_eos(const Role& role) { return role.id == &SpecialTokens::eos; }

void take(const Role& role, TokenId id, SpecialTokens& tokens) {
  if (!(tokens.*role.id)) tokens.*role.id = id;
  auto& all = tokens.eos_ids;
  if (is_eos(role) && std::find(all.begin(), all.end(), id) == all.end()) all.push_back(id);
}

// "bos_token": "<s>" or {"content": "<s>", ...}.
Status read_names(const Json& json, const std::string& where, const Tokenizer& tokenizer,
                  SpecialTokens& tokens) {
  for (const Role& role : kRoles) {
    const std::string field = fmt::format("{}_token", role.name);
    const auto found = json.find(field);
    if (found == json.end() || found->is_null()) continue;
    const Json* name = &*found;
    if (name->is_object() && name->contains("content")) name = &(*name)["content"];
    if (!name->is_string())
      return input_error("{}: field \"{}\" is {}, expected a token or an object with its content",
                         where, field, found->type_name());
    const auto& text = name->get_ref<const std::string&>();
    const auto id = tokenizer.token_id(text);
    if (!id && role.must_exist)
      return input_error("{}: field \"{}\" is {}, expected a token of the vocabulary", where, field,
                         in_quotes(text));
    if (id) take(role, *id, tokens);
  }
  return ok_status();
}

// "eos_token_id": 2 or [2, 5].
Status read_ids(const Json& json, const std::string& where, const Tokenizer&,
                SpecialTokens& tokens) {
  for (const Role& role : kRoles) {
    const std::string field = fmt::format("{}_token_id", role.name);
    const auto found = json.find(field);
    if (found == json.end() || found->is_null()) continue;
    const Json list = found->is_array() ? *found : Json::array({*found});
    if (!is_eos(role) && list.size() != 1)
      return input_error("{}: field \"{}\" has {} ids, expected one", where, field, list.size());
    for (const Json& id : list) {
      if (!role.must_exist && id == -1) continue;  // "none", as early Llama files write it
      if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<TokenId>::max())
        return input_error("{}: field \"{}\" is {}, expected token ids", where, field,
                           id.is_number() ? id.dump() : id.type_name());
      take(role, id.get<TokenId>(), tokens);
    }
  }
  return ok_status();
}

struct Source {
  const char* file;
  Status (*read)(const Json&, const std::string&, const Tokenizer&, SpecialTokens&);
};
constexpr Source kSources[] = {
    {"tokenizer_config.json", read_names},
    {"special_tokens_map.json", read_names},
    {"generation_config.json", read_ids},
};

}  // namespace

Result<SpecialTokens> special_tokens(const fs::path& directory, const Tokenizer& tokenizer) {
  SpecialTokens tokens;
  for (const Source& source : kSources) {
    for (const fs::path& folder : {directory, directory / "tokenizer"}) {
      const fs::path path = folder / source.file;
      std::error_code ignored;
      if (!fs::exists(path, ignored)) continue;
      PLUMB_ASSIGN(const Json json, read_json_file(path, kMaxSettingsBytes));
      if (!json.is_object())
        return input_error("{}: is {}, expected an object", path.string(), json.type_name());
      PLUMB_RETURN_IF_ERROR(source.read(json, path.string(), tokenizer, tokens));
    }
  }
  return tokens;
}

}  // namespace plumb
