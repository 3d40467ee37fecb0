#include "core/io/torch_file.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "core/io/pickle_json.h"
#include "core/io/torch_pickle.h"
#include "core/io/zip_reader.h"

namespace plumb {
namespace {

constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxSmallRecord = 64;
// Views gathered out of one storage may repeat it; this bounds how often, over the whole file.
constexpr size_t kGatherFactor = 4;

class TorchReader {
 public:
  TorchReader(const ZipReader& zip, const std::string& where, const TorchReadOptions& options)
      : zip_(zip), where_(where), options_(options) {}

  Result<TorchFile> read(size_t file_bytes);

 private:
  Status find_stem();
  Status check_header() const;
  Result<std::string> small_record(const ZipEntry& entry) const;
  Result<Pickle> read_pickle() const;
  Result<PickleId> find_model(const Pickle& pickle);
  bool all_tensors(const Pickle& pickle, PickleId map) const;
  Status read_cfg(const Pickle& pickle, PickleId model);
  Status read_tensors(const Pickle& pickle, PickleId model);
  Result<TensorInfo> make_tensor(const Pickle& pickle, const PickleTensor& view, std::string name);
  Result<std::span<const std::byte>> storage_data(const PickleStorage& storage);
  Status gather(const PickleTensor& view, std::span<const std::byte> storage, TensorInfo& tensor);

