#include "core/io/pickle_json.h"

#include <nlohmann/json.hpp>

#include "core/io/tensor_info.h"

namespace plumb {
namespace {

constexpr size_t kMaxCfgBytes = size_t{16} << 20;

class JsonMaker {
 public:
  JsonMaker(const Pickle& pickle, const std::string& where) : pickle_(pickle), where_(where) {}

  // The fields of a dict or object. Those holding tensors are left out and named in `left_out`.
  Result<Json> fields(PickleId map);
  std::vector<std::string> left_out;

 private:
  Result<Json> value(PickleId id);  // a discarded Json stands for what JSON cannot say
  Result<Json> list(PickleId id);
  Status spend(size_t bytes);

  const Pickle& pickle_;
  const std::string& where_;
  size_t left_ = kMaxCfgBytes;
};

Status JsonMaker::spend(size_t bytes) {
  if (bytes > left_)
    return input_error("{}: its cfg is larger than {} bytes", where_, kMaxCfgBytes);
  left_ -= bytes;
  return ok_status();
}

Result<Json> JsonMaker::fields(PickleId map) {
  Json object = Json::object();
  const auto items = pickle_.items(map);
  for (size_t i = 0; i < items.size(); i += 2) {
    const bool is_text = pickle_.kind(items[i]) == PickleKind::kText;
    const std::string key =
        is_text ? std::string(pickle_.text(items[i])) : std::to_string(pickle_.integer(items[i]));
    PLUMB_RETURN_IF_ERROR(spend(64 + key.size()));
    PLUMB_ASSIGN(Json field, value(items[i + 1]));
    if (field.is_discarded()) {
      left_out.push_back(quote_name(key));
      continue;
    }
    if (!object.emplace(key, std::move(field)).second)
      return input_error("{}: its cfg holds the key {} as a text and as a number", where_,
                         quote_name(key));
  }
  return object;
}

Result<Json> JsonMaker::list(PickleId id) {
  Json array = Json::array();
  for (const PickleId item : pickle_.items(id)) {
    PLUMB_ASSIGN(Json element, value(item));
    if (element.is_discarded()) return element;
    array.push_back(std::move(element));
  }
  return array;
}

Result<Json> JsonMaker::value(PickleId id) {
  PLUMB_RETURN_IF_ERROR(spend(32));
  switch (pickle_.kind(id)) {
    case PickleKind::kNone:
      return Json(nullptr);
    case PickleKind::kBool:
      return Json(pickle_.integer(id) != 0);
    case PickleKind::kInt:
      return Json(pickle_.integer(id));
    case PickleKind::kFloat:
      return Json(pickle_.number(id));
    case PickleKind::kText:
      PLUMB_RETURN_IF_ERROR(spend(pickle_.text(id).size()));
      return Json(std::string(pickle_.text(id)));
    case PickleKind::kList:
    case PickleKind::kTuple:
      return list(id);
    case PickleKind::kMap:
    case PickleKind::kObject:
      return fields(id);
    default:
      return Json(Json::value_t::discarded);
  }
}

}  // namespace

Result<Json> pickle_fields_as_json(const Pickle& pickle, PickleId map, const std::string& where,
                                   std::vector<std::string>& left_out) {
  JsonMaker maker(pickle, where);
  PLUMB_ASSIGN(Json object, maker.fields(map));
  left_out = std::move(maker.left_out);
  return object;
}

}  // namespace plumb
