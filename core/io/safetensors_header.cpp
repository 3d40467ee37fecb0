// The JSON header, read as a stream of events: the wrong shape of document is refused at its first
// wrong value, before a tree of it is built, and a repeated name is seen (a tree would hide it).
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/base/json.h"
#include "core/io/safetensors.h"

namespace plumb {
namespace {

constexpr size_t kMaxDimensions = 32;

class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& where) : where_(where) {}

  SafetensorsHeader header;
  std::string error;  // set when a handler returned false

  bool start_object(size_t) override {
    if (state_ == State::kStart) return enter(State::kNames);
    if (state_ != State::kNames) return refuse_value("an object");
    if (name_ == "__metadata__") return enter(State::kMetadata);
    entry_ = {.name = name_};
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return enter(State::kTensor);
  }

  bool key(std::string& text) override {
    if (state_ == State::kNames) {
      name_ = text;
      if (!names_.insert(text).second) return refuse("tensor {} appears twice", quote_name(text));
      return true;
    }
    if (state_ == State::kMetadata) {
      field_ = text;
      if (header.metadata.contains(text))
        return refuse("__metadata__ key {} appears twice", quote_name(text));
      return true;
    }
    return tensor_field(text);
  }

  bool end_object() override {
    if (state_ == State::kTensor && !finish_tensor()) return false;
    return enter(state_ == State::kNames ? State::kDone : State::kNames);
  }

  bool start_array(size_t) override {
    if (state_ == State::kTensor && field_ == "shape") return enter(State::kShape);
    if (state_ == State::kTensor && field_ == "data_offsets") return enter(State::kOffsets);
    return refuse_value("an array");
  }
  bool end_array() override { return enter(State::kTensor); }

  bool string(std::string& text) override {
    if (state_ == State::kMetadata) {
      header.metadata.emplace(field_, std::move(text));
      return true;
    }
    if (state_ != State::kTensor || field_ != "dtype") return refuse_value("a string");
    entry_.dtype = std::move(text);
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (state_ == State::kShape) return extent(value);
    if (state_ != State::kOffsets) return refuse_value("a number");
    if (n_offsets_ == 2) return refuse("tensor {}: more than two data_offsets", quote_name(name_));
    (n_offsets_++ == 0 ? entry_.begin : entry_.end) = value;
    return true;
  }
  bool number_integer(int64_t value) override { return refuse_number(std::to_string(value)); }
  bool number_float(double, const std::string& text) override { return refuse_number(text); }
  bool null() override { return refuse_value("null"); }
  bool boolean(bool) override { return refuse_value("true or false"); }
  bool binary(Json::binary_t&) override { return refuse_value("binary data"); }

  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return refuse("the header is not valid JSON at its byte {}", position);
  }

 private:
  enum class State { kStart, kNames, kTensor, kShape, kOffsets, kMetadata, kDone };

  bool enter(State state) {
    state_ = state;
    return true;
  }

  template <class... Args>
  bool refuse(fmt::format_string<Args...> format, Args&&... args) {
    error = where_ + ": " + fmt::format(format, std::forward<Args>(args)...);
    return false;
  }

  bool refuse_value(const char* found) {
    if (state_ == State::kNames)
      return refuse("entry {} is {}, expected an object", quote_name(name_), found);
    if (state_ == State::kMetadata)
      return refuse("__metadata__ key {} is {}, expected a string", quote_name(field_), found);
    return refuse("tensor {}: field {} holds {}, expected {}", quote_name(name_),
                  quote_name(field_), found,
                  field_ == "dtype" ? "a string" : "a list of whole numbers");
  }

  bool refuse_number(const std::string& text) {
    if (state_ != State::kShape && state_ != State::kOffsets) return refuse_value("a number");
    return refuse("tensor {}: field {} holds {}, expected whole numbers from 0 up",
                  quote_name(name_), quote_name(field_), text.substr(0, 40));
  }

  bool tensor_field(const std::string& text) {
    field_ = text;
    bool* seen = text == "dtype"          ? &has_dtype_
                 : text == "shape"        ? &has_shape_
                 : text == "data_offsets" ? &has_offsets_
                                          : nullptr;
    if (seen == nullptr)
      return refuse("tensor {} has the unknown field {}", quote_name(name_), quote_name(text));
    if (*seen)
      return refuse("tensor {}: field {} appears twice", quote_name(name_), quote_name(text));
    *seen = true;
    if (text == "data_offsets") n_offsets_ = 0;
    return true;
  }

  bool extent(uint64_t value) {
    if (value > static_cast<uint64_t>(INT64_MAX)) return refuse_number(std::to_string(value));
    if (entry_.shape.size() == kMaxDimensions)
      return refuse("tensor {} has more than {} dimensions", quote_name(name_), kMaxDimensions);
    entry_.shape.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool finish_tensor() {
    const char* missing = !has_dtype_     ? "dtype"
                          : !has_shape_   ? "shape"
                          : !has_offsets_ ? "data_offsets"
                                          : nullptr;
    if (missing != nullptr)
      return refuse("tensor {} has no field \"{}\"", quote_name(name_), missing);
    if (n_offsets_ != 2) return refuse("tensor {}: fewer than two data_offsets", quote_name(name_));
    header.entries.push_back(std::move(entry_));
    return true;
  }

  const std::string& where_;
  State state_ = State::kStart;
  std::string name_, field_;
  SafetensorsEntry entry_;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  int n_offsets_ = 0;
  std::unordered_set<std::string> names_;
};

}  // namespace

Result<SafetensorsHeader> parse_safetensors_header(std::string_view json,
                                                   const std::string& where) {
  try {
    HeaderReader reader(where);
    if (!Json::sax_parse(json, &reader)) return Error{ErrorKind::kInput, reader.error};
    return Result<SafetensorsHeader>(std::move(reader.header));
  } catch (const std::exception& e) {
    return work_error("{}: the header cannot be read: {}", where, e.what());
  }
}

}  // namespace plumb