  const ZipReader& zip_;
  const std::string& where_;
  const TorchReadOptions options_;
  std::string stem_;                                            // "archive/"
  std::map<std::string, std::span<const std::byte>> storages_;  // read and verified
  size_t n_gathered_ = 0;
  TorchFile result_;
};

Status TorchReader::find_stem() {
  if (zip_.entries().empty()) return input_error("{}: the zip file is empty", where_);
  const std::string& first = zip_.entries()[0].name;
  stem_ = first.substr(0, first.find('/') + 1);
  for (const ZipEntry& entry : zip_.entries())
    if (stem_.size() < 2 || !entry.name.starts_with(stem_))
      return input_error(
          "{}: zip entry {} is not in one common folder with the others, as torch.save writes them",
          where_, quote_name(entry.name));
  return ok_status();
}

Result<std::string> TorchReader::small_record(const ZipEntry& entry) const {
  if (entry.size > kMaxSmallRecord)
    return input_error("{}: record {} has {} bytes, expected at most {}", where_,
                       quote_name(entry.name), entry.size, kMaxSmallRecord);
  PLUMB_ASSIGN(const auto data, zip_.read(entry, options_.check_crc));
  std::string text(reinterpret_cast<const char*>(data.data()), data.size());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

Status TorchReader::check_header() const {
  const ZipEntry* version = zip_.find(stem_ + "version");
  if (version == nullptr) version = zip_.find(stem_ + ".data/version");
  if (version == nullptr)
    return input_error("{}: no record {}version, expected a file of torch.save", where_, stem_);
  PLUMB_ASSIGN(const std::string number, small_record(*version));
  if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos)
    return input_error("{}: its format version is {}, expected a number", where_,
                       quote_name(number));
  const ZipEntry* byteorder = zip_.find(stem_ + "byteorder");
  if (byteorder == nullptr) return ok_status();
  PLUMB_ASSIGN(const std::string order, small_record(*byteorder));
  if (order != "little")
    return input_error("{}: its byte order is {}, expected \"little\"", where_, quote_name(order));
  return ok_status();
}

Result<Pickle> TorchReader::read_pickle() const {
  const ZipEntry* entry = zip_.find(stem_ + "data.pkl");
  if (entry == nullptr)
    return input_error("{}: no record {}data.pkl, expected a file of torch.save", where_, stem_);
  const PickleLimits limits;
  if (entry->size > limits.max_bytes)
    return input_error("{}: data.pkl has {} bytes, expected at most {}", where_, entry->size,
                       limits.max_bytes);
  PLUMB_ASSIGN(const auto bytes, zip_.read(*entry, options_.check_crc));
  const StorageBytes storage_bytes = [this](const std::string& key) -> std::optional<size_t> {
    const ZipEntry* record = zip_.find(stem_ + "data/" + key);
    return record == nullptr ? std::nullopt : std::optional<size_t>(record->size);
  };
  return parse_torch_pickle(bytes, where_ + ": data.pkl", storage_bytes, limits);
}

bool TorchReader::all_tensors(const Pickle& pickle, PickleId map) const {
  const auto items = pickle.items(map);
  for (size_t i = 0; i < items.size(); i += 2)
    if (pickle.kind(items[i]) != PickleKind::kText ||
        pickle.kind(items[i + 1]) != PickleKind::kTensor)
      return false;
  return !items.empty();
}

Result<PickleId> TorchReader::find_model(const Pickle& pickle) {
  if (pickle.kind(pickle.root) != PickleKind::kMap)
    return input_error("{}: its top level is not a dict, expected \"model\" and \"cfg\"", where_);
  if (all_tensors(pickle, pickle.root)) {
    result_.notes.push_back(fmt::format("{} is a bare state dict, without a cfg", where_));
    return pickle.root;
  }
  std::vector<std::string> keys;
  const auto items = pickle.items(pickle.root);
  for (size_t i = 0; i < items.size(); i += 2)
    keys.push_back(pickle.kind(items[i]) == PickleKind::kText
                       ? quote_name(pickle.text(items[i]))
                       : std::to_string(pickle.integer(items[i])));
  const auto model = pickle.at(pickle.root, "model");
  if (!model.has_value())
    return input_error("{}: no \"model\" at its top level, which holds {}", where_,
                       keys.empty() ? "nothing" : listed_names(keys));
  if (pickle.kind(*model) != PickleKind::kMap)
    return input_error("{}: its \"model\" is not a dict of tensors", where_);
  std::erase_if(keys,
                [](const std::string& key) { return key == "\"model\"" || key == "\"cfg\""; });
  if (!keys.empty()) result_.notes.push_back(fmt::format("{}: {} not used", where_, listed_names(keys)));
  return *model;
}

Status TorchReader::read_cfg(const Pickle& pickle, PickleId model) {
  if (model == pickle.root) return ok_status();
  const auto cfg = pickle.at(pickle.root, "cfg");
  if (!cfg.has_value() || pickle.kind(*cfg) == PickleKind::kNone) return ok_status();
  const PickleKind kind = pickle.kind(*cfg);
  if (kind != PickleKind::kMap && kind != PickleKind::kObject)
    return input_error("{}: its \"cfg\" is neither a dict nor a Config object", where_);
  std::vector<std::string> left_out;
  PLUMB_ASSIGN(Json config, pickle_fields_as_json(pickle, *cfg, where_, left_out));
  if (!left_out.empty())
    result_.notes.push_back(fmt::format("{}: the cfg fields {} hold tensors and are left out",
                                        where_, listed_names(left_out)));
  result_.cfg = std::make_shared<const Json>(std::move(config));
  return ok_status();
}

Result<std::span<const std::byte>> TorchReader::storage_data(const PickleStorage& storage) {
  const auto known = storages_.find(storage.key);
  if (known != storages_.end()) return known->second;
  const ZipEntry* entry = zip_.find(stem_ + "data/" + storage.key);
  PLUMB_CHECK(entry != nullptr);  // the pickle was checked against the records
  PLUMB_ASSIGN(const auto data, zip_.read(*entry, options_.check_crc));
  storages_.emplace(storage.key, data);
  return data;
}

bool is_contiguous(const PickleTensor& view) {
  int64_t expected = 1;
  for (size_t k = view.size.size(); k-- > 0;) {
    if (view.size[k] != 1 && view.stride[k] != expected) return false;
    expected *= view.size[k];
  }
  return true;
}

// Copies a strided view row-major. `index` counts like an odometer, last dimension fastest. The
// position wraps on purpose: the stride of an axis of extent 1 may be anything, and is undone.
Status TorchReader::gather(const PickleTensor& view, std::span<const std::byte> storage,
                           TensorInfo& tensor) {
  std::byte* copy = result_.arena.take(tensor.bytes);
  if (copy == nullptr)
    return input_error("{}: gathering the strided tensor {} exceeds {} times the size of the file",
                       where_, quote_name(tensor.name), kGatherFactor);
  const size_t item = dtype_bytes(tensor.dtype), rank = view.size.size();
  std::vector<int64_t> index(rank, 0);
  auto at = static_cast<uint64_t>(view.offset);
  for (size_t done = 0; done < tensor.bytes; done += item) {
    std::memcpy(copy + done, storage.data() + at * item, item);
    for (size_t k = rank; k-- > 0;) {
      at += static_cast<uint64_t>(view.stride[k]);
      if (++index[k] < view.size[k]) break;
      at -= static_cast<uint64_t>(view.stride[k]) * static_cast<uint64_t>(view.size[k]);
      index[k] = 0;
    }
  }
  tensor.data = copy;
  ++n_gathered_;
  return ok_status();
}

Result<TensorInfo> TorchReader::make_tensor(const Pickle& pickle, const PickleTensor& view,
                                            std::string name) {
  const PickleStorage& storage = pickle.storages[view.storage];
  PLUMB_ASSIGN(const auto data, storage_data(storage));
  TensorInfo tensor;
  tensor.name = std::move(name);
  tensor.dtype = storage.dtype;
  tensor.shape = view.size;
  tensor.file = where_;
  const auto bytes = checked_byte_count(view.size, dtype_bytes(storage.dtype));
  PLUMB_CHECK(bytes.has_value() && *bytes <= data.size());  // checked while parsing
  tensor.bytes = *bytes;
  tensor.data = data.data();
  if (tensor.bytes == 0) return tensor;
  if (is_contiguous(view))
    tensor.data += static_cast<size_t>(view.offset) * dtype_bytes(storage.dtype);
  else
    PLUMB_RETURN_IF_ERROR(gather(view, data, tensor));
  return tensor;
}

Status TorchReader::read_tensors(const Pickle& pickle, PickleId model) {
  const auto items = pickle.items(model);
  if (items.size() / 2 > kMaxTensors)
    return input_error("{}: {} tensors, expected at most {}", where_, items.size() / 2,
                       kMaxTensors);
  for (size_t i = 0; i < items.size(); i += 2) {
    if (pickle.kind(items[i]) != PickleKind::kText)
      return input_error("{}: a tensor of \"model\" is named by a number", where_);
    std::string name(pickle.text(items[i]));
    if (pickle.kind(items[i + 1]) != PickleKind::kTensor)
      return input_error("{}: entry {} of \"model\" is not a tensor", where_, quote_name(name));
    PLUMB_ASSIGN(TensorInfo tensor,
                 make_tensor(pickle, pickle.tensor(items[i + 1]), std::move(name)));
    result_.tensors.push_back(std::move(tensor));
  }
  std::sort(result_.tensors.begin(), result_.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  if (n_gathered_ > 0)
    result_.notes.push_back(
        fmt::format("{}: {} tensors were gathered from strided views", where_, n_gathered_));
  return ok_status();
}

Result<TorchFile> TorchReader::read(size_t file_bytes) {
  result_.arena = ByteArena(kGatherFactor * file_bytes);
  PLUMB_RETURN_IF_ERROR(find_stem());
  PLUMB_RETURN_IF_ERROR(check_header());
  PLUMB_ASSIGN(const Pickle pickle, read_pickle());
  PLUMB_ASSIGN(const PickleId model, find_model(pickle));
  PLUMB_RETURN_IF_ERROR(read_cfg(pickle, model));
  PLUMB_RETURN_IF_ERROR(read_tensors(pickle, model));
  return std::move(result_);
}

}  // namespace

Result<TorchFile> read_torch_file(std::span<const std::byte> bytes, const std::string& where,
                                  const TorchReadOptions& options) {
  try {
    PLUMB_ASSIGN(const ZipReader zip, ZipReader::open(bytes, where));
    return TorchReader(zip, where, options).read(bytes.size());
  } catch (const std::exception& e) {
    return work_error("{}: cannot be read: {}", where, e.what());
  }
}

}  // namespace plumb
